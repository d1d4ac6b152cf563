"""Every optimizer's tuning on every data set: its trials in their order, and the winner.

Nothing is remembered but the results of cells: from a spec and a store the same trials follow every time, so that a
search that was interrupted goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from suite.cell import Cell
from suite.plan.search import MOST_EXTENSIONS, Setting, best_setting, edges, extension, next_settings
from suite.plan.trials import Outcome, Trial, trial, trial_cells

if TYPE_CHECKING:
    from suite.spec.reading import Spec
    from suite.spec.tuning import Space, Tuning

Outcomes = Callable[[Sequence[Cell]], Mapping[str, Outcome]]
"""The results that there are of some cells, by their keys."""


@dataclass(frozen=True, eq=False)
class Study:
    """The trials of an optimizer on a data set, in the order in which they were proposed."""

    optimizer: str
    dataset: str
    space: Space
    trials: list[Trial]
    expected: int  # trials of the search itself, before a grid is extended
    complete: bool  # whether no further trial follows
    edges: Mapping[str, str]  # options of the best at an end of what was tried: "least" or "largest"
    bounds: frozenset[str]  # of those, the ones beyond which the option has no value

    @property
    def best(self) -> Trial | None:
        """The trial of the least score so far; None where there is none, or all diverged."""
        scored = [t for t in self.trials if t.score is not None and math.isfinite(t.score)]
        return min(scored, key=lambda t: t.score or 0.0, default=None)

    @property
    def winner(self) -> Trial | None:
        """The best of a complete study."""
        return self.best if self.complete else None

    @property
    def unbracketed(self) -> dict[str, str]:
        """Options of which a better value may lie beyond what was tried."""
        return {option: end for option, end in self.edges.items() if option not in self.bounds}


@dataclass(frozen=True, eq=False)
class Tuned:
    """A spec's cells as far as its tuning goes."""

    studies: list[Study]
    finals: list[Cell]  # with the winners' settings
    waiting: list[Cell]  # final cells whose setting is not chosen yet; another stands in

    @property
    def trials(self) -> list[Cell]:
        """The cells of all trials, each once."""
        found = {cell.key: cell for study in self.studies for t in study.trials for cell in t.cells}
        return list(found.values())


def tune(spec: Spec, tuning: Tuning, cells: Sequence[Cell], outcomes: Outcomes) -> Tuned:
    """How far the tuning of a spec has come.

    Args:
        spec: with that tuning.
        tuning: the spec's.
        cells: the final cells, one setting of each space standing in.
        outcomes: looks results up.

    """
    first = {(cell.optimizer, cell.dataset): cell for cell in reversed(cells)}
    studies = {place: _study(spec, tuning, cell, outcomes) for place, cell in reversed(first.items())}
    recipes = {
        place: replace(first[place].recipe, method=spec.tuned(*place, study.winner.setting))
        for place, study in studies.items()
        if study.winner is not None
    }
    finals, waiting = [], []
    for cell in cells:
        recipe = recipes.get((cell.optimizer, cell.dataset))
        if recipe is None:
            waiting.append(cell)
        else:
            finals.append(replace(cell, recipe=recipe))
    return Tuned(list(studies.values()), finals, waiting)


def _study(spec: Spec, tuning: Tuning, final: Cell, outcomes: Outcomes) -> Study:
    """All trials that follow from the results so far: each round from those before it."""
    rules, space, total = tuning.outline, tuning.spaces[final.optimizer], tuning.trials(final.optimizer)
    trials: list[Trial] = []

    def scored() -> list[tuple[Setting, float]]:
        return [(dict(t.setting), t.score) for t in trials if t.score is not None]

    def tried(settings: Sequence[Setting], *, beyond: bool = False) -> list[Trial]:
        groups = [trial_cells(spec, rules, final, setting) for setting in settings]
        found = outcomes([cell for cells in groups for cell in cells])
        return [trial(rules, s, group, found, beyond=beyond) for s, group in zip(settings, groups, strict=True)]

    name = f"{final.optimizer} on {final.dataset}"
    while len(scored()) == len(trials) and (settings := next_settings(rules.search, space, scored(), total, name)):
        trials += tried(settings)
    bounds: set[str] = set()
    while rules.extend and trials and len(scored()) == len(trials):
        best = best_setting(scored()) or {}
        further = [
            (option, _within_bounds(spec, final, option, best, setting))
            for option, setting in extension(space, scored())
        ]
        bounds = {option for option, setting in further if setting is None}
        left = MOST_EXTENSIONS - sum(t.beyond for t in trials)
        settings = [setting for _, setting in further if setting is not None][:left]
        if not settings:
            break
        trials += tried(settings, beyond=True)
    complete = bool(trials) and len(scored()) == len(trials)
    return Study(
        optimizer=final.optimizer,
        dataset=final.dataset,
        space=space,
        trials=trials,
        expected=total,
        complete=complete,
        edges=edges(rules.search, space, scored()),
        bounds=frozenset(bounds),
    )


def _within_bounds(spec: Spec, final: Cell, option: str, best: Setting, setting: Setting) -> Setting | None:
    """A setting beyond the best one, halfway back where the option does not reach so far; None if not even there."""
    for _ in range(2):
        if _takes(spec, final, setting):
            return setting
        halfway = (float(best[option] or 0) + float(setting[option] or 0)) / 2
        setting = {**setting, option: float(f"{halfway:.3g}")}
    return None


def _takes(spec: Spec, final: Cell, setting: Setting) -> bool:
    """Whether the optimizer takes these values."""
    try:
        spec.tuned(final.optimizer, final.dataset, setting)
    except ValidationError:
        return False
    return True
