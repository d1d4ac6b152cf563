"""Whole gates over sides that are made up: what recurs alarms, and what is noisy is measured for longer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pytest

from suite.gate import clock
from suite.gate.running import Plan
from suite.gate.selftest import SAME, TRIALS, trial
from suite.gate.sides import CellError, Setting
from suite.plan.cells import cells
from tests.suite.specs import SMALL, loaded

if TYPE_CHECKING:
    from suite.cell import Cell
    from suite.gate.sides import Sources

ITERATIONS = 20


class MadeUp:
    """A side without a process: seconds and losses by what is injected."""

    made: ClassVar[list[MadeUp]] = []
    noise = 0.001
    """Of an iteration's seconds, from process to process."""
    recurs = True
    """Whether a slower step is slow in every process."""
    broken: ClassVar[set[str]] = set()
    """Optimizers that fail when they are timed."""

    def __init__(self, sources: Sources, _setting: Setting) -> None:
        self.inject, self.number = sources.inject, len(self.made)
        self.asked: list[str] = []
        self.generator = np.random.default_rng(self.number)
        self.made.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def environment(self) -> dict[str, Any]:
        return {"torch": "2", "threads": 1, "host_class": {}}

    def ask(self, what: str, cell: Cell) -> dict[str, Any]:
        self.asked.append(what)
        if what == "work":
            return {"operations": 1000}
        if what == "outcome":
            worse = 1.0 if self.inject in ("wrong-damping", "broken-refresh") and cell.optimizer != "adam" else 0.0
            losses = [30.0, 20.0 + worse]
            return {"status": "done", "iterations": [0, 10], "train_loss": losses, "test_loss": losses, "fisher": {}}
        if cell.optimizer in self.broken:
            raise CellError("made to fail")
        slow = self.inject == "slow-step" and (self.recurs or self.number < 5)
        spread = np.exp(self.noise * self.generator.standard_normal(ITERATIONS))
        return {"reference": 1e-3, "seconds": list((1.1 if slow else 1.0) * 1e-3 * spread)}


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, working_folder: Path) -> Plan:  # where the spec is written
    monkeypatch.setattr("suite.gate.gating.Side", MadeUp)
    monkeypatch.setattr("suite.gate.running.Side", MadeUp)
    monkeypatch.setattr(MadeUp, "made", [])
    return Plan(tuple(cells(loaded(SMALL))), {"digits": (25.0,)}, Setting(Path("small.yaml")))


@pytest.mark.parametrize("name", TRIALS)
def test_every_trial_comes_out_right(plan: Plan, name: str) -> None:
    found = trial(plan, name)
    assert found.right, found
    assert found.compared > 0


def test_what_does_not_recur_is_no_alarm(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sides are trained, three are timed, and three more where something stands out."""
    monkeypatch.setattr(MadeUp, "recurs", False)
    found = trial(plan, "slow-step")
    assert found.worse == {"deterministic": 0, "clock": 0}
    assert not found.right
    assert len(MadeUp.made) == 8


def test_a_noisy_host_is_measured_for_longer(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trial(plan, SAME).right
    quiet = sum(side.asked.count("clock") for side in MadeUp.made)
    monkeypatch.setattr(MadeUp, "made", [])
    monkeypatch.setattr(MadeUp, "noise", 1.0)
    trial(plan, SAME)
    first_three = sum(side.asked.count("clock") for side in MadeUp.made[2:5])
    assert first_three == clock.MOST_TIMES * quiet
    monkeypatch.setattr(MadeUp, "made", [])
    monkeypatch.setattr(clock, "LONGEST", 0.0)
    trial(plan, SAME)
    assert sum(side.asked.count("clock") for side in MadeUp.made[2:5]) == quiet


def test_a_clock_that_compares_nothing_is_not_right(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MadeUp, "broken", {cell.optimizer for cell in plan.cells})
    found = trial(plan, SAME)
    assert found.compared == 0
    assert not found.right
