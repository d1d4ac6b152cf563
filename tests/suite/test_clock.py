"""The clock counts what runs between its edges, once, in the right phase."""

from __future__ import annotations

import time

import pytest

from suite.records import PHASES
from suite.training.clock import CPU_RESOLUTION, Clock


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_an_iteration_is_split_at_its_edges_and_by_claims() -> None:
    now = [0.0]
    clock = Clock(lambda: now[0])
    with clock.phase("curvature"):
        now[0] += 4
    with clock.phase("inversion"):
        now[0] += 2
    with clock.phase("update"):
        now[0] += 8
    seconds, _, *phases = clock.charge(100.0, 103.0, 120.0)
    assert seconds == 20
    assert dict(zip(PHASES, phases, strict=True)) == {
        "forward_backward": 3,
        "curvature": 4,
        "inversion": 2,
        "update": 17 - 4 - 2,
    }
    assert sum(phases) == 20


@pytest.mark.parametrize("phase", ["curvature", "inversion"])
def test_claims_are_of_one_iteration_and_time_between_iterations_is_not_counted(phase: str) -> None:
    now = [0.0]
    clock = Clock(lambda: now[0])
    with clock.phase(phase):
        now[0] += 4
    clock.charge(0.0, 1.0, 10.0)
    seconds, _, *phases = clock.charge(1000.0, 1001.0, 1003.0)
    assert seconds == 13
    assert phases == [1, 0, 0, 2]


def test_a_claim_that_raises_still_counts() -> None:
    now = [0.0]
    clock = Clock(lambda: now[0])

    def fail() -> None:
        now[0] += 5
        raise RuntimeError

    with pytest.raises(RuntimeError), clock.phase("inversion"):
        fail()
    assert clock.charge(0.0, 0.0, 6.0)[2:] == (0, 0, 5, 1)


def test_cpu_seconds_count_work_and_not_sleep() -> None:
    clock = Clock()
    begun = clock.edge()
    time.sleep(0.05)
    burn(0.03)
    _, cpu_seconds, *_ = clock.charge(begun, begun, clock.edge())
    assert 0.03 <= cpu_seconds < 0.06
    assert clock.seconds >= 0.08


def test_cpu_seconds_of_what_is_excluded_are_not_counted() -> None:
    clock = Clock()
    for _ in range(2):
        begun = clock.edge()
        burn(0.03)
        clock.charge(begun, begun, clock.edge())
        with clock.excluded():
            burn(0.1)
    assert 0.06 <= clock.cpu_seconds < 0.1


def test_cpu_seconds_lag_by_the_resolution_at_most() -> None:
    clock, before = Clock(), time.process_time()
    for _ in range(20):
        begun = clock.edge()
        burn(0.002)
        clock.charge(begun, begun, clock.edge())
    used = time.process_time() - before  # not the wall's seconds: on a busy machine they run on without us
    assert used - 2 * CPU_RESOLUTION < clock.cpu_seconds <= used + 0.01
