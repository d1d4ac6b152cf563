"""Two stores beside each other: the cells that both have, paired by seed, as the blocks of a page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.analysis.summary import spread
from suite.plan.stage import Stage
from suite.report.collect import findings
from suite.report.formats.document import Code, Heading, Paragraph, Table
from suite.report.formats.numbers import ABSENT, number, with_sd
from suite.report.formats.tables import TextTable
from suite.spec.grids import spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from suite.cell import Cell
    from suite.report.formats.document import Block
    from suite.report.model import Board, Findings, Result, Standing
    from suite.spec.reading import Spec
    from suite.store import Store

_MACHINE = ("host", "cpu", "cores", "memory_bytes", "gpus", "driver", "system", "python", "torch", "blas")
"""What seconds depend on beside the sources of kfsvd."""


class Source(NamedTuple):
    """A store, and the cells of the spec by what is measured in it."""

    name: str  # as the reader knows it
    store: Store
    stage: Stage


@dataclass(frozen=True, eq=False)
class Side:
    """What a comparison says of one of the two stores."""

    name: str
    found: Findings  # of the cells with a result in both
    alone: list[Cell]  # with a result in this one only


def sides(spec: Spec, a: Source, b: Source) -> tuple[Side, Side]:
    """Both stores on what they have in common: data set, optimizer and seed, by their names in the spec.

    Results of any sources of kfsvd count, the latest of each cell.
    """
    measured = [_measured(source) for source in (a, b)]
    both = measured[0].keys() & measured[1].keys()
    first, second = (
        Side(
            source.name,
            findings(
                source.store, spec, Stage((), [], [cell for name, cell in mine.items() if name in both], []), None
            ),
            [cell for name, cell in mine.items() if name not in both],
        )
        for source, mine in zip((a, b), measured, strict=True)
    )
    return first, second


def _measured(source: Source) -> dict[tuple[str, str, int], Cell]:
    keys = source.store.measured([cell.key for cell in source.stage.finals], None)
    return {(c.dataset, c.optimizer, c.seed): c for c in source.stage.finals if c.key in keys}


def page(spec: Spec, a: Side, b: Side, command: str) -> list[Block]:
    """The comparison, block by block; `command`: what the reader types to make it again."""
    blocks: list[Block] = [
        Heading(f"{spec.name}: A and B", 1),
        Paragraph(f"A is {a.name}, B is {b.name}. {a.found.measured} cells have a result in both, and are compared."),
        Paragraph(
            "Losses are those at the end of training, in nats per example, mean ± standard deviation over the seeds "
            "that diverged in neither. Every seed is paired with itself: B − A is the mean ± standard deviation of the "
            "differences, a ratio of milliseconds the median of the ratios. Below 0, or below 1, B is lower."
        ),
        Code(command),
        *_differences(a, b),
    ]
    others = {board.dataset: board for board in b.found.boards}
    for board in a.found.boards:
        blocks += _board(board, others[board.dataset])
    return [*blocks, *_alone(a, b)]


def _board(a: Board, b: Board) -> Iterator[Block]:
    others = {standing.optimizer: standing for standing in b.standings}
    pairs = [(standing, others[standing.optimizer]) for standing in a.standings]
    yield Heading(a.dataset)
    if a.problem != b.problem:
        yield Paragraph(f"The data differ: {a.problem} in A, {b.problem} in B. Losses do not compare.", strong=True)
    yield Table(_losses(pairs))
    yield Table(_seconds(pairs))
    if any(standing.targets for standing in a.standings):
        yield Paragraph("Medians over seeds; a miss stays a miss.")
        yield Table(_targets(pairs))
    if any(x.fisher or y.fisher for x, y in pairs):
        yield Paragraph(
            "Relative Frobenius error ‖F − F̂‖/‖F‖ of the running approximation at the last measurement, mean over "
            "layers and seeds."
        )
        yield Table(_fisher(pairs))


def _paired(a: Standing, b: Standing) -> list[tuple[Result, Result]]:
    others = {result.cell.seed: result for result in b.results}
    return [(result, others[result.cell.seed]) for result in a.results]


def _losses(pairs: Iterable[tuple[Standing, Standing]]) -> TextTable:
    headings = ["optimizer", "pairs"]
    for loss in ("training loss", "test loss"):
        headings += [f"{loss} A", f"{loss} B", f"{loss} B − A"]
    rows = []
    for a, b in pairs:
        ended = [(x, y) for x, y in _paired(a, b) if _ended(x) and _ended(y)]
        row = [a.optimizer, str(len(ended))]
        for name in ("train_loss", "test_loss"):
            last = [[float(getattr(r.evaluations, name)[-1]) for r in pair] for pair in ended]
            row += [with_sd(spread([x for x, _ in last])), with_sd(spread([y for _, y in last]))]
            row += [with_sd(spread([y - x for x, y in last]))]
        rows.append([*row, *(str(standing.diverged) if standing.diverged else ABSENT for standing in (a, b))])
    return TextTable([*headings, "diverged in A", "diverged in B"], rows).without_empty_columns()


def _ended(result: Result) -> bool:
    return result.run.status == "done" and len(result.evaluations.train_loss) > 0


def _seconds(pairs: Iterable[tuple[Standing, Standing]]) -> TextTable:
    rows = []
    for a, b in pairs:
        ratios = [_each(y) / _each(x) for x, y in _paired(a, b) if x.course.iterations and y.course.iterations]
        each = [number(1e3 * standing.seconds_per_iteration) for standing in (a, b)]
        rows.append([a.optimizer, *each, number(median(ratios) if ratios else None)])
    return TextTable(["optimizer", "ms / iteration A", "ms / iteration B", "B ÷ A"], rows)


def _each(result: Result) -> float:
    return result.course.total_seconds / result.course.iterations


def _targets(pairs: Iterable[tuple[Standing, Standing]]) -> TextTable:
    headings = ["optimizer", "target"]
    for clock in ("iterations", "seconds"):
        headings += [f"{clock} A", f"{clock} B", f"{clock} B ÷ A"]
    rows = []
    for a, b in pairs:
        for x, y in zip(a.targets, b.targets, strict=True):
            goals = [ABSENT if math.isnan(each.target) else f"{each.target:g}" for each in (x, y)]
            row = [a.optimizer, " / ".join(dict.fromkeys(goals))]
            for clock, written in (("iterations", lambda value: f"{value:,.0f}"), ("seconds", number)):
                row += _reached(getattr(x, clock), getattr(y, clock), written)
            rows.append(row)
    return TextTable(headings, rows)


def _reached(a: float | None, b: float | None, written: Callable[[float], str]) -> list[str]:
    texts = ["missed" if value is None else written(value) for value in (a, b)]
    return [*texts, number(b / a) if a and b is not None else ABSENT]


def _fisher(pairs: Iterable[tuple[Standing, Standing]]) -> TextTable:
    headings = ["optimizer"]
    for where in ("in batch", "held out"):
        headings += [f"{where} A", f"{where} B", f"{where} B − A"]
    rows = []
    for a, b in pairs:
        row = [a.optimizer]
        for name in ("in_batch", "held_out"):
            x, y = (math.nan if s.fisher is None else float(getattr(s.fisher, name)) for s in (a, b))
            row += [number(x), number(y), number(y - x)]
        if a.fisher or b.fisher:
            rows.append(row)
    return TextTable(headings, rows)


def _differences(a: Side, b: Side) -> Iterator[Block]:
    """What the two were measured with, where that is not the same, and what it means for the comparison."""
    yield Heading("What differs")
    told = {side.name: _told(side.found) for side in (a, b)}
    first, second = told[a.name], told[b.name]
    names = [name for name in first if first[name] != second[name]]
    machine = [name.replace("_", " ") for name in names if name in _MACHINE]
    if machine:
        text = (
            f"Machine or software differ ({', '.join(machine)}): seconds do not compare; losses do, but for rounding."
        )
        yield Paragraph(text, strong=True)
    if "sources" in names:
        yield Paragraph("The sources of kfsvd differ.", strong=True)
    if names:
        yield Table(
            TextTable(["", "A", "B"], [[n.replace("_", " "), first[n], second[n]] for n in names]), names=("", "A", "B")
        )
    else:
        yield Paragraph("Nothing: machine, software and sources of kfsvd are the same.")
    settings = list(_settings(a.found, b.found))
    if settings:
        yield Paragraph("Settings differ, under the same name:", strong=True)
        headings = ["optimizer", "data set", "option", "A", "B"]
        yield Table(TextTable(headings, settings), names=tuple(headings))
    drift = [number(1e3 * side.found.reference.mean) for side in (a, b)]
    yield Paragraph(
        f"The reference workload before each cell took {drift[0]} ms in A and {drift[1]} ms in B; {a.found.contended} "
        f"cells of A and {b.found.contended} of B ran beside others on the same machine."
    )


def _told(found: Findings) -> dict[str, str]:
    """Machine, software and sources; all of them where there are several."""

    def all_of(values: Iterable[Any]) -> str:
        return "; ".join(dict.fromkeys("none" if value is None else str(value) for value in values))

    machines = [
        {name: getattr(each, name) for name in (*_MACHINE, "kfsvd", "commit", "dirty")} for each in found.environments
    ]
    commits = [
        machine["commit"] and machine["commit"][:12] + (" with uncommitted changes" if machine["dirty"] else "")
        for machine in machines
    ]
    return {
        **{name: all_of(machine[name] for machine in machines) for name in (*_MACHINE, "kfsvd")},
        "commit": all_of(commits),
        "sources": all_of(found.fingerprints),
    }


def _settings(a: Findings, b: Findings) -> Iterator[list[str]]:
    """Options of the same optimizer that are not the same in both: what a tuning chose, each in its own store."""
    others = {(r.cell.dataset, r.cell.optimizer): r.cell for r in _results(b)}
    for (dataset, optimizer), cell in {(r.cell.dataset, r.cell.optimizer): r.cell for r in _results(a)}.items():
        mine, other = cell.method.model_dump(), others[dataset, optimizer].method.model_dump()
        for option in mine | other:
            if mine.get(option) != other.get(option):
                yield [optimizer, dataset, option, spelled(mine.get(option)), spelled(other.get(option))]


def _results(found: Findings) -> Iterator[Result]:
    for board in found.boards:
        for standing in board.standings:
            yield from standing.results


def _alone(a: Side, b: Side) -> Iterator[Block]:
    yield Heading("In one alone")
    rows = [[cell.name, side] for side, cells in (("A", a.alone), ("B", b.alone)) for cell in cells]
    if rows:
        yield Table(TextTable(["cell", "with a result in"], rows), names=("cell", "with a result in"))
    else:
        yield Paragraph("None: every cell with a result in one has one in the other.")
