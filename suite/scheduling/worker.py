"""The worker process of one slot: takes cells off a pipe, trains them, sends what it measures."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
import warnings
from typing import TYPE_CHECKING

from suite.errors import SuiteError
from suite.problems.problem import load_problem
from suite.scheduling.messages import Finished, Job, Loaded, Measured, Noted, Ready
from suite.scheduling.processes import end_group_with, end_with_parent, lead_a_group

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from multiprocessing.connection import Connection

    import torch

    from suite.problems import Problem
    from suite.records import Records
    from suite.scheduling.messages import Message
    from suite.scheduling.slots import Slot
    from suite.training.loop import Training

_GONE = (EOFError, BrokenPipeError, ConnectionResetError)


class _InterruptedError(Exception):
    """The scheduler asks to stop."""


def work(connection: Connection, slot: Slot, printed: Connection, watched: Connection) -> None:
    """Serve jobs until the scheduler says stop or is gone.

    Args:
        connection: to the scheduler; `Job` and `Stop` in, messages out.
        slot: the device, cores and threads to use.
        printed: to the scheduler; takes what the process and all that it starts print.
        watched: from the scheduler, and never written to; with its other end this process ends, and all that it starts.

    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the scheduler's to handle
    lead_a_group()
    end_with_parent()
    end_group_with(watched)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # so that it is seen as it is printed
        os.dup2(printed.fileno(), number)
    printed.close()
    if slot.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, slot.cores)
    try:
        import torch

        _use_threads(slot.threads)
        connection.send(Ready())
        while isinstance(job := connection.recv(), Job):
            _train(connection, torch.device(slot.device), job)
    except _GONE:
        return  # nobody is left to tell


def _use_threads(number: int) -> None:
    """Of libraries that were loaded with another number; what is loaded later follows the environment."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(number)
    threadpool_limits(number, user_api="blas")


def _train(connection: Connection, device: torch.device, job: Job) -> None:
    for message in measuring(job, device, connection.poll):
        if isinstance(message, Finished):  # what it has printed is out before it is over
            sys.stdout.flush()
            sys.stderr.flush()
        connection.send(message)


def measuring(job: Job, device: torch.device, should_stop: Callable[[], bool]) -> Iterator[Message]:
    """Train a cell: what every executor passes on to its store, `Finished` at the end, whatever happens.

    Args:
        job: the cell, and the number that the messages bear.
        device: where it is trained.
        should_stop: asked between records; once it says so, the cell ends as interrupted.

    """
    import torch

    from suite.scheduling.memory import peak_bytes, reset_peak

    reset_peak(device)
    error = None
    try:
        status: str = yield from _run(job, device, should_stop)
    except _InterruptedError:
        status = "interrupted"
    except SuiteError as problem:
        status, error = "error", str(problem)
    except (torch.OutOfMemoryError, MemoryError):
        status, error = "oom", traceback.format_exc()
    except Exception:
        status, error = "error", traceback.format_exc()
    yield Finished(job.run, status, error, peak_bytes(device))


def _run(job: Job, device: torch.device, should_stop: Callable[[], bool]) -> Generator[Message, None, str]:
    from suite.scheduling.reference import reference_seconds
    from suite.training.loop import Training

    problem = load_problem(job.cell.problem, job.folders).to(device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        training = Training(job.cell, problem, device)
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        yield Noted(job.run, text)
    parameters = sum(p.numel() for p in training.network.parameters())
    floor, test_floor = problem.floors(job.cell.measure.evaluation_examples)
    yield Loaded(
        job.run,
        problem=problem.name,
        pixels=problem.pixels,
        floor=floor,
        test_floor=test_floor,
        parameters=parameters,
        reference_seconds=reference_seconds(device),
    )
    for records in _records(job, problem, training):
        yield Measured(job.run, records)
        if should_stop():
            raise _InterruptedError
    return training.outcome


def _records(job: Job, problem: Problem, training: Training) -> Iterator[Records]:
    """Of the training, and of what its network is compressed to."""
    yield from training
    if job.cell.compression is not None and training.outcome == "done":
        from suite.training.compression import compressed

        yield from compressed(job.cell, problem, training.network)
