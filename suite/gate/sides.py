"""The two sides of a comparison: a set of sources each, trained by a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError
from suite.gate.environments import python_of
from suite.scheduling.slots import THREAD_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from suite.cell import Cell

HERE = Path(__file__).resolve().parents[2]
"""The folder that the present `suite` and `kfsvd` lie in."""


class CellError(Exception):
    """A cell that a side cannot train; the text says why."""


@dataclass(frozen=True)
class Sources:
    """What a side is made of.

    Args:
        root: the folder of its `suite` and `kfsvd`.
        inject: the name of a regression to make on purpose, or None.
        python: what they run with.

    """

    root: Path = HERE
    inject: str | None = None
    python: Path = Path(sys.executable)


@dataclass(frozen=True)
class Setting:
    """What both sides share: the spec, the threads of torch, and the user's folder of data sets."""

    spec: Path
    threads: int = 1
    data_dir: Path | None = None


class Side:
    """A measuring process; use it in a `with` block.

    Args:
        sources: its own.
        setting: shared by the sides.

    Raises:
        SuiteError: the sources cannot be loaded, or cannot read the spec.

    """

    def __init__(self, sources: Sources, setting: Setting) -> None:
        program = Path(__file__).with_name("worker.py")
        command = [str(sources.python), "-P", str(program), str(setting.spec.resolve()), str(setting.threads)]
        if setting.data_dir is not None:
            command += ["--data-dir", str(setting.data_dir.resolve())]
        if sources.inject is not None:
            command += ["--inject", sources.inject]
        threads = dict.fromkeys(THREAD_VARIABLES, str(setting.threads))
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed on leaving
        self._process = subprocess.Popen(
            command,
            env=os.environ | threads | {"PYTHONPATH": str(sources.root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._sources = sources
        self._environment: dict[str, Any] | None = None

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()
        self._errors.close()

    @property
    def environment(self) -> dict[str, Any]:
        """What the process says of itself once it is up: `torch`, `threads` and `host_class`."""
        if self._environment is None:
            reply = self._read()
            if "error" in reply:
                where = "the present sources" if self._sources.root == HERE else "the other revision"
                raise SuiteError(f"{where} cannot measure this spec: {reply['error']}")
            self._environment = reply
        return self._environment

    def ask(self, what: str, cell: Cell) -> dict[str, Any]:
        """The reply to a request of `worker.Session`.

        Raises:
            CellError: the cell failed.

        """
        _ = self.environment  # the process is up before it is asked
        assert self._process.stdin is not None
        request = {"what": what, "cell": [cell.optimizer, cell.dataset, cell.seed]}
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise CellError(self._last_words()) from None
        reply = self._read()
        if "error" in reply:
            raise CellError(reply["error"])
        return reply

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return {"error": self._last_words()}
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _last_words(self) -> str:
        """How the process ended, with the end of what it wrote."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"the measuring process ended with code {code}" + (f": {lines[-1]}" if lines else "")


@contextmanager
def revision(name: str, root: Path = HERE) -> Iterator[Sources]:
    """The sources of another revision, checked out beside the present ones for the time of a `with` block.

    They run with the packages that they ask for: in an environment of their own, unless those are the present ones.

    Raises:
        SuiteError: there is no repository, it has no such revision, or its environment cannot be built.

    """
    with tempfile.TemporaryDirectory(prefix="kfsvd-gate-") as scratch:
        folder = Path(scratch) / "sources"
        try:
            commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
            _git(root, "worktree", "add", "--detach", "--force", str(folder), commit)
        except FileNotFoundError:
            raise SuiteError("--against needs git, which is not installed here") from None
        except subprocess.CalledProcessError as error:
            why = error.stderr.strip() or "no such revision here; a shallow clone may lack it: git fetch --unshallow"
            raise SuiteError(f"--against {name}: {why}") from None
        try:
            yield Sources(folder, python=python_of(folder, root))
        finally:
            _git(root, "worktree", "remove", "--force", str(folder))


def _git(root: Path, *arguments: str) -> str:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # a hook sets GIT_DIR
    done = subprocess.run(["git", "-C", str(root), *arguments], env=plain, capture_output=True, text=True, check=True)
    return done.stdout
