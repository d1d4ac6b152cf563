"""Device slots: where one cell at a time is trained."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from suite.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Thread counts that libraries read when they are first loaded."""


@dataclass(frozen=True)
class Slot:
    """One cell at a time runs here."""

    name: str  # "cpu:0", "cuda:1", "sim:3", of a device with several "cuda:1/0": what the store and the screen show
    device: str  # torch's name of the device
    cores: tuple[int, ...]  # CPU cores that its process is bound to; none: any
    threads: int  # threads of torch in its process


def accelerators() -> tuple[str, int]:
    """The kind of accelerator that torch uses here, and how many there are; ("", 0) where there is none."""
    import torch

    if not torch.accelerator.is_available():
        return "", 0
    device = torch.accelerator.current_accelerator()
    return ("", 0) if device is None else (device.type, torch.accelerator.device_count())


def parse_devices(text: str, found_here: Callable[[], tuple[str, int]] = accelerators) -> list[Slot]:
    """The slots of a `--devices` option.

    Args:
        text: `auto` (every GPU or other accelerator that torch finds, else one CPU slot a core), `cpu:N` (N slots that
            share the cores evenly), a comma-separated list of accelerators such as `cuda:0,cuda:1`, or `sim:N` (N
            simulated devices on the CPU, one thread each, to try a scheduler that has many).
        found_here: asked for the accelerators of this machine where the text needs them.

    Raises:
        SuiteError: the text is none of these, or names a device that this machine lacks.

    """
    if text == "auto":
        kind, found = found_here()
        return [_accelerator(kind, index) for index in range(found)] if found else _cpu_slots(len(_cores()))
    if match := re.fullmatch(r"(cpu|sim):([1-9]\d{0,3})", text):
        number = int(match[2])
        return _cpu_slots(number) if match[1] == "cpu" else [Slot(f"sim:{i}", "cpu", (), 1) for i in range(number)]
    if match := re.fullmatch(r"((?!cpu|sim)[a-z]+):\d+(,\1:\d+)*", text):
        wanted = [int(name.partition(":")[2]) for name in text.split(",")]
        kind, found = found_here()
        if match[1] != kind or max(wanted) >= found:
            missing = text.split(",")[0] if match[1] != kind else f"{kind}:{max(wanted)}"
            raise SuiteError(
                f"--devices {text}: no {missing} here ({_listed(kind, found)}); try --devices auto or cpu:1"
            )
        if len(set(wanted)) < len(wanted):
            raise SuiteError(f"--devices {text}: a device is named twice")
        return [_accelerator(kind, index) for index in wanted]
    raise SuiteError(f"--devices {text}: choose auto, cpu:N, sim:N or a list such as cuda:0,cuda:1")


def shared(slots: Sequence[Slot], number: int) -> list[Slot]:
    """So many slots in place of each on an accelerator, simulated ones included; CPU slots as they are."""
    if number == 1:
        return list(slots)
    return [
        part
        for slot in slots
        for part in (
            [slot] if slot.name.startswith("cpu") else [replace(slot, name=f"{slot.name}/{i}") for i in range(number)]
        )
    ]


def _cpu_slots(number: int) -> list[Slot]:
    cores = _cores()
    shares = [tuple(cores[i::number]) or (cores[i % len(cores)],) for i in range(number)]
    return [Slot(f"cpu:{i}", "cpu", share, len(share)) for i, share in enumerate(shares)]


def _accelerator(kind: str, index: int) -> Slot:
    return Slot(f"{kind}:{index}", f"{kind}:{index}", (), 1)


def _listed(kind: str, found: int) -> str:
    return f"found {', '.join(f'{kind}:{index}' for index in range(found))}" if found else "found none"


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
