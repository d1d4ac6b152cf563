"""`kfsvd-bench gate`: hold the present sources against a baseline or another revision."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from suite.errors import ExitCode, SuiteError
from suite.plan.plan import load_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from suite.gate.baseline import Baseline
    from suite.gate.running import Plan
    from suite.gate.verdicts import Report
    from suite.spec.reading import Spec


@dataclass(frozen=True)
class Against:
    """What the present sources are held against: at least one of them, but for an update or a self-test."""

    baseline: Path | None = None
    baseline_db: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Measuring:
    """How it is measured, and what is allowed."""

    selection: str | None = None
    data_dir: Path | None = None
    threads: int = 1
    rounds: int | None = None  # None: the default
    effect: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class Output:
    """Where the report goes beside the screen."""

    markdown: Path | None = None
    junit: Path | None = None
    github: bool = False
    json: bool = False


def gate(
    path: Path, against: Against, measuring: Measuring, output: Output, *, update: bool = False, shadow: bool = False
) -> ExitCode:
    """Measure, compare, and tell; write the baseline only with `update`.

    Raises:
        SuiteError: the spec, the baseline, the store or the revision cannot be used.

    """
    from suite.gate.baseline import read_baseline
    from suite.gate.gating import Opponent
    from suite.gate.gating import gate as run_gate
    from suite.gate.sides import Sources, revision
    from suite.gate.verdicts import Verdict

    _check(against, measuring, update=update)
    spec, plan = plan_of(path, measuring, output)
    stored: Baseline | None = None
    words = []
    if against.baseline is not None:
        stored = _replaced(against.baseline) if update else read_baseline(against.baseline)
        if measuring.selection is not None and stored is not None:
            stored = stored.only(plan.cells)
        words.append(against.baseline.name)
    elif against.baseline_db is not None:
        from suite.gate.stored import baseline_from_store

        stored = baseline_from_store(against.baseline_db, spec.name, plan.cells)
        words.append("the store")
    with ExitStack() as stack:
        sources = None
        if against.revision is not None:
            sources = stack.enter_context(revision(against.revision))
            words.append(f"revision {against.revision}")
        opponent = Opponent(stored, sources, " and ".join(words))
        report, fresh = run_gate(
            plan, spec.name, Sources(), opponent, tolerance=measuring.tolerance, shadow=shadow, update=update
        )
    tell(report, output)
    if not update or against.baseline is None:
        return report.exit_code
    if fresh is None:
        failed = bool(report.of(Verdict.FAILED))
        why = "cells failed" if failed else "there is nothing to measure"
        print(f"{against.baseline} is left as it was: {why}.", file=sys.stderr)
        return ExitCode.CELLS_FAILED if failed else ExitCode.NOTHING_MEASURED
    fresh.write(against.baseline)
    print(f"{against.baseline} is written: review it, and commit it.", file=sys.stderr)
    return ExitCode.FINE


def _replaced(path: Path) -> Baseline | None:
    """The baseline that an update replaces; None where there is none, or none that can be read, which is said."""
    from suite.gate.baseline import read_baseline

    if not path.exists():
        return None
    try:
        return read_baseline(path)
    except SuiteError as error:
        print(f"{error}: it is replaced.", file=sys.stderr)
        return None


def self_test(path: Path, measuring: Measuring, output: Output, names: Sequence[str] = ()) -> ExitCode:
    """The gate itself on the same sources and on regressions made on purpose, as a table.

    Raises:
        SuiteError: the spec cannot be used.

    """
    from tabulate import tabulate

    from suite.gate.selftest import HEADINGS, TRIALS, rows, trial

    _, plan = plan_of(path, measuring, output)
    if not plan.rounds:
        raise SuiteError("--self-test asks the clock too: leave out --rounds 0")
    trials = []
    for name in names or TRIALS:
        plan.say(f"Self-test: {name}")
        trials.append(trial(plan, name))
    if output.json:
        import json as jsonlib

        print(jsonlib.dumps([{"right": t.right, **vars(t)} for t in trials], indent=2))
    else:
        print(tabulate(rows(trials), headers=HEADINGS))
    return ExitCode.FINE if all(each.right for each in trials) else ExitCode.REGRESSION


def kernels(now: Path, against: Against, thresholds: Sequence[str], output: Output) -> ExitCode:
    """Two files of pytest-benchmark against each other.

    Raises:
        SuiteError: a file or a threshold cannot be used.

    """
    from suite.gate.kernels import Thresholds, compare_kernels

    if against.baseline is None:
        raise SuiteError("--pytest-benchmark needs --baseline FILE.json, what it is held against")
    report = compare_kernels(now, against.baseline, Thresholds.read(thresholds))
    tell(report, output)
    return report.exit_code


def tell(report: Report, output: Output) -> None:
    """The report on the screen and into the files that were asked for.

    Raises:
        SuiteError: a file cannot be written.

    """
    from suite.gate import formats

    for path, content in ((output.markdown, formats.as_markdown), (output.junit, formats.junit)):
        if path is not None:
            try:
                path.write_text(content(report), encoding="utf-8")
            except OSError as error:
                raise SuiteError(f"{path}: cannot be written ({error.strerror})") from None
    print(formats.as_json(report) if output.json else formats.text(report))
    if output.github:
        stream = sys.stderr if output.json else sys.stdout
        print("\n".join(formats.workflow_commands(report)), file=stream)


def _check(against: Against, measuring: Measuring, *, update: bool) -> None:
    if against.baseline is None and against.baseline_db is None and against.revision is None:
        raise SuiteError(
            "nothing to hold the sources against: give --baseline FILE, --baseline-db URL or --against REV"
        )
    if against.baseline is not None and against.baseline_db is not None:
        raise SuiteError("--baseline and --baseline-db exclude each other")
    if update and (against.baseline is None or against.revision is not None):
        raise SuiteError("--update writes the file of --baseline, and goes with neither --baseline-db nor --against")
    if update and measuring.rounds == 0:
        raise SuiteError("--update with --rounds 0 would drop the times of the baseline: leave --rounds out")
    if update and measuring.selection is not None:
        raise SuiteError("--update with --select would drop the cells that are not selected")


def plan_of(path: Path, measuring: Measuring, output: Output) -> tuple[Spec, Plan]:
    """What is measured.

    Raises:
        SuiteError: the spec does not say by itself when a cell ends and with which options.

    """
    from suite.gate import clock
    from suite.gate.running import Plan
    from suite.gate.sides import Setting

    matrix = load_matrix(path, measuring.selection)
    spec = matrix.spec
    if spec.tuning is not None:
        raise SuiteError(f"{path}: tuning: a gate measures settings that are chosen; write them into `optimizers`")
    if any(budget.iterations is None and budget.epochs is None for budget in map(spec.budget_of, spec.datasets)):
        raise SuiteError(
            f"{path}: budget: a gate needs iterations or epochs; seconds end a cell at another step each time"
        )
    targets = {
        dataset: tuple(target for target in given if isinstance(target, float))
        for dataset, given in spec.targets.items()
    }
    stream = sys.stderr
    plan = Plan(
        cells=tuple(matrix.cells),
        targets=targets,
        setting=Setting(path, measuring.threads, measuring.data_dir),
        rounds=clock.ROUNDS if measuring.rounds is None else measuring.rounds,
        effect=clock.EFFECT if measuring.effect is None else measuring.effect,
        say=lambda text: print(text, file=stream, flush=True),
    )
    return spec, plan
