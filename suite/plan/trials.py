"""A trial: one setting of an optimizer on a data set, trained from every tuning seed, and what it came to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from suite.analysis.summary import first_reached
from suite.cell import Cell
from suite.spec.grids import suffix

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from suite.spec.reading import Spec
    from suite.spec.tuning import TuningOutline, Value


class Outcome(NamedTuple):
    """The evaluations of a measured cell, and whether it diverged."""

    iteration: NDArray[np.float64]
    seconds: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    diverged: bool


@dataclass(frozen=True, eq=False)
class Trial:
    """A setting, tried on every tuning seed."""

    setting: Mapping[str, Value]
    cells: tuple[Cell, ...]
    score: float | None  # by the rule, mean over seeds, infinite where one diverged; None until all are measured
    loss: float | None  # evaluated training loss at the end, mean over the seeds that did not diverge
    diverged: int  # seeds
    beyond: bool  # whether it extends the grid

    @property
    def name(self) -> str:
        """As in the cells' labels: "lr=0.1,damping=0.3"."""
        return suffix(self.setting)[1:-1]


def trial_cells(spec: Spec, rules: TuningOutline, final: Cell, setting: Mapping[str, Value]) -> tuple[Cell, ...]:
    """The cells of a setting: like the final ones, but for seeds and budget, and without Fisher errors.

    Raises:
        ValueError: a value that the method does not take.

    """
    method = spec.tuned(final.optimizer, final.dataset, setting)
    measure = final.measure.model_copy(update={"fisher_every": None, "fisher_approximations": ()})
    label = f"{final.optimizer}{suffix(setting)}"
    recipe = replace(final.recipe, method=method, budget=rules.budget_of(final.dataset), measure=measure)
    return tuple(Cell(label, final.dataset, seed, recipe) for seed in rules.seeds)


def trial(
    rules: TuningOutline,
    setting: Mapping[str, Value],
    cells: tuple[Cell, ...],
    outcomes: Mapping[str, Outcome],
    *,
    beyond: bool,
) -> Trial:
    """A trial with its score.

    Args:
        rules: which rule, and its targets.
        setting: option → value.
        cells: of every tuning seed.
        outcomes: of the cells that are measured, by key.
        beyond: whether the setting extends a grid.

    """
    found = [outcomes[cell.key] for cell in cells if cell.key in outcomes]
    losses = [_final_loss(outcome) for outcome in found if not outcome.diverged]
    scores = [_score(rules, rules.targets.get(cells[0].dataset), outcome) for outcome in found]
    return Trial(
        setting=setting,
        cells=cells,
        score=sum(scores) / len(scores) if len(found) == len(cells) else None,
        loss=sum(losses) / len(losses) if losses else None,
        diverged=sum(outcome.diverged for outcome in found),
        beyond=beyond,
    )


def _final_loss(outcome: Outcome) -> float:
    last = float(outcome.train_loss[-1]) if len(outcome.train_loss) else math.inf
    return last if math.isfinite(last) else math.inf


def _score(rules: TuningOutline, target: float | None, outcome: Outcome) -> float:
    """What the rule looks at, the lower the better.

    A miss of a target counts as later than the end, in proportion to how far the final loss is above the target: so the
    search has a direction where nothing reaches it yet.
    """
    if outcome.diverged:
        return math.inf
    if rules.rule == "final_loss" or target is None:
        return _final_loss(outcome)
    clock = outcome.seconds if rules.rule == "seconds_to_target" else outcome.iteration
    place = first_reached(outcome.train_loss, target)
    return float(clock[-1]) * _final_loss(outcome) / target if place is None else float(clock[place])
