"""The charts of the sections that a specification asks for, or that its measurements allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.report.sections.ablations import ablation_chart, ablation_name, against
from suite.report.sections.predictors import NAME, prediction_chart, predictions
from suite.report.sections.published import NAME as PUBLISHED
from suite.report.sections.published import published_chart

if TYPE_CHECKING:
    from suite.report.figures.chart import LineChart, ScatterChart
    from suite.report.model import Findings


def further_charts(findings: Findings) -> dict[tuple[str, str], LineChart | ScatterChart]:
    """(data set, name) → chart, drawn as picture and on the page alike."""
    found: dict[tuple[str, str], LineChart | ScatterChart] = {}
    if (given := findings.spec.published) is not None:
        found |= {(name, PUBLISHED): published_chart(given, rows) for name, rows in findings.besides.items() if rows}
    for place, ablation in enumerate(findings.spec.ablations):
        if against(findings, ablation):
            found["", ablation_name(place)] = ablation_chart(findings, ablation)
    if (predicted := predictions(findings.boards)) is not None:
        found["", NAME] = prediction_chart(predicted)
    return found
