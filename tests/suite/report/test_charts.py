"""Charts as data: nothing that was measured is lost, whatever is thinned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from suite.records import Evaluation, Records
from suite.report.collect import findings
from suite.report.figures.chart import BarChart, LineChart, in_words
from suite.report.figures.charts import MOST_POINTS, charts
from suite.store import open_store
from tests.suite.helpers import SMALL, says
from tests.suite.report.test_figures import MANY
from tests.suite.stores import evaluations, finished, fisher, iterations, matrix_of

if TYPE_CHECKING:
    from pathlib import Path

    from suite.report.figures.chart import Chart, Trace


def charts_of(folder: Path, records: dict[tuple[str, int], tuple[Records, str]], text: str = SMALL) -> dict[str, Chart]:
    """The charts of runs by (optimizer, seed)."""
    matrix = matrix_of(folder, text)
    with open_store(f"sqlite:///{folder}/store.sqlite") as store:
        for cell in matrix.cells:
            if (cell.optimizer, cell.seed) in records:
                finished(store, cell, *records[cell.optimizer, cell.seed])
        return {
            name: chart for (_, name), chart in charts(findings(store, matrix.spec, matrix.stage(None), None)).items()
        }


def loss_of(found: dict[str, Chart]) -> LineChart:
    assert isinstance(found["loss"], LineChart)
    return found["loss"]


def at(chart: LineChart, *options: str) -> list[Trace]:
    chosen = tuple(list(choice.options).index(option) for choice, option in zip(chart.choices, options, strict=True))
    return [trace for trace in chart.traces if trace.at == chosen]


def test_losses_are_drawn_against_each_clock(tmp_path: Path) -> None:
    rows = [Evaluation(20 * i, i, 0.5 * i, 0.75 * i, 40.0 - i, 50.0 - i) for i in range(4)]
    chart = loss_of(charts_of(tmp_path, {("kfac", 0): (Records(iterations(60), rows, []), "done")}))
    for clock, x in {
        "iteration": [0, 20, 40, 60],
        "training seconds": [0, 0.5, 1, 1.5],
        "CPU seconds": [0, 0.75, 1.5, 2.25],
    }.items():
        (line,) = at(chart, clock, "training")
        assert list(line.points.x) == x
        assert list(line.points.median) == [30.0, 29.0, 28.0, 27.0], "above the floor of 10"
        (line,) = at(chart, clock, "test")
        assert list(line.points.median) == [39.5, 38.5, 37.5, 36.5], "above the floor of 10.5"
    assert "above the floor" in chart.y
    assert in_words(chart) == f"{chart.y}: kfac from 30.0 to 27.0."


def test_a_long_run_is_thinned_without_losing_a_peak_and_the_caption_says_so(tmp_path: Path) -> None:
    losses = [30.0] * 1000
    losses[431] = 90.0
    chart = loss_of(
        charts_of(tmp_path, {("kfac", s): (Records(iterations(9), evaluations(losses), []), "done") for s in (0, 1)})
    )
    (line,) = at(chart, "iteration", "training")
    assert len(line.points.x) == MOST_POINTS
    assert line.points.x[-1] == 999 * 20
    assert line.points.high.max() == 80.0
    assert line.points.median.max() == pytest.approx(20 + 60 / 5), "the mean of a bin of five"
    assert says(chart.caption, "1,000", f"{MOST_POINTS} bins")


@pytest.mark.parametrize("loss", [math.nan, math.inf, 1e30])
def test_every_divergence_has_a_cross_in_every_view(tmp_path: Path, loss: float) -> None:
    explosion = [row._replace(loss=loss) for row in iterations(3)]
    chart = loss_of(
        charts_of(
            tmp_path,
            {
                ("kfac", 0): (Records(iterations(60), evaluations([40.0, 30.0]), []), "done"),
                ("kfac", 1): (Records(explosion, [], []), "diverged"),
                ("sgd", 1): (Records([], [], []), "diverged"),
            },
        )
    )
    for clock, end in {"iteration": 3, "training seconds": 0.03, "CPU seconds": 0.03}.items():
        for what in ("training", "test"):
            crosses = {t.label: t.end for t in at(chart, clock, what) if t.kind == "diverged"}
            last = 1e30 if loss == 1e30 and what == "training" else None
            assert crosses == {"kfac seed 1": (pytest.approx(end), last), "sgd seed 1": (0.0, None)}
    assert "× is where a run diverged" in chart.caption
    assert [line.name for line in chart.lines] == ["kfac (1 of 2 diverged, ×)", "sgd (1 of 1 diverged, ×)"]


def test_of_many_settings_the_others_stand_behind_the_best_of_their_method(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, MANY)
    records = {
        (cell.optimizer, cell.seed): (Records(iterations(60), evaluations([40.0, 20.0 + i]), []), "done")
        for i, cell in enumerate(matrix.cells)
    }
    chart = loss_of(charts_of(tmp_path, records, MANY))
    assert len(chart.lines) == 4
    faint = [trace for trace in at(chart, "iteration", "training") if trace.kind == "faint"]
    assert len(faint) == 8
    assert {chart.lines[trace.line].name for trace in faint} == {"sgd[lr=0.01]"}
    assert "faintly" in chart.caption


def test_fisher_errors_by_layer_with_the_optimum(tmp_path: Path) -> None:
    rows = [fisher("linear1", 30, 0.2, 0.4, 0.1, 0.3), fisher("linear2", 30, 0.6, math.nan, 0.5, math.nan)]
    found = charts_of(tmp_path, {("kfac", 0): (Records(iterations(60), evaluations([40.0]), rows), "done")})
    chart = found["fisher"]
    assert isinstance(chart, LineChart)
    values = {
        (layer, where): {t.kind: list(t.points.median) for t in at(chart, layer, where)}
        for layer in chart.choices[0].options
        for where in chart.choices[1].options
    }
    assert values == {
        ("mean over layers", "in batch"): {"line": [pytest.approx(0.4)], "optimum": [pytest.approx(0.3)]},
        ("mean over layers", "held out"): {"line": [0.4], "optimum": [0.3]},
        ("linear1", "in batch"): {"line": [0.2], "optimum": [0.1]},
        ("linear1", "held out"): {"line": [0.4], "optimum": [0.3]},
        ("linear2", "in batch"): {"line": [0.6], "optimum": [0.5]},
        ("linear2", "held out"): {},
    }


def test_fitted_approximations_by_layer_with_the_optimum_of_their_rank(tmp_path: Path) -> None:
    text = SMALL.replace("fisher_every: 30,", "fisher_every: 30, fisher_approximations: [kfac, kpsvd],")
    rows = [
        fisher("linear1", 30, 0.2, 0.4, 0.1, 0.3, own=False),
        fisher("linear1", 30, 0.1, 0.5, 0.1, 0.3, approximation="kpsvd", own=False),
    ]
    found = charts_of(tmp_path, {("adam", 0): (Records(iterations(60), evaluations([40.0]), rows), "done")}, text)
    chart = found["approximations-adam"]
    assert isinstance(chart, LineChart)
    assert [line.name for line in chart.lines] == ["kfac", "kpsvd", "best rank 1"]
    values = {trace.label: (trace.kind, list(trace.points.median)) for trace in at(chart, "linear1", "held out")}
    assert values == {"kfac": ("line", [0.4]), "kpsvd": ("line", [0.5]), "best rank 1": ("optimum", [0.3])}


def test_bars_are_the_phases_of_an_iteration(tmp_path: Path) -> None:
    chart = charts_of(tmp_path, {("kfac", 0): (Records(iterations(60), evaluations([40.0]), []), "done")})["time"]
    assert isinstance(chart, BarChart)
    assert [part.name for part in chart.parts] == ["forward, backward", "update", "curvature", "inversion"]
    (bar,) = chart.bars
    assert np.allclose(bar.values, [5, 2, 2, 1])
    assert in_words(chart) == "kfac 10.0 ms, 30% refreshes."
