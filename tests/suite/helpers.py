"""A spec in a file, and the command line as a user calls it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import sqlalchemy as sa

from suite.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 600.0
"""Seconds for what has to come: what never comes fails, a busy machine does not."""

SMALL = """
version: 1
name: small
description: A small matrix for tests.
optimizers:
  sgd: {method: sgd, lr: 0.01}
  adam: {method: adam, lr: 0.003}
  kfac: {method: kfac, lr: 0.1, damping: 1.0}
  kpsvd: {method: kpsvd, lr: 0.1, damping: 1.0}
datasets:
  digits:
    data: digits
    network: {kind: autoencoder, encoder: [16, 4], activation: tanh}
    likelihood: bernoulli
    batch_size: 64
seeds: [0, 1]
budget: {iterations: 60}
measure: {loss_every: 20, fisher_every: 30, fisher_samples: 32}
targets: {digits: [20.0, 1.0]}
"""


def wait_for(condition: Callable[[], object]) -> None:
    """Until it is true; a store that is not made yet makes it false."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with contextlib.suppress(sqlite3.OperationalError, sa.exc.OperationalError, sa.exc.ProgrammingError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def says(text: str, *words: str) -> bool:
    """Whether a paragraph of a text has these words, in their order."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return any(re.search(".*?".join(map(re.escape, words)), paragraph) for paragraph in paragraphs)


def write_spec(folder: Path, text: str = SMALL, name: str = "small.yaml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def environment(folder: Path) -> dict[str, str]:
    """A user's environment with a cache of its own and a terminal of fixed width."""
    kept = {k: v for k, v in os.environ.items() if k not in ("KFSVD_DATA", "FORCE_COLOR")}
    return kept | {"XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "160"}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "suite.cli", *map(str, arguments)]


def bench(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `kfsvd-bench` in `folder` within this process, cells and a gate's sides included.

    It goes through the same `main`, with a user's environment and working folder for the time of the call.
    """
    from tests.suite.inprocess import Side, run_cells  # with torch, which a spawned process need not load

    argv = ["kfsvd-bench", *map(str, arguments)]
    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with (
            mock.patch.object(sys, "argv", argv),
            mock.patch.dict(os.environ, environment(folder), clear=True),
            mock.patch("suite.commands.run.answer", lambda asked: asked()),
            mock.patch("suite.scheduling.host.run_cells", run_cells),
            mock.patch("suite.gate.gating.Side", Side),
            mock.patch("suite.gate.running.Side", Side),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main()
    except SystemExit as left:
        return subprocess.CompletedProcess(argv, int(str(left.code)), out.getvalue(), err.getvalue())
    finally:
        os.chdir(before)
    raise AssertionError("it ended without an exit code")


def process(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `kfsvd-bench` in `folder` as a process of its own."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
