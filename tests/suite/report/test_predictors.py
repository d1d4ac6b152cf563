"""Does a better fit train faster? Orders within layers and data sets, and sentences no wider than the intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from suite.analysis.intervals import UNKNOWN, Estimate, Interval
from suite.records import Records
from suite.report.collect import findings
from suite.report.figures.drawn import panels
from suite.report.formats.document import Heading, Paragraph, Picture, Table
from suite.report.sections.predictors import (
    END,
    EQUAL,
    Prediction,
    prediction_blocks,
    prediction_chart,
    predictions,
    sentences,
)
from suite.store import open_store
from tests.suite.helpers import SMALL, says
from tests.suite.stores import evaluations, finished, fisher, iterations, matrix_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from suite.report.model import Findings

pytestmark = pytest.mark.usefixtures("sketched")

FIVE = SMALL.replace(
    "  kpsvd: {method: kpsvd, lr: 0.1, damping: 1.0}",
    """\
  kpsvd: {method: kpsvd, lr: 0.1, damping: 1.0}
  deflation: {method: deflation, lr: 0.1, damping: 1.0}
  lanczos: {method: lanczos, lr: 0.1, damping: 1.0}
  tkfac: {method: tkfac, lr: 0.1, damping: 1.0}""",
)
ENDS = {"kfac": 20.0, "kpsvd": 18.0, "deflation": 16.0, "lanczos": 17.0, "tkfac": 22.0}
FIRST = {"kfac": 0.5, "kpsvd": 0.3, "deflation": 0.1, "lanczos": 0.2, "tkfac": 0.9}  # in the losses' order
SECOND = {"kfac": 2.1, "kpsvd": 2.9, "deflation": 2.5, "lanczos": 2.2, "tkfac": 2.3}


def found_of(folder: Path, ends: Mapping[str, float], status: Mapping[tuple[str, int], str] = {}) -> Findings:
    """Two seeds of each optimizer, the second with errors that are .02 larger; SGD has no errors at all."""
    matrix = matrix_of(folder, FIVE)
    with open_store(f"sqlite:///{folder}/store.sqlite") as store:
        for cell in matrix.cells:
            if cell.optimizer != "sgd" and cell.optimizer not in ends:
                continue
            label = cell.optimizer
            rows = [
                fisher(layer, i, error[label] + 0.02 * cell.seed, 0.7, 0, 0, math.nan, 1 - FIRST[label])
                for layer, error in (("linear1", FIRST), ("linear2", SECOND))
                for i in (30, 60)
                if label != "sgd"
            ]
            records = Records(iterations(60), evaluations([40.0, 30.0, 25.0, ends.get(cell.optimizer, 5.0)]), rows)
            finished(store, cell, records, status.get((cell.optimizer, cell.seed), "done"))
        return findings(store, matrix.spec, matrix.stage(None), None)


def test_orders_are_compared_within_each_layer(tmp_path: Path) -> None:
    given = predictions(found_of(tmp_path, ENDS).boards)
    assert given is not None
    found = {(row.measure, row.when): row for row in given.found}
    assert set(found) == {("in_batch", EQUAL), ("efficiency", EQUAL)}, "all held-out errors are the same: no order"
    losses = [ENDS[o] for o in FIRST]
    each = [stats.spearmanr([error[o] for o in FIRST], losses).statistic for error in (FIRST, SECOND)]
    assert each[0] == pytest.approx(1.0)
    assert found["in_batch", EQUAL].agreement.value == pytest.approx(np.mean(each))
    assert found["in_batch", EQUAL].agreement.n == 5
    assert found["efficiency", EQUAL].agreement.value == pytest.approx(1.0), "more efficiency, a lower loss"
    point = next(point for point in given.points if point.optimizer == "kfac")
    assert point.fits["linear1"]["in_batch"] == pytest.approx(0.51), "the mean over seeds"
    assert point.losses == {EQUAL: 10.0, END: 10.0}, "above the floor of 10"


def test_an_optimizer_of_which_a_seed_diverged_is_last_and_not_drawn(tmp_path: Path) -> None:
    given = predictions(found_of(tmp_path, ENDS, {("deflation", 1): "diverged"}).boards)
    assert given is not None
    assert {p.optimizer: p.losses[END] for p in given.points}["deflation"] == math.inf
    efficiency = next(row for row in given.found if row.measure == "efficiency")
    losses = [math.inf if o == "deflation" else ENDS[o] for o in FIRST]
    assert efficiency.agreement.value == pytest.approx(stats.spearmanr(list(FIRST.values()), losses).statistic)
    chart = prediction_chart(given)
    assert {chart.lines[mark.line].name for mark in chart.marks} == set(ENDS) - {"deflation"}


def test_losses_after_equal_iterations_stand_beside_those_at_the_end_where_they_differ(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, FIVE)
    with open_store("sqlite://") as store:
        for cell in matrix.cells:
            if cell.optimizer in ENDS and cell.seed == 0:
                losses = [40.0, 30.0, ENDS[cell.optimizer]] + ([6.0] if cell.optimizer == "tkfac" else [])
                rows = [fisher("linear1", i, FIRST[cell.optimizer] * (i < 50), 0.5, 0, 0) for i in (30, 60)]
                finished(store, cell, Records(iterations(20 * len(losses) - 20), evaluations(losses), rows))
        given = predictions(findings(store, matrix.spec, matrix.stage(None), None).boards)
    assert given is not None
    values = {(row.measure, row.when): row.agreement.value for row in given.found}
    assert values["in_batch", EQUAL] == pytest.approx(1.0), "by errors up to iteration 40 alone"
    expected = stats.spearmanr(list(FIRST.values()), [6.0 if o == "tkfac" else ENDS[o] for o in FIRST]).statistic
    assert values["in_batch", END] == pytest.approx(expected)


def test_an_optimizer_whose_first_measurement_comes_later_counts_with_that_one(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, FIVE)
    with open_store("sqlite://") as store:
        for cell in matrix.cells:
            if cell.optimizer in ENDS and cell.seed == 0:
                losses = [40.0, 30.0, ENDS[cell.optimizer]] + ([6.0] if cell.optimizer != "tkfac" else [])
                rows = [fisher("linear1", i, FIRST[cell.optimizer] * (i < 70), 0.5, 0, 0) for i in (60, 80)]
                finished(store, cell, Records(iterations(20 * len(losses) - 20), evaluations(losses), rows))
        given = predictions(findings(store, matrix.spec, matrix.stage(None), None).boards)
    assert given is not None
    values = {(row.measure, row.when): row.agreement.value for row in given.found}
    assert values["in_batch", EQUAL] == pytest.approx(1.0), "by errors at iteration 60, beyond the common end of 40"


def test_two_optimizers_with_errors_are_too_few(tmp_path: Path) -> None:
    boards = found_of(tmp_path, {"kfac": 20.0, "kpsvd": 18.0}).boards
    assert predictions(boards) is None
    assert prediction_blocks(boards) == []


def test_the_section(tmp_path: Path) -> None:
    blocks = prediction_blocks(found_of(tmp_path, ENDS).boards)
    assert blocks[0] == Heading("Does a better fit train faster?")
    assert isinstance(blocks[2], Picture)
    said, table = blocks[3], blocks[4]
    assert isinstance(said, Paragraph)
    counts = "5 optimizers", "1 data set"
    assert says(said.text, *counts, "efficiency of the direction (1.00 [0.16, 1.00])", "lower loss")
    assert says(said.text, "Either direction", "Fisher error in batch (0.35 [-0.79, 0.95])", "5 optimizers")
    assert isinstance(table, Table)
    assert table.table.headings == ["measure", "loss", "rank correlation", "optimizers", "digits"]
    assert len(table.table.rows) == 2


@pytest.mark.parametrize(
    ("low", "high", "n", "first", "second"),
    [
        (0.1, 0.9, 7, "goes with a lower loss.", "Intervals are wide: of 7 optimizers only correlations from ±0.8"),
        (-0.9, -0.1, 7, "a worse efficiency of the direction (0.50 [-0.90, -0.10]) goes with", "Intervals are wide"),
        (-0.1, 0.9, 7, "nothing here is shown to go with a lower loss.", "Either direction is possible for efficiency"),
        (-0.9, 1.0, 4, "nothing here is shown", "of 4 optimizers not even the same order would be told from chance."),
        (math.nan, math.nan, 3, "nothing here is shown", "Orders of 3 optimizers allow no interval: nothing is shown"),
    ],
)
def test_sentences_say_no_more_than_the_interval(low: float, high: float, n: int, first: str, second: str) -> None:
    interval = UNKNOWN if math.isnan(low) else Interval(low, high)
    said = sentences([Prediction("efficiency", EQUAL, Estimate(0.5, interval, n), {"digits": 0.5, "mnist": math.nan})])
    assert f"Over {n} optimizers on 1 data set " in said[0], "those where there is an order"
    assert first in said[0]
    assert second in said[1]


def test_a_mark_for_each_optimizer_and_data_set(tmp_path: Path) -> None:
    given = predictions(found_of(tmp_path, ENDS).boards)
    assert given is not None
    chart = prediction_chart(given)
    assert [list(choice.options) for choice in chart.choices] == [
        ["Fisher error in batch", "efficiency of the direction"],
        ["mean over layers", "linear1", "linear2"],
        [EQUAL],
    ]
    marks = {mark.label: (mark.x, mark.y) for mark in chart.marks if mark.at == (0, 0, 0)}
    assert marks["kfac, digits"] == pytest.approx(((0.51 + 2.11) / 2, 10.0))
    assert len(marks) == 5
    first, second = panels(chart).axes
    assert (first.get_xlabel(), second.get_xlabel()) == ("Fisher error in batch", "efficiency of the direction")
    drawn = [line for line in first.lines if len(np.asarray(line.get_xdata()))]
    assert len(drawn) == 5
