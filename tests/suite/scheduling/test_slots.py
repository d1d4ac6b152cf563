"""Slots of a `--devices` option."""

from __future__ import annotations

import os

import pytest
import torch

from suite.errors import SuiteError
from suite.scheduling.slots import parse_devices


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
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    slots = parse_devices(text)
    assert [slot.cores for slot in slots] == cores
    assert [slot.threads for slot in slots] == threads
    assert {slot.device for slot in slots} == {"cpu"}


def test_auto_takes_every_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [slot.device for slot in parse_devices("auto")] == ["cuda:0", "cuda:1"]
    assert [slot.device for slot in parse_devices("cuda:1")] == ["cuda:1"]


def test_simulated_devices_run_on_the_cpu() -> None:
    slots = parse_devices("sim:5")
    assert [slot.name for slot in slots] == [f"sim:{i}" for i in range(5)]
    assert {(slot.device, slot.threads) for slot in slots} == {("cpu", 1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu:0", "--devices gpu:0: choose auto, cpu:N, sim:N or a list such as cuda:0,cuda:1"),
        ("cpu:0", "choose auto"),
        ("cpu:-1", "choose auto"),
        ("", "choose auto"),
        ("cuda:0,cuda:7", r"no CUDA device 7 here \(found 2\); try --devices auto or cpu:1"),
        ("cuda:0,cuda:0", "a device is named twice"),
    ],
)
def test_anything_else_is_refused(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SuiteError, match=message):
        parse_devices(text)
