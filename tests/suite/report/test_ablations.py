"""Ablations in a report: each difference from its baseline, and sentences that say no more than the intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from suite.report.figures.drawn import panels
from suite.report.figures.palette import colour
from suite.report.formats.document import Heading, Paragraph, Picture, Table
from suite.report.sections.ablations import ablation_blocks, ablation_chart, against, sentences
from tests.suite.helpers import says
from tests.suite.report.made_up import DIVERGED, TWO, findings_of, three_seeds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from suite.report.model import Findings

pytestmark = pytest.mark.usefixtures("sketched")

TEXT = three_seeds(TWO) + "ablations: [{name: the *method*, question: 'Which?', optimizers: [kfac, kpsvd, sgd]}]\n"


def runs(*ends: float) -> Sequence[Sequence[float]]:
    return [[40.0, 30.0, end] for end in ends]


def found_of(
    folder: Path, losses: dict[tuple[str, str], Sequence[Sequence[float] | str]], text: str = TEXT
) -> Findings:
    return findings_of(folder, text, losses)


LOSSES: dict[tuple[str, str], Sequence[Sequence[float] | str]] = {
    ("digits", "kfac"): runs(20.0, 21.0, 22.0),
    ("digits", "kpsvd"): runs(19.0, 19.9, 21.1),  # −1.0 ± 0.25
    ("digits", "sgd"): runs(22.0, 20.0, 22.5),  # +0.5 and far from certain
    ("wide", "kfac"): runs(20.0, 21.0, 22.0),
    ("wide", "kpsvd"): runs(21.0, 22.1, 22.9),  # +1.0
    ("wide", "sgd"): [*runs(18.0, 19.0), DIVERGED],
}


def test_what_is_said_is_what_the_intervals_allow(tmp_path: Path) -> None:
    found = found_of(tmp_path, LOSSES)
    (ablation,) = found.spec.ablations
    rows = against(found, ablation)
    assert {(row.dataset, row.standing.optimizer): row.difference.value for row in rows} == pytest.approx(
        {("digits", "kpsvd"): -1.0, ("digits", "sgd"): 0.5, ("wide", "kpsvd"): 1.0, ("wide", "sgd"): -2.0}
    )
    shown, rest = sentences(ablation, rows)
    lower, higher = "kpsvd on digits (-1.00 [-1.25, -0.75])", "kpsvd on wide (1.00 [0.75, 1.25])"
    assert says(shown, lower, "lower", higher, "higher", "kfac")
    assert "sgd" not in shown
    assert says(rest, "sgd on digits (0.5 [-3.", "diverged", "sgd on wide (1 of 3, of the baseline 0 of 3)"), (
        "it ends lower where it ends at all: that is no result"
    )


def test_a_single_seed_shows_nothing(tmp_path: Path) -> None:
    found = found_of(tmp_path, {("digits", "kfac"): runs(20.0), ("digits", "kpsvd"): runs(10.0)})
    (ablation,) = found.spec.ablations
    shown, rest = sentences(ablation, against(found, ablation))
    assert says(shown, "No difference", "kfac")
    assert says(rest, "single seed", "kpsvd on digits (-10.0)")


def test_equal_losses_are_said_to_be_equal(tmp_path: Path) -> None:
    found = found_of(tmp_path, {("digits", "kfac"): runs(20.0, 21.0), ("digits", "kpsvd"): runs(20.0, 21.0)})
    (ablation,) = found.spec.ablations
    assert says(sentences(ablation, against(found, ablation))[1], "the same", "kpsvd on digits (0)")


def test_the_section(tmp_path: Path) -> None:
    blocks = ablation_blocks(found_of(tmp_path, LOSSES))
    assert blocks[0] == Heading("Ablations")
    assert blocks[2:5] == [
        Heading("the *method*", 3),
        Paragraph("Which?"),
        Picture("", "ablation-1", "the *method*: training loss"),
    ]
    table = blocks[6]
    assert isinstance(table, Table)
    assert [row[:4] for row in table.table.rows] == [
        ["digits", "kfac", "21.0 ± 1.0", "—"],
        ["digits", "kpsvd", "20.0 ± 1.1", "-1.00 [-1.25, -0.75]"],
        ["digits", "sgd", "21.5 ± 1.3", table.table.rows[2][3]],
        ["wide", "kfac", "21.0 ± 1.0", "—"],
        ["wide", "kpsvd", "22.00 ± 0.95", "1.00 [0.75, 1.25]"],
        ["wide", "sgd", "18.50 ± 0.71", table.table.rows[5][3]],
    ]


def test_nothing_is_said_where_the_baseline_or_all_others_have_no_result(tmp_path: Path) -> None:
    assert ablation_blocks(found_of(tmp_path, {("digits", "kpsvd"): runs(20.0), ("digits", "sgd"): runs(20.0)})) == []


def test_the_figure_has_these_optimizers_alone_by_data_set(tmp_path: Path) -> None:
    found = found_of(tmp_path, {**LOSSES, ("digits", "adam"): runs(1.0, 1.0, 1.0)})
    chart = ablation_chart(found, found.spec.ablations[0])
    assert {line.name: line.colour for line in chart.lines} == {m: colour(m) for m in ("kfac", "kpsvd", "sgd")}
    assert [list(choice.options)[:2] for choice in chart.choices] == [
        ["digits", "wide"],
        ["iteration", "training seconds"],
    ]
    ends = {(t.label, t.at): t.points.median[-1] for t in chart.traces if t.kind == "line" and t.at in ((0, 0), (1, 0))}
    assert ends == {  # medians, above the floor of 10
        ("kfac", (0, 0)): 11.0,
        ("kpsvd", (0, 0)): pytest.approx(9.9),
        ("sgd", (0, 0)): 12.0,
        ("kfac", (1, 0)): 11.0,
        ("kpsvd", (1, 0)): pytest.approx(12.1),
        ("sgd", (1, 0)): 8.5,
    }
    assert {t.label for t in chart.traces if t.kind == "diverged"} == {"sgd seed 2"}
    first, second = panels(chart).axes
    (cross,) = (line for line in second.lines if line.get_marker() == "x")
    assert list(np.asarray(cross.get_xdata())) == [7], "where it diverged"
    low, high = second.get_ylim()
    assert low < np.asarray(cross.get_ydata())[0] < high
    assert [axis.get_title(loc="left") or axis.get_title() for axis in (first, second)] == ["digits", "wide"]
    assert first.get_xlabel() == "iteration"


def test_settings_of_one_method_have_colours_of_their_own(tmp_path: Path) -> None:
    text = TEXT.replace("kfac, lr: 0.1, damping: 1.0", "kfac, lr: [0.1, 0.2], damping: 1.0")
    losses = {("digits", f"kfac[lr={lr}]"): runs(20.0, 21.0) for lr in (0.1, 0.2)}
    chart = ablation_chart(found := found_of(tmp_path, losses, text), found.spec.ablations[0])
    assert [line.name for line in chart.lines] == ["kfac[lr=0.1]", "kfac[lr=0.2]"]
    assert len({line.colour for line in chart.lines}) == 2
