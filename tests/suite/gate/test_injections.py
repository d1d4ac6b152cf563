"""Regressions on purpose do what they say, and the self-test knows a right answer from a wrong one."""

from __future__ import annotations

import pytest
import torch

import kfsvd
from suite.gate.injections import DAMPING, DELAY, broken_refresh, slow_step, wrong_damping
from suite.gate.selftest import SAME, Trial, rows
from suite.gate.verdicts import Channel


def made(**options: float) -> tuple[torch.nn.Module, kfsvd.NaturalGradient]:
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 4)
    return model, kfsvd.KFAC(model, "bernoulli", lr=0.1, refresh_every=2, **options)


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    data = torch.rand(16, 6)
    kfsvd.negative_log_likelihood("bernoulli", model(data), torch.rand(16, 4)).mean().backward()
    optimizer.step()


def test_a_slow_step_takes_a_tenth_longer_and_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from suite.gate import injections

    now = iter(range(1000))  # a clock that ticks once a look
    monkeypatch.setattr(injections, "perf_counter", lambda: float(next(now)))
    model, optimizer = made()
    slow_step(optimizer)
    step(model, optimizer)
    plain, untouched = made()
    step(plain, untouched)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), plain.parameters(), strict=True))
    looks = next(now)
    # begun at 1 (after the first look on wrapping), ended at 2: waits for 0.1 ticks, which is one look
    assert looks == 4
    assert DELAY == 0.1


def test_adam_is_not_slowed() -> None:
    adam = torch.optim.Adam(torch.nn.Linear(2, 2).parameters())
    slow_step(adam)
    wrong_damping(adam)
    broken_refresh(adam)
    assert "step" not in vars(adam)
    assert "damping" not in adam.param_groups[0]


def test_a_wrong_damping_counts_from_the_first_step() -> None:
    _, optimizer = made(damping=0.03)
    wrong_damping(optimizer)
    assert optimizer.param_groups[0]["damping"] == pytest.approx(0.03 * DAMPING)


def test_a_broken_refresh_keeps_the_first_curvature() -> None:
    def curvatures(*, broken: bool) -> list[torch.Tensor]:
        model, optimizer = made()
        if broken:
            broken_refresh(optimizer)
        found = []
        for _ in range(4):
            step(model, optimizer)
            (layer,) = optimizer.approximations().values()
            found.append(torch.cat([part.flatten().clone() for part in layer.tensors().values()]))
        return found

    first, *_, last = curvatures(broken=True)
    assert torch.equal(first, last)
    first, *_, last = curvatures(broken=False)
    assert not torch.equal(first, last)


@pytest.mark.parametrize(
    ("name", "deterministic", "clock", "right"),
    [
        (SAME, 0, 0, True),
        (SAME, 1, 0, False),
        (SAME, 0, 1, False),
        ("slow-step", 0, 2, True),
        ("slow-step", 0, 0, False),
        ("slow-step", 1, 2, False),
        ("wrong-damping", 3, None, True),
        ("wrong-damping", 0, None, False),
        ("broken-refresh", 3, None, True),
    ],
)
def test_the_right_channel_has_to_alarm(name: str, deterministic: int, clock: int | None, right: bool) -> None:
    trial = Trial(name, {Channel.DETERMINISTIC: deterministic, Channel.CLOCK: clock}, compared=10, seconds=1.0)
    assert trial.right == right
    ((*_, said, _),) = rows([trial])
    assert said == ("yes" if right else "NO")


def test_a_trial_that_compared_nothing_is_not_right() -> None:
    assert not Trial(SAME, {Channel.DETERMINISTIC: 0, Channel.CLOCK: 0}, compared=0, seconds=1.0).right
