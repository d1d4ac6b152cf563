"""Two files of pytest-benchmark against each other, by the thresholds that pytest-benchmark itself takes.

Its own `--benchmark-compare-fail` has one threshold for all; here each group may have one of its own, and a benchmark
that has gone is said to be missing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.errors import SuiteError, did_you_mean
from suite.gate.verdicts import Channel, Finding, Report, Verdict, judged, relative_change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FIELDS = ("min", "max", "mean", "median", "stddev", "iqr")
"""Statistics that a threshold can be of."""

DEFAULT = "median:5%"


class Threshold(NamedTuple):
    """What a statistic may grow by: a percentage of the one before, or seconds."""

    field: str
    limit: float
    relative: bool

    @classmethod
    def read(cls, text: str) -> Threshold:
        """From `median:5%`, or `min:0.001` in seconds.

        Raises:
            SuiteError: the text is neither.

        """
        found = re.fullmatch(r"([a-z]+):(\d*\.?\d+(?:[eE][-+]?\d+)?)(%?)", text.strip())
        if found is None:
            raise SuiteError(
                f"--threshold {text!r}: not of the form FIELD:PERCENT% or FIELD:SECONDS, such as {DEFAULT}"
            )
        if found[1] not in FIELDS:
            raise SuiteError(f"--threshold {text!r}: unknown field {found[1]!r}{did_you_mean(found[1], FIELDS)}")
        limit = float(found[2])
        return cls(found[1], limit / 100 if found[3] else limit, bool(found[3]))

    def allowed(self, before: float) -> float:
        """The same as a relative change."""
        if self.relative:
            return self.limit
        return self.limit / before if before else float("inf")


@dataclass(frozen=True)
class Thresholds:
    """Of every group, and of all that are not named."""

    general: Threshold
    groups: Mapping[str, Threshold]

    @classmethod
    def read(cls, texts: Iterable[str]) -> Thresholds:
        """From `GROUP=EXPR`, or `EXPR` for all groups that are not named.

        Raises:
            SuiteError: an expression is not valid, or a group is given twice.

        """
        general, groups = Threshold.read(DEFAULT), dict[str, Threshold]()
        for text in texts:
            group, equals, expression = text.rpartition("=")
            if not equals:
                general = Threshold.read(expression)
            elif group in groups:
                raise SuiteError(f"--threshold {text!r}: group {group!r} has one already")
            else:
                groups[group] = Threshold.read(expression)
        return cls(general, groups)

    def of(self, group: str) -> Threshold:
        """The threshold of a group."""
        return self.groups.get(group, self.general)


class _Run(NamedTuple):
    machine: dict[str, Any]
    benchmarks: dict[str, dict[str, Any]]  # by full name


def compare_kernels(now: Path, before: Path, thresholds: Thresholds) -> Report:
    """Every benchmark of two files.

    Raises:
        SuiteError: a file is missing or not pytest-benchmark's; or a threshold names a group that neither has.

    """
    old, new = _read(before), _read(now)
    groups = {str(entry.get("group") or "") for run in (old, new) for entry in run.benchmarks.values()}
    for group in thresholds.groups:
        if group not in groups:
            raise SuiteError(f"--threshold: no group is called {group!r}{did_you_mean(group, groups)}")
    differences = [
        f"{name}: {old.machine.get(name)} in the baseline, {new.machine.get(name)} now"
        for name in ("machine", "system", "cpu", "python_version")
        if old.machine.get(name) != new.machine.get(name)
    ]
    if differences:
        return Report("kernels", before.name, (), tuple(differences))
    findings = []
    for name in dict.fromkeys([*old.benchmarks, *new.benchmarks]):
        was, entry = old.benchmarks.get(name), new.benchmarks.get(name)
        if was is None or entry is None:
            verdict, note = (
                (Verdict.NEW, "not in the baseline") if was is None else (Verdict.FAILED, "not measured now")
            )
            findings.append(Finding(Channel.KERNELS, name, "all", None, None, None, 0.0, verdict, note=note))
        else:
            findings.append(_finding(name, was, entry, thresholds))
    note = "Times of two runs, not interleaved: they hold on a machine that does nothing else."
    return Report("kernels", before.name, tuple(findings), notes=(note,))


def _finding(name: str, was: Mapping[str, Any], entry: Mapping[str, Any], thresholds: Thresholds) -> Finding:
    group = str(entry.get("group") or "")
    threshold = thresholds.of(group)
    old, new = (float(each["stats"][threshold.field]) for each in (was, entry))
    change, allowed = relative_change(old, new), threshold.allowed(old)
    verdict = judged(change, allowed)
    note = f"group {group}" if group else ""
    return Finding(Channel.KERNELS, name, f"{threshold.field}, seconds", old, new, change, allowed, verdict, note=note)


def _read(path: Path) -> _Run:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        benchmarks = {str(entry["fullname"]): entry for entry in data["benchmarks"]}
        for entry in benchmarks.values():
            for field in FIELDS:
                float(entry["stats"][field])
        machine = dict(data["machine_info"])
        cpu = machine.get("cpu") or {}
        return _Run(machine | {"cpu": cpu.get("brand_raw") or cpu.get("brand")}, benchmarks)
    except FileNotFoundError:
        raise SuiteError(f"{path}: no such file; `pytest --benchmark-json={path}` writes it") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SuiteError(f"{path}: not a file of pytest-benchmark ({type(error).__name__}: {error})") from None
