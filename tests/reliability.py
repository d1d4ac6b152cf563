"""The table of faults in reports/reliability.md: a test declares its fault, shows what survived, and gives a row.

    @fault("a worker is killed", "SIGKILL to one of two worker processes in the middle of its cell")
    def test_…(evidence: Evidence, …): …

`python -m pytest -m fault --write-reliability` writes the table, from tests that ran and passed alone.
"""

from __future__ import annotations

import datetime as dt
import importlib
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from suite.environment import current_environment
from tests.stalls import Stalls
from tests.suite.stores import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from suite.environment import Environment

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "reports" / "reliability.md"
FAULTS, KILLS, SCALE = "faults", "kills", "scale"
"""The sections of the page that are written by what measures them."""

HEADINGS = ("fault", "injected", "exit code", "integrity", "records lost", "the same command again")
MOST_LOST = 1.0
"""Seconds of records that a fault may cost, as it is in the committed table."""

PATIENCE = 5.0
"""The same at most, however long a machine that is busy with other things was seen to keep processes waiting."""


def cores(machine: Environment) -> str:
    """How many a measurement could use, in words."""
    return "one core" if machine.cores == 1 else f"{machine.cores} cores"


class Fault(NamedTuple):
    """What goes wrong, and how a test brings it about."""

    name: str
    injected: str


DECLARED: dict[Fault, str] = {}
"""Every declared fault, and the name of its test."""


def fault(name: str, injected: str) -> Callable[[Any], Any]:
    """Declare that a test injects a fault and shows what survives."""

    def declared(test: Any) -> Any:
        DECLARED[Fault(name, injected)] = test.__name__
        return pytest.mark.fault(name, injected)(test)

    return declared


def declared() -> dict[Fault, str]:
    """Every fault that a test declares, whichever tests are run, and the name of the test."""
    for path in sorted(TESTS.rglob("test_*.py")):
        if "\n@fault(" in path.read_text():
            importlib.import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))
    return DECLARED


@dataclass
class Evidence:
    """What a test of a fault has found; each part is asserted before it is written down."""

    code: str = ""
    integrity: str = ""
    lost: str = ""
    again: str = ""
    stalls: Stalls = field(default_factory=Stalls)  # of the machine, while the test runs

    def ended(self, code: int, expected: int, output: str = "") -> None:
        """The command's exit code, where it was not killed itself."""
        assert code == expected, output
        assert "Traceback" not in output, output
        self.code = "killed" if code < 0 else f"{code}"

    def whole(self, url: str) -> int:
        """The store is sound and no record between two is missing; how many iterations it has."""
        if url.startswith("sqlite"):
            assert rows(url, "PRAGMA integrity_check") == [("ok",)]
            assert rows(url, "PRAGMA foreign_key_check") == []
            self.integrity = "ok"
        else:
            self.integrity = "the server's"
        found = rows(url, "SELECT count(*), max(iteration), min(iteration) FROM iterations GROUP BY run_id")
        assert all((count, 1) == (last, first) for count, last, first in found), found
        return sum(int(str(count)) for count, _, _ in found)

    def lost_at_most(self, seconds: float) -> None:
        """How far the last record that is kept lies before the fault."""
        stall = self.stalls.worst
        assert seconds <= min(MOST_LOST + stall, PATIENCE), (
            f"{seconds:.2f} s of records are lost, {stall:.2f} s stalled"
        )
        self.lost = f"{seconds:.2f} s" if seconds > 0 else "none"

    def lost_nothing(self, url: str, iterations: int) -> None:
        """Every result has all of its records."""
        every = "SELECT count(*) FROM iterations JOIN runs ON runs.id = run_id WHERE status = 'done' GROUP BY run_id"
        found = rows(url, every)
        assert found
        assert set(found) == {(iterations,)}
        self.lost = "none"

    def once(self, url: str, cells: int) -> None:
        """Every cell is done, each exactly once."""
        done = "SELECT count(*), count(DISTINCT cell_key) FROM runs WHERE status IN ('done', 'diverged')"
        assert rows(url, done) == [(cells, cells)]
        assert rows(url, "SELECT count(*) FROM runs WHERE status = 'running'") == [(0,)]
        self.whole(url)
        self.again = f"{cells} of {cells} cells done, each once"

    def row(self) -> list[str]:
        """For the table; complete, or the test has not shown what it declares."""
        found = [self.code, self.integrity, self.lost, self.again]
        assert all(found), f"no evidence of {dict(zip(HEADINGS[2:], found, strict=True))}"
        return found

    def refused(self, file: Path, before: bytes) -> None:
        """The store is as it was."""
        assert file.read_bytes() == before
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        self.integrity, self.lost, self.again = "ok", "none", "refused again: the file is as it was, byte for byte"


class Collector:
    """A plugin: rows of tests that ran and passed, through the reports that pytest makes of them."""

    def __init__(self) -> None:
        self._passed: set[str] = set()
        self._rows: dict[Fault, list[list[str]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called on the process that writes, wherever the test ran."""
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid)
        if report.when == "teardown" and report.passed and report.nodeid in self._passed:
            for name, row in report.user_properties:
                if name == "fault":
                    self._rows.setdefault(Fault(*row[:2]), []).append(row[2:])

    def pytest_sessionfinish(self) -> None:
        """Write the table, unless one of its rows is missing."""
        missing = [f"{row.name} ({test})" for row, test in declared().items() if row not in self._rows]
        if missing:
            print(f"\n{PAGE.name} is left as it is: no evidence of {', '.join(missing)}")
        else:
            put(written({row: list(map(_both, zip(*found, strict=True))) for row, found in self._rows.items()}), FAULTS)


def _both(values: tuple[str, ...]) -> str:
    """What several tests of one fault have found, on one database and the other."""
    return " / ".join(dict.fromkeys(values))


def written(found: dict[Fault, list[str]]) -> str:
    """The table in markdown, with the machine that it was made on."""
    machine = current_environment()
    lines = [
        f"Written on {dt.date.today()} from {len(found)} tests that ran and passed, on {cores(machine)} of "
        f"{machine.cpu}, {machine.system}, Python {machine.python}, torch {machine.torch}, SQLite "
        f"{sqlite3.sqlite_version}, kfsvd-bench {machine.kfsvd}, commit {(machine.commit or 'unknown')[:12]}.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|{' --- |' * len(HEADINGS)}",
        *(f"| {' | '.join([*row, *columns])} |" for row, columns in sorted(found.items())),
    ]
    return "\n".join(lines)


def section(name: str, page: Path = PAGE) -> str:
    """What the page says between its marks of that name."""
    _, begin, rest = page.read_text().partition(f"<!-- {name}: begin -->\n")
    text, end, _ = rest.partition(f"<!-- {name}: end -->\n")
    assert begin, f"{page} has no section {name}"
    assert end, f"section {name} of {page} has no end"
    return text


def put(text: str, name: str, page: Path = PAGE) -> None:
    """Set a section into the page."""
    marks = f"<!-- {name}: begin -->\n{{}}<!-- {name}: end -->\n"
    page.write_text(page.read_text().replace(marks.format(section(name, page)), marks.format(f"{text}\n")))


def rows_of(table: str) -> list[list[str]]:
    """The rows of a table in markdown, without its headings."""
    lines = re.findall(r"^\| (?!---)(.*) \|$", table, re.MULTILINE)
    return [line.split(" | ") for line in lines][1:]
