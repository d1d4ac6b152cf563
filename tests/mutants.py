"""Plant known faults in a copy of the sources, one at a time, and see whether the tests find each: `make mutants`.

A mutant is `killed` if its tests fail with it and the test that failed passes without it. Else it has `survived`, its
old text is `stale`, its tests had a `timeout`, or they are `broken`: they could not run, or fail without it as well.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import multiprocessing
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]

MOST_SECONDS = 60.0
"""Of the tests of one mutant."""

PRELOADED = ("torch", "scipy.stats", "sklearn.datasets", "matplotlib.figure", "sqlalchemy.orm")
"""What takes longest to import; each run of the tests is a fork that has it already."""


class Mutant(NamedTuple):
    """A fault, and the tests that one would run after a change of that module."""

    name: str
    file: str  # from the root
    old: str  # occurs exactly once in the file
    new: str
    fault: str  # in one line
    tests: tuple[str, ...]  # modules

    def planted(self, root: Path) -> str | None:
        """The file's text with the fault in it; None where it is stale."""
        path = root / self.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return text.replace(self.old, self.new) if text.count(self.old) == 1 and self.old != self.new else None


def mutants() -> list[Mutant]:
    """Those of the list."""
    files = yaml.safe_load((ROOT / "tests" / "mutants.yaml").read_text(encoding="utf-8"))
    return [
        Mutant(name, file, own["old"], own["new"], own["fault"], tuple(given["tests"]))
        for file, given in files.items()
        for name, own in given["mutants"].items()
    ]


class Verdict(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    word: str
    seconds: float
    killer: str = ""  # the test that failed

    def __str__(self) -> str:
        found = self.killer.removeprefix("tests/") if self.word == "killed" else self.mutant.fault
        return f"{self.word:<8} {self.seconds:5.1f} s  {self.mutant.name:<34} {found}"


def judged(mutant: Mutant, root: Path, most_seconds: float = MOST_SECONDS) -> Verdict:
    """Plant a fault in the tree at `root`, run its tests there, and take it out again."""
    planted = mutant.planted(root)
    if planted is None:
        return Verdict(mutant, "stale", 0.0)
    path, begun = root / mutant.file, time.monotonic()
    sound = path.read_text(encoding="utf-8")
    try:
        _write(path, planted)
        code, failed = _tested(root, mutant.tests, most_seconds)
    finally:
        _write(path, sound)
    word = {None: "timeout", 0: "survived"}.get(code, "killed" if failed else "broken")
    return Verdict(mutant, word, time.monotonic() - begun, next(iter(failed), ""))


def checked(verdicts: Sequence[Verdict], root: Path) -> list[Verdict]:
    """The same, once the tests that failed have been run in the tree without a fault: those that fail prove nothing."""
    killers = sorted({verdict.killer for verdict in verdicts if verdict.killer})
    if not killers:
        return list(verdicts)
    code, failed = _tested(root, killers, None, "--maxfail=1000", "--continue-on-collection-errors")
    failed = failed if code in (0, 1) else killers
    return [verdict._replace(word="broken") if verdict.killer in failed else verdict for verdict in verdicts]


def _write(path: Path, text: str) -> None:
    """Change a module; the compiled one may bear the same second and size."""
    path.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def _tested(
    root: Path, tests: Sequence[str], most_seconds: float | None, *options: str
) -> tuple[int | None, list[str]]:
    """Pytest's exit code in the tree at `root`, None beyond the time; and the tests that failed."""
    with tempfile.TemporaryDirectory() as cache:
        arguments = ["-x", "-q", "-o", f"cache_dir={cache}", *options, *tests]
        process = multiprocessing.get_context("fork").Process(target=_pytest, args=(root, arguments))
        process.start()
        process.join(most_seconds)
        code = process.exitcode
        with suppress(ProcessLookupError):  # whatever its tests have started ends with it
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        last = Path(cache) / "v" / "cache" / "lastfailed"
        return code, list(json.loads(last.read_text())) if code == 1 and last.is_file() else []


def _pytest(root: Path, arguments: Sequence[str]) -> None:
    """Run pytest in this process, a fork, with the sources of the tree at `root` and no output; end with its code."""
    os.setsid()
    os.chdir(root)
    os.environ |= {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    sys.path[:] = [str(root), *(entry for entry in sys.path if Path(entry).resolve() != ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("kfsvd", "suite", "tests")]:
        del sys.modules[name]
    with open(os.devnull, "w") as null:
        sys.stdout = sys.stderr = null
        for stream in (1, 2):
            os.dup2(null.fileno(), stream)
        os._exit(pytest.main(list(arguments)))  # nothing of the forked thread pool is ended in an orderly way


@contextmanager
def copies(number: int, root: Path = ROOT) -> Iterator[list[Path]]:
    """Copies of the tree as it is, without what git ignores."""
    listed = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    with tempfile.TemporaryDirectory(prefix="kfsvd-mutants-") as folder:
        made = [Path(folder) / str(index) for index in range(number)]
        for copy in made:
            for name in filter(None, names):
                if (root / name).is_file():
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(root / name, copy / name)
        yield made


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the mutants that are asked for; 1 unless all are killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", action="append", help="a mutant; may be given several times")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="mutants at a time")
    parser.add_argument("--list", action="store_true", help="print them and plant none")
    given, known = parser.parse_args(arguments), mutants()
    if unknown := sorted({*(given.only or ())} - {mutant.name for mutant in known}):
        parser.error(f"no mutant is called {', '.join(unknown)}; --list names them")
    chosen = [mutant for mutant in known if not given.only or mutant.name in given.only]
    if given.list:
        print("\n".join(f"{mutant.name:<34} {mutant.file}: {mutant.fault}" for mutant in chosen))
        return 0
    for module in PRELOADED:
        importlib.import_module(module)
    verdicts = []
    with copies(given.jobs) as trees, ThreadPoolExecutor(given.jobs) as pool:
        free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for tree in trees:
            free.put(tree)

        def judge(mutant: Mutant) -> Verdict:
            tree = free.get()
            try:
                return judged(mutant, tree)
            finally:
                free.put(tree)

        for done in as_completed([pool.submit(judge, mutant) for mutant in chosen]):
            verdicts.append(done.result())
            print(verdicts[-1], flush=True)
        final = checked(verdicts, trees[0])
    left = [verdict for verdict in final if verdict.word != "killed"]
    print(f"\n{len(final) - len(left)} of {len(final)} mutants are killed", *left, sep="\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
