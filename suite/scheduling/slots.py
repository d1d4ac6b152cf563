"""Device slots: where one cell at a time is trained."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from suite.errors import SuiteError


@dataclass(frozen=True)
class Slot:
    """One cell at a time runs here."""

    name: str  # "cpu:0", "cuda:1", "sim:3": what the store and the screen show
    device: str  # torch's name of the device
    cores: tuple[int, ...]  # CPU cores that its process is bound to; none: any
    threads: int  # threads of torch in its process


def parse_devices(text: str) -> list[Slot]:
    """The slots of a `--devices` option.

    Args:
        text: `auto` (every CUDA device, else one CPU slot a core), `cpu:N` (N slots that share the cores evenly), a
            comma-separated list of CUDA devices such as `cuda:0,cuda:1`, or `sim:N` (N simulated devices on the CPU,
            one thread each, to try a scheduler that has many).

    Raises:
        SuiteError: the text is none of these, or names a device that this machine lacks.

    """
    if text == "auto":
        found = _cuda_devices()
        return [_cuda(index) for index in range(found)] if found else _cpu_slots(len(_cores()))
    if match := re.fullmatch(r"(cpu|sim):([1-9]\d{0,3})", text):
        number = int(match[2])
        return _cpu_slots(number) if match[1] == "cpu" else [Slot(f"sim:{i}", "cpu", (), 1) for i in range(number)]
    if re.fullmatch(r"cuda:\d+(,cuda:\d+)*", text):
        wanted = [int(name.removeprefix("cuda:")) for name in text.split(",")]
        found = _cuda_devices()
        missing = [index for index in wanted if index >= found]
        if missing:
            raise SuiteError(
                f"--devices {text}: no CUDA device {missing[0]} here (found {found}); try --devices auto or cpu:1"
            )
        if len(set(wanted)) < len(wanted):
            raise SuiteError(f"--devices {text}: a device is named twice")
        return [_cuda(index) for index in wanted]
    raise SuiteError(f"--devices {text}: choose auto, cpu:N, sim:N or a list such as cuda:0,cuda:1")


def _cpu_slots(number: int) -> list[Slot]:
    cores = _cores()
    shares = [tuple(cores[i::number]) or (cores[i % len(cores)],) for i in range(number)]
    return [Slot(f"cpu:{i}", "cpu", share, len(share)) for i, share in enumerate(shares)]


def _cuda(index: int) -> Slot:
    return Slot(f"cuda:{index}", f"cuda:{index}", (), 1)


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count()


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
