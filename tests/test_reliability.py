"""The page of faults is what the tests of faults have written: no row without a test, no test without a row."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import threading
import time
from types import SimpleNamespace

import pytest

from tests.reliability import FAULTS, HEADINGS, KILLS, MOST_LOST, SCALE, Evidence, Fault, declared, rows_of, section
from tests.stalls import Stalls


def test_every_declared_fault_has_its_row_and_every_row_its_test() -> None:
    assert len(declared()) >= 18
    assert sorted(Fault(*row[:2]) for row in rows_of(section(FAULTS))) == sorted(declared())


def test_every_row_is_of_a_store_that_is_whole_and_of_a_matrix_that_was_finished() -> None:
    for row in rows_of(section(FAULTS)):
        _, _, code, integrity, lost, again = row
        assert len(row) == len(HEADINGS)
        assert code in ("0", "2", "3", "130", "3 / 0", "killed", "0 in the end"), row
        assert integrity in ("ok", "ok / the server's"), row
        assert re.search(r"(\d+) of \1 cells done, each once|byte for byte", again), row
        for seconds in re.findall(r"([\d.]+) s\b", lost):
            assert float(seconds) <= MOST_LOST, row


def test_two_hundred_cells_under_random_kills_were_done_once_each() -> None:
    text = section(KILLS)
    assert "**200 of 200 cells are done, each exactly once**" in text
    kills = re.search(r"\*\*(\d+) kills\*\* in (\d+) s: (\d+) of workers, (\d+) of commands", " ".join(text.split()))
    assert kills
    number, seconds, workers, commands = map(int, kills.groups())
    assert number == workers + commands >= 40
    assert seconds / number < 10, "every few seconds"
    lost = re.search(r"at most ([\d.]+) s", text)
    assert lost
    assert float(lost[1]) <= MOST_LOST
    assert re.search(r"losses\*\* of (\d+) of \1 cells", text)


@pytest.mark.parametrize(
    ("seconds", "stall", "promised"),
    [(0.0, 0.0, True), (1.0, 0.0, True), (1.1, 0.0, False), (1.4, 0.5, True), (1.6, 0.5, False), (5.1, 60.0, False)],
)
def test_a_fault_may_cost_a_second_and_what_the_machine_has_stalled(
    seconds: float, stall: float, *, promised: bool
) -> None:
    evidence = Evidence()
    evidence.stalls.worst = stall
    with contextlib.nullcontext() if promised else pytest.raises(AssertionError, match="of records are lost"):
        evidence.lost_at_most(seconds)


def test_a_stall_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    beaten, looks = threading.Event(), itertools.count(step=100.0)
    clocks = SimpleNamespace(monotonic=lambda: next(looks), thread_time=time.thread_time)
    monkeypatch.setattr("tests.stalls.time", clocks)
    monkeypatch.setattr(os, "fsync", lambda _: beaten.set())
    with Stalls() as stalls:
        assert beaten.wait(60)
        while not stalls.worst:
            beaten.wait(0.01)
    assert stalls.worst > 90, "a beat of a tenth of a second that took a hundred"


def number(text: str) -> float:
    found = re.search(r"[\d,.]*\d", text)
    assert found, text
    return float(found[0].replace(",", ""))


def test_the_figures_of_scale_are_within_their_bounds() -> None:
    rows = rows_of(section(SCALE))
    assert len(rows) == 5
    for what, cpu, wall, bound in rows:
        for measured in (cpu, wall):
            within = number(measured) < number(bound) if "under" in bound else number(measured) > number(bound)
            assert within, f"{what}: {measured}, {bound}"
