"""The clock counts what runs between its edges, once, in the right phase."""

from __future__ import annotations

import time

import pytest

from suite.clock import Clock
from suite.records import PHASES


def phase(clock: Clock, name: str) -> float:
    return clock.phases[PHASES.index(name)]


def test_time_outside_start_and_stop_is_not_counted() -> None:
    clock = Clock()
    for _ in range(2):
        clock.start()
        time.sleep(0.02)
        clock.stop()
        time.sleep(0.05)
    assert 0.04 <= clock.seconds < 0.08


def test_phases_nest_and_add_up_to_the_iteration() -> None:
    clock = Clock()
    clock.start()
    time.sleep(0.01)
    with clock.phase("update"):
        time.sleep(0.02)
        with clock.phase("curvature"):
            time.sleep(0.04)
        with clock.phase("update"):
            time.sleep(0.01)
    clock.stop()
    assert sum(clock.phases) == pytest.approx(clock.seconds, rel=1e-12)
    assert 0.01 <= phase(clock, "forward_backward") < 0.02
    assert 0.03 <= phase(clock, "update") < 0.04
    assert 0.04 <= phase(clock, "curvature") < 0.05
    assert phase(clock, "inversion") == 0


def test_phases_are_those_of_the_last_iteration() -> None:
    clock = Clock()
    clock.start()
    with clock.phase("inversion"):
        time.sleep(0.01)
    clock.stop()
    clock.start()
    clock.stop()
    assert phase(clock, "inversion") == 0


def test_a_phase_that_raises_gives_way_to_the_enclosing_one() -> None:
    clock = Clock()
    clock.start()
    with pytest.raises(RuntimeError), clock.phase("update"):
        raise RuntimeError
    time.sleep(0.01)
    clock.stop()
    assert phase(clock, "forward_backward") >= 0.01


def test_cpu_seconds_count_work_and_not_sleep() -> None:
    clock = Clock()
    clock.start()
    time.sleep(0.05)
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    clock.stop()
    assert 0.02 <= clock.cpu_seconds < 0.05 <= clock.seconds


def test_the_device_is_waited_for_at_every_edge() -> None:
    calls: list[None] = []
    clock = Clock(lambda: calls.append(None))
    clock.start()
    with clock.phase("update"):
        pass
    clock.stop()
    assert len(calls) == 4
