"""Slots of a `--devices` option."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

from suite.errors import SuiteError
from suite.scheduling.slots import parse_devices, shared


def accelerators(monkeypatch: pytest.MonkeyPatch, kind: str, count: int) -> None:
    """A machine with so many of them."""
    device = SimpleNamespace(type=kind)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: device)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3}, raising=False)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("text", "cores", "threads"),
    [
        ("cpu:1", [(0, 1, 2, 3)], [4]),
        ("cpu:2", [(0, 2), (1, 3)], [2, 2]),
        ("cpu:3", [(0, 3), (1,), (2,)], [2, 1, 1]),
        ("cpu:6", [(0,), (1,), (2,), (3,), (0,), (1,)], [1] * 6),
        ("auto", [(0,), (1,), (2,), (3,)], [1] * 4),
    ],
)
def test_cpu_slots_share_the_cores(
    text: str, cores: list[tuple[int, ...]], threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerators(monkeypatch, "cuda", 0)
    slots = parse_devices(text)
    assert [slot.cores for slot in slots] == cores
    assert [slot.threads for slot in slots] == threads
    assert {slot.device for slot in slots} == {"cpu"}


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_auto_takes_every_accelerator(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    accelerators(monkeypatch, kind, 2)
    assert [slot.device for slot in parse_devices("auto")] == [f"{kind}:0", f"{kind}:1"]
    assert [slot.device for slot in parse_devices(f"{kind}:1")] == [f"{kind}:1"]


def test_several_slots_share_a_device_but_not_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerators(monkeypatch, "cuda", 2)
    found = shared(parse_devices("cuda:0,cuda:1"), 2)
    assert [(slot.name, slot.device) for slot in found] == [
        ("cuda:0/0", "cuda:0"),
        ("cuda:0/1", "cuda:0"),
        ("cuda:1/0", "cuda:1"),
        ("cuda:1/1", "cuda:1"),
    ]
    assert shared(parse_devices("cpu:2"), 3) == parse_devices("cpu:2")
    assert len(shared(parse_devices("sim:2"), 3)) == 6
    assert shared(parse_devices("sim:2"), 1) == parse_devices("sim:2")


def test_simulated_devices_run_on_the_cpu() -> None:
    slots = parse_devices("sim:5")
    assert [slot.name for slot in slots] == [f"sim:{i}" for i in range(5)]
    assert {(slot.device, slot.threads) for slot in slots} == {("cpu", 1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu", "--devices gpu: choose auto, cpu:N, sim:N or a list such as cuda:0,cuda:1"),
        ("gpu:0", r"no gpu:0 here \(found cuda:0, cuda:1\); try --devices auto or cpu:1"),
        ("cuda:0,xpu:1", "choose auto"),
        ("cpu:0", "choose auto"),
        ("cpu:-1", "choose auto"),
        ("", "choose auto"),
        ("cuda:0,cuda:7", r"no cuda:7 here \(found cuda:0, cuda:1\); try --devices auto or cpu:1"),
        ("cuda:0,cuda:0", "a device is named twice"),
    ],
)
def test_anything_else_is_refused(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    accelerators(monkeypatch, "cuda", 2)
    with pytest.raises(SuiteError, match=message):
        parse_devices(text)
