"""The clock counts what runs between its edges, once, in the right phase."""

from __future__ import annotations

import time

import pytest

from suite.records import PHASES
from suite.training.clock import CPU_RESOLUTION, Clock


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr("suite.training.clock.perf_counter", lambda: made.wall)
    monkeypatch.setattr("suite.training.clock.process_time", lambda: made.cpu)
    return made


class Machine:
    """A machine whose clocks go on as it is told to work or to sleep."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def burn(self, seconds: float) -> None:
        self.wall += seconds
        self.cpu += seconds

    def sleep(self, seconds: float) -> None:
        self.wall += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.wall)


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


def test_cpu_seconds_count_work_and_not_sleep(machine: Machine) -> None:
    clock = machine.clock()
    begun = clock.edge()
    machine.sleep(0.05)
    machine.burn(0.03)
    seconds, cpu_seconds, *_ = clock.charge(begun, begun, clock.edge())
    assert cpu_seconds == pytest.approx(0.03)
    assert seconds == pytest.approx(0.08)


def test_cpu_seconds_of_what_is_excluded_are_not_counted(machine: Machine) -> None:
    clock = machine.clock()
    for _ in range(2):
        begun = clock.edge()
        machine.burn(0.03)
        clock.charge(begun, begun, clock.edge())
        with clock.excluded():
            machine.burn(0.1)
    assert clock.cpu_seconds == pytest.approx(0.06)


def test_cpu_seconds_lag_by_the_resolution_at_most(machine: Machine) -> None:
    clock, step, readings = machine.clock(), 0.3 * CPU_RESOLUTION, set()
    for count in range(1, 21):
        begun = clock.edge()
        machine.burn(step)
        clock.charge(begun, begun, clock.edge())
        assert -1e-9 <= count * step - clock.cpu_seconds <= CPU_RESOLUTION + step
        readings.add(clock.cpu_seconds)
    assert len(readings) < 20, "they are not read at every step"


def test_the_clock_of_a_process_is_the_systems() -> None:
    clock = Clock()
    assert clock.edge is time.perf_counter
    with clock.excluded():
        pass
    assert 0 <= clock.cpu_seconds <= time.process_time()
