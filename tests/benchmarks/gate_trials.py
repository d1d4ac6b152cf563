"""Gates whose answer is known, over and over: how often the gate cries wolf, and how often it misses.

    python -m tests.benchmarks.gate_trials                 (hours; Ctrl-C at any time, the same command goes on)
    python -m tests.benchmarks.gate_trials --table         (writes reports/gate.md from what is there)

Each trial is appended to a journal as soon as it has ended, with the gate that gave it; trials of other sources of the
gate, or of another spec, do not count. Those of other versions of the library do: both sides of a trial have the same.
Several of these commands may run at once and share the journal.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate

from suite.analysis.intervals import proportion_interval
from suite.commands.gate import Measuring, Output, plan_of
from suite.environment import current_environment, fingerprint, library_fingerprint
from suite.gate.injections import INJECTIONS
from suite.gate.selftest import SAME, TRIALS, trial
from suite.gate.sides import HERE

WANTED = {SAME: 100, **dict.fromkeys(INJECTIONS, 20)}
SPEC = HERE / "specs" / "ci.yaml"
REPORT = HERE / "reports" / "gate.md"
JOURNAL = HERE / "reports" / "gate" / "trials.jsonl"


def sources() -> str:
    """What trials are of: the gate and the spec."""
    spec = hashlib.sha256(SPEC.read_bytes()).hexdigest()[:16]
    return f"{fingerprint(HERE / 'suite' / 'gate')}-{spec}"


def read(journal: Path) -> list[dict[str, Any]]:
    """The trials of the present sources."""
    if not journal.exists():
        return []
    trials = [json.loads(line) for line in journal.read_text().splitlines()]
    return [each for each in trials if each["sources"] == sources()]


def missing(trials: list[dict[str, Any]]) -> list[str]:
    """What is left to be tried, the kinds taking turns."""
    done = Counter(each["name"] for each in trials)
    left = [(number / WANTED[name], name) for name in TRIALS for number in range(done[name], WANTED[name])]
    return [name for _, name in sorted(left, key=lambda pair: pair[0])]


def table(trials: list[dict[str, Any]]) -> str:
    """A row a kind: how many were tried, how many alarmed in which channel, how many answers were right."""
    rows = []
    for name in TRIALS:
        mine = [each for each in trials if each["name"] == name]
        low, high = proportion_interval(sum(each["right"] for each in mine), len(mine))
        asked = [each["worse"]["clock"] for each in mine if each["worse"]["clock"] is not None]
        rows.append(
            [
                name if name == SAME else f"{name}: {INJECTIONS[name].what}",
                f"{len(mine)} of {WANTED[name]}",
                sum(bool(each["worse"]["deterministic"]) for each in mine),
                sum(map(bool, asked)) if asked else "not asked",
                sum(each["right"] for each in mine),
                f"[{low:.2f}, {high:.2f}]" if mine else "—",
                f"{sum(each['seconds'] for each in mine) / len(mine):.0f} s" if mine else "—",
            ]
        )
    heads = ["trial", "gates", "deterministic alarms", "clock alarms", "right answers", "share, 95 %", "mean duration"]
    return tabulate(rows, headers=heads, tablefmt="pipe", disable_numparse=True)


def page(trials: list[dict[str, Any]], void: int) -> str:
    """The report: of the trials of the present sources, and how many others the journal has."""
    cpus = " and on ".join(sorted({each["cpu"] for each in trials})) or "no machine yet"
    load = sorted(each["load"] for each in trials) or [0.0]
    libraries = len({each["library"] for each in trials})
    return f"""# How often the gate is right

Measured by `python -m tests.benchmarks.gate_trials` with [specs/ci.yaml](../specs/ci.yaml) on {cpus}, one thread. Each
gate holds the sources of the day, as they are or with a regression made on purpose, against the same sources in
processes of their own (`--against`); they were of {libraries} version{"s" * (libraries != 1)} of the library. Wanted:
of 100 gates on the same sources at most 2 alarms of the clock and none of the deterministic channel, and every
regression caught 20 times of 20. The second column says how many of them have been run; the same command runs the rest,
into [the journal](gate/trials.jsonl). {void} older trials in the journal are void: the sources of the gate have changed
since. Not tried here: a stored baseline's ratios, and its tolerance on another class of
host. The deterministic channel repeats itself on one host, so that its twenty gates say little more than one.

{table(trials)}

Between {load[0]:.1f} and {load[-1]:.1f} processes (median {load[len(load) // 2]:.1f}) were waiting for these cores
when a gate began, the load average of a minute: other work ran beside. A clock that is drowned in noise stays silent,
which is a miss of the slower step, not a false alarm.
"""


def main() -> None:
    """Try what is missing, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journal", type=Path, default=JOURNAL)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", choices=TRIALS)
    arguments = parser.parse_args()
    if arguments.table:
        trials = read(arguments.journal)
        written = len(arguments.journal.read_text().splitlines())
        REPORT.write_text(page(trials, written - len(trials)), encoding="utf-8")
        return
    arguments.journal.parent.mkdir(exist_ok=True)
    of = {"sources": sources(), "library": library_fingerprint(), "cpu": current_environment().cpu}
    _, plan = plan_of(SPEC, Measuring(), Output())
    while left := [name for name in missing(read(arguments.journal)) if arguments.only in (None, name)]:
        name, load = left[0], os.getloadavg()[0]
        done = trial(plan, name)
        when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        if (sources(), library_fingerprint()) != (of["sources"], of["library"]):
            raise SystemExit(
                "the sources have changed since this began: nothing is known of what was tried; begin anew"
            )
        entry = {**asdict(done), "right": done.right, **of, "load": load, "at": when}
        with arguments.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        said = ", ".join(f"{channel} {count}" for channel, count in entry["worse"].items())
        print(f"{name}: {'right' if done.right else 'WRONG'} ({said}) in {done.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
