"""Does a better fit train faster? Fisher errors and efficiencies of each layer against the losses that they led to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from suite.analysis.correlation import FEWEST, rank_correlation, smallest_shown
from suite.report.figures.chart import Choice, Mark, ScatterChart, Style
from suite.report.figures.palette import told_apart
from suite.report.formats.document import Heading, Paragraph, Picture, Table
from suite.report.formats.numbers import hundredths, in_order
from suite.report.formats.tables import TextTable
from suite.report.statistics import final_losses

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from suite.analysis.intervals import Estimate
    from suite.report.formats.document import Block
    from suite.report.model import Board, Result, Standing

NAME = "predictors"
"""Of the picture."""

FEWEST_OPTIMIZERS = 3
"""With Fisher errors on a data set, for an order that could be told from chance at all."""

MEASURES = {
    "in_batch": "Fisher error in batch",
    "held_out": "Fisher error held out",
    "efficiency": "efficiency of the direction",
}
"""What may predict; of the last, more is better."""

EQUAL, END = "after equal iterations", "at the end of the budget"
"""When losses are compared."""

_MEAN = "mean over layers"


class Point(NamedTuple):
    """An optimizer on a data set, means over seeds."""

    dataset: str
    optimizer: str
    method: str
    fits: dict[str, dict[str, float]]  # layer → measure → its mean over measurements, see `_fits`
    losses: dict[str, float]  # EQUAL and END → training loss above the floor; ∞ where a seed diverged


class Prediction(NamedTuple):
    """How far the order of a measure is the order of the losses: 1, wholly; −1, the wrong way round."""

    measure: str
    when: str
    agreement: Estimate
    by_dataset: dict[str, float]


class Predictions(NamedTuple):
    """What the section says."""

    points: list[Point]
    found: list[Prediction]
    above: bool  # whether losses are above a floor


def predictions(boards: Sequence[Board]) -> Predictions | None:
    """All points and agreements; None where no data set has Fisher errors of three optimizers."""
    boards = [board for board in boards if len(_measured(board)) >= FEWEST_OPTIMIZERS]
    above = all(board.floor is not None for board in boards)
    each = {board.dataset: _points(board, above=above) for board in boards}
    each = {dataset: points for dataset, points in each.items() if points}
    points = [point for found in each.values() for point in found]
    if not points:
        return None
    times = [EQUAL] if all(point.losses[EQUAL] == point.losses[END] for point in points) else [EQUAL, END]
    found = [prediction for measure in MEASURES for when in times if (prediction := _prediction(each, measure, when))]
    return Predictions(points, found, above) if found else None


def _measured(board: Board) -> list[Standing]:
    return [standing for standing in board.standings if any(result.own_errors for result in standing.results)]


def _points(board: Board, *, above: bool) -> list[Point]:
    measured = _measured(board)
    ends = [
        r.evaluations.iteration[-1]
        for standing in measured
        for r in standing.results
        if r.run.status == "done" and len(r.evaluations.iteration)
    ]
    if not ends:
        return []
    floor, last = (board.floor or 0.0) if above else 0.0, float(min(ends))
    return [
        Point(
            board.dataset,
            standing.optimizer,
            standing.method,
            _fits(standing.results, last),
            {
                EQUAL: _mean(_loss_at(result, last) for result in standing.results) - floor,
                END: _mean(final_losses(standing).values()) - floor,
            },
        )
        for standing in measured
    ]


def _loss_at(result: Result, iteration: float) -> float:
    """The evaluated training loss there, between evaluations linearly; ∞ for a run that diverged."""
    if result.run.status != "done" or not len(result.evaluations.iteration):
        return math.inf
    return float(np.interp(iteration, result.evaluations.iteration, result.evaluations.train_loss))


def _fits(results: Iterable[Result], last: float) -> dict[str, dict[str, float]]:
    """For each layer the mean over seeds of the mean over measurements, as far as all optimizers go.

    Of a run whose first measurement is beyond, that one.
    """
    each: dict[tuple[str, str], list[float]] = {}
    for result in results:
        until = max(last, min((float(row.iteration) for row in result.own_errors), default=0.0))
        rows = [row for row in result.own_errors if row.iteration <= until]
        for layer in dict.fromkeys(row.layer for row in rows):
            for measure in MEASURES:
                mean = _finite_mean([getattr(row, measure) for row in rows if row.layer == layer])
                each.setdefault((layer, measure), []).append(mean)
    layers = in_order({layer for layer, _ in each})
    return {layer: {measure: _finite_mean(each[layer, measure]) for measure in MEASURES} for layer in layers}


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else math.nan


def _finite_mean(values: Iterable[float]) -> float:
    """The mean of what is known: a dead layer has no error."""
    return _mean(value for value in values if math.isfinite(value))


def _prediction(each: dict[str, list[Point]], measure: str, when: str) -> Prediction | None:
    sign = -1.0 if measure == "efficiency" else 1.0
    blocks = {
        dataset: [
            (
                np.array([sign * point.fits.get(layer, {}).get(measure, math.nan) for point in points]),
                np.array([point.losses[when] for point in points]),
            )
            for layer in in_order({layer for point in points for layer in point.fits})
        ]
        for dataset, points in each.items()
    }
    agreement = rank_correlation(list(blocks.values()))
    if not agreement.n:
        return None
    return Prediction(measure, when, agreement, {name: rank_correlation([b]).value for name, b in blocks.items()})


def prediction_blocks(boards: Sequence[Board]) -> list[Block]:
    """The section; nothing where there are too few optimizers with Fisher errors."""
    given = predictions(boards)
    if given is None:
        return []
    datasets = list(dict.fromkeys(point.dataset for point in given.points))
    loss = f"training loss{' above the floor' if given.above else ''}"
    rows = [
        [MEASURES[row.measure], row.when, hundredths(row.agreement), str(row.agreement.n)]
        + [_plain(row.by_dataset[name]) for name in datasets]
        for row in given.found
    ]
    headings = ["measure", "loss", "rank correlation", "optimizers", *datasets]
    return [
        Heading("Does a better fit train faster?"),
        Paragraph(
            "Fisher errors and efficiencies are those of each optimizer's own approximation, means over its "
            f"measurements and seeds; losses {EQUAL} are those where the first optimizer ends, and measurements those "
            "up to there, or the first where that comes later. A seed that diverged puts its optimizer last."
        ),
        Picture("", NAME, f"Fisher errors and efficiency, mean over layers, against the {loss}"),
        Paragraph(" ".join(sentences(given.found))),
        Table(TextTable(headings, rows), names=("measure", "loss")),
        Paragraph(
            "Spearman's correlation between the order of the optimizers in a measure, the better first, and their "
            f"order in the {loss}, the lower first: 1 where the orders are the same. It is worked out within each "
            "layer of each data set, since levels differ, then averaged over layers and over data sets. The 95 % "
            "intervals are for other optimizers on these data sets (Bonett & Wright 2000), with no more values than "
            "there are optimizers; those of one method are no independent ones, for which the intervals are too "
            "narrow. Nothing is corrected for the number of measures."
        ),
    ]


def _plain(value: float) -> str:
    return "—" if math.isnan(value) else f"{value:.2f}"


def sentences(found: Sequence[Prediction]) -> tuple[str, str]:
    """What is shown to predict, and what is not: no more than the intervals say."""
    items = min(row.agreement.n for row in found)
    datasets = min(sum(not math.isnan(value) for value in row.by_dataset.values()) for row in found)
    over = f"Over {items} optimizers on {datasets} data set{'s' if datasets > 1 else ''}"
    better = [row for row in found if row.agreement.interval.known and row.agreement.interval.low > 0]
    worse = [row for row in found if row.agreement.interval.known and row.agreement.interval.high < 0]
    unknown = [row for row in found if row not in better and row not in worse]
    several = len({row.when for row in found}) > 1
    parts = [
        f"a {word} {', '.join(_named(row, several=several) for row in rows)} goes with a lower loss"
        for rows, word in ((better, "better"), (worse, "worse"))
        if rows
    ]
    first = f"{over} {', and '.join(parts)}." if parts else f"{over} nothing here is shown to go with a lower loss."
    if items < FEWEST:
        return first, f"Orders of {items} optimizers allow no interval: nothing is shown, nor excluded."
    least = smallest_shown(items)
    wide = (
        f"of {items} optimizers not even the same order would be told from chance"
        if least is None
        else f"of {items} optimizers only correlations from ±{least:.2f} on are told from chance"
    )
    if not unknown:
        return first, f"Intervals are wide: {wide}."
    open_ones = ", ".join(_named(row, several=several) for row in unknown)
    return first, f"Either direction is possible for {open_ones}: {wide}."


def _named(row: Prediction, *, several: bool) -> str:
    when = f" {row.when}" if several else ""
    return f"{MEASURES[row.measure]}{when} ({hundredths(row.agreement)})"


def prediction_chart(given: Predictions) -> ScatterChart:
    """A mark for each optimizer and data set: colour for the optimizer, shape for the data set."""
    shades = told_apart({point.optimizer: point.method for point in given.points})
    styles = {optimizer: Style(optimizer, shade) for optimizer, shade in shades.items()}
    place = {optimizer: i for i, optimizer in enumerate(styles)}
    datasets = list(dict.fromkeys(point.dataset for point in given.points))
    layers = in_order({layer for point in given.points for layer in point.fits})
    measures = list(dict.fromkeys(row.measure for row in given.found))
    times = list(dict.fromkeys(row.when for row in given.found))
    marks = []
    for i, measure in enumerate(measures):
        for j, layer in enumerate([None, *layers]):
            for k, when in enumerate(times):
                for point in given.points:
                    chosen = point.fits.values() if layer is None else [point.fits.get(layer, {})]
                    x, y = _finite_mean(fit.get(measure, math.nan) for fit in chosen), point.losses[when]
                    if math.isfinite(x) and math.isfinite(y):
                        label = f"{point.optimizer}, {point.dataset}"
                        shape = datasets.index(point.dataset)
                        marks.append(Mark(label, place[point.optimizer], shape, (i, j, k), x, y))
    return ScatterChart(
        caption="A mark is an optimizer on a data set, mean over seeds; optimizers of which a seed diverged are not "
        "drawn. Levels differ between data sets and layers: what counts is the order within each.",
        y=f"training loss{' above the floor' if given.above else ''}, nats per example",
        choices=[
            Choice("against", [MEASURES[measure] for measure in measures]),
            Choice("layer", [_MEAN, *layers]),
            Choice("loss", times),
        ],
        lines=list(styles.values()),
        shapes=datasets,
        marks=marks,
        log=True,
    )
