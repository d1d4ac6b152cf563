"""How settings were chosen: the trials of every optimizer, the winner, and whether it is bracketed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.plan.search import MOST_EXTENSIONS
from suite.report.formats.document import Folded, Heading, Paragraph, Picture, Table
from suite.report.formats.numbers import ABSENT, number
from suite.report.formats.tables import TextTable
from suite.spec.grids import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from suite.plan.studies import Study
    from suite.report.formats.document import Block
    from suite.spec.budget import Budget
    from suite.spec.reading import Spec
    from suite.spec.tuning import Tuning

_SEARCHES = {"grid": "a grid", "random": "random draws", "tpe": "a tree-structured Parzen estimator (Optuna's)"}
_RULES = {
    "final_loss": "the lowest training loss at the end of that budget",
    "seconds_to_target": "the fewest seconds to a training loss of {}",
    "iterations_to_target": "the fewest iterations to a training loss of {}",
}


def tuning_blocks(spec: Spec, studies: Sequence[Study]) -> list[Block]:
    """The section of a report; nothing where the spec does not tune."""
    if spec.tuning is None:
        return []
    blocks: list[Block] = [Heading("How settings were chosen"), Paragraph(_protocol(spec.tuning, studies))]
    for dataset in dict.fromkeys(study.dataset for study in studies):
        mine = [study for study in studies if study.dataset == dataset]
        blocks += [
            Heading(f"Tuning on {dataset}", 3),
            Table(table(mine), names=("optimizer", "best setting", "at an end of what was tried")),
            Picture(dataset, "tuning", f"{dataset}: final training loss of every trial against the options tried"),
            Folded(f"All trials on {dataset}", [Table(trials(mine), names=("optimizer", "setting"))]),
        ]
    return blocks


def table(studies: Sequence[Study]) -> TextTable:
    """One row an optimizer: its trials, and the best of them."""
    rows = []
    for study in studies:
        best = study.best
        beyond = sum(trial.beyond for trial in study.trials)
        measured = sum(trial.score is not None for trial in study.trials)
        rows.append(
            [
                study.optimizer,
                f"{measured}" if study.complete else f"{measured} of {max(study.expected, len(study.trials))}",
                str(beyond) if beyond else ABSENT,
                str(sum(trial.diverged > 0 for trial in study.trials)),
                ABSENT if best is None else best.name,
                number(None if best is None else best.loss, 4),
                number(_second(study), 4),
                _ends(study),
            ]
        )
    headings = [
        "optimizer",
        "trials",
        "beyond the grid",
        "diverged",
        "best setting",
        "its loss",
        "second best",
        "at an end of what was tried",
    ]
    return TextTable(headings, rows).without_empty_columns()


def trials(studies: Sequence[Study]) -> TextTable:
    """One row a trial, in the order in which they were proposed: its loss, the mean over the tuning seeds."""
    rows = [
        [
            study.optimizer,
            trial.name,
            number(trial.loss, 4),
            f"{trial.diverged} of {len(trial.cells)}" if trial.diverged else ABSENT,
            "yes" if trial.beyond else ABSENT,
            "chosen" if trial is study.winner else ABSENT,
        ]
        for study in studies
        for trial in study.trials
    ]
    headings = ["optimizer", "setting", "training loss", "diverged", "beyond the grid", ""]
    return TextTable(headings, rows).without_empty_columns()


def tuning_flags(spec: Spec, studies: Sequence[Study], dataset: str) -> list[str]:
    """What a reader of a data set's leaderboard must know of how settings came about."""
    if spec.tuning is None:
        return ["This specification tunes nothing: every setting is as given in it."]
    return [
        *_fixed(spec, spec.tuning, dataset),
        *(text for study in studies if study.dataset == dataset for text in _shortcomings(study)),
    ]


def _fixed(spec: Spec, tuning: Tuning, dataset: str) -> Iterator[str]:
    """Options that matter to a method and are not tuned, optimizers of one value together."""
    fixed: dict[tuple[str, str], list[str]] = {}
    for label, space in tuning.spaces.items():
        method = spec.method(label, dataset)
        for option in method.essential:
            if option not in space:
                fixed.setdefault((option, spelled(getattr(method, option))), []).append(label)
    for (option, value), labels in fixed.items():
        yield f"The {option} of {' and '.join(labels)} is not tuned but fixed at {value} by the specification."


def _shortcomings(study: Study) -> Iterator[str]:
    if not study.complete:
        yield f"The tuning of {study.optimizer} is not complete."
        return
    if study.winner is None:
        yield f"Every trial of {study.optimizer} diverged."
    for option, end in study.unbracketed.items():
        yield f"The {option} of {study.optimizer} is the {end} that was tried: a better one may lie beyond."


def _protocol(tuning: Tuning, studies: Sequence[Study]) -> str:
    rules = tuning.outline
    counts = sorted({study.expected for study in studies})
    seeds = f"seed{'s' if len(rules.seeds) > 1 else ''} {', '.join(map(str, rules.seeds))}"
    targets = " and ".join(f"{value:g} on {name}" for name, value in rules.targets.items())
    budgets = "".join(f" (on {dataset}: {bounds(budget)})" for dataset, budget in rules.budgets.items())
    extended = (
        " Then a grid goes on, one option at a time, until the best setting is better than the next lower and the next "
        f"higher value of each of its numbers, or {MOST_EXTENSIONS} settings were added."
    )
    return (
        f"By {_SEARCHES[rules.search]}: {' or '.join(map(str, counts))} trials of every optimizer on every data set, "
        f"each of {bounds(rules.budget)}{budgets} on {seeds}, which no final run uses. Chosen is the setting with "
        f"{_RULES[rules.rule].format(targets)}, mean over those seeds; a setting that diverged is never chosen."
        + (extended if rules.extend else "")
    )


def bounds(budget: Budget) -> str:
    """A budget in words."""
    parts = [
        f"{value:g} {name}"
        for name, value in (
            ("epochs", budget.epochs),
            ("iterations", budget.iterations),
            ("training seconds", budget.seconds),
        )
        if value is not None
    ]
    return " or ".join(parts) + (", whichever comes first," if len(parts) > 1 else "")


def _second(study: Study) -> float | None:
    """The loss of the trial with the next score: how much the choice mattered."""
    scored = sorted(
        (t for t in study.trials if t.score is not None and t.loss is not None), key=lambda t: t.score or 0.0
    )
    return scored[1].loss if len(scored) > 1 else None


def _ends(study: Study) -> str:
    parts = []
    for option, end in study.edges.items():
        bound = ", and the option ends there" if option in study.bounds else ""
        parts.append(f"{option} (the {end}{bound})")
    return ", ".join(parts) or ABSENT
