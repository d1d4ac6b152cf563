"""The Python of another revision: the present one where both ask for the same packages, else one of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from filelock import FileLock
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from platformdirs import user_cache_path

from suite.errors import SuiteError


@dataclass(frozen=True)
class Packages:
    """What a revision runs with: the dependencies of its pyproject.toml, and the lines of constraints.txt on them."""

    dependencies: tuple[str, ...]
    constraints: tuple[str, ...]

    @classmethod
    def of(cls, root: Path) -> Packages:
        """Those of the sources in `root`; none where there is no pyproject.toml.

        Raises:
            SuiteError: pyproject.toml or constraints.txt cannot be read, or has what is no package.

        """
        file = root / "pyproject.toml"
        if not file.exists():
            return cls((), ())
        try:
            project = tomllib.loads(file.read_text("utf-8")).get("project", {})
            wanted = [Requirement(each) for each in project.get("dependencies", [])]
            file = root / "constraints.txt"
            text = file.read_text("utf-8") if file.exists() else ""
            pins = [Requirement(pin) for line in text.splitlines() if (pin := line.partition("#")[0].strip())]
        except (OSError, ValueError, InvalidRequirement) as error:
            why = " ".join(str(error).split())
            raise SuiteError(f"the {file.name} of the other revision cannot be read: {why}") from None
        names = _closure({canonicalize_name(each.name) for each in wanted})
        of_these = [str(pin) for pin in pins if canonicalize_name(pin.name) in names]
        return cls(tuple(sorted(map(str, wanted))), tuple(sorted(of_these)))

    @property
    def key(self) -> str:
        """What an environment of these is stored under: they, and the version of Python."""
        text = "\n".join([sys.version, *self.dependencies, "", *self.constraints])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def python_of(root: Path, present: Path) -> Path:
    """The interpreter for the sources in `root`: this one, if they ask for the same packages as those in `present`.

    Else that of a virtual environment in the user's cache, which is built once for each set of packages.

    Raises:
        SuiteError: the environment cannot be built.

    """
    packages = Packages.of(root)
    if packages == Packages.of(present):
        return Path(sys.executable)
    folder = user_cache_path("kfsvd-bench", appauthor=False) / "environments" / packages.key
    python, complete = folder / "bin" / "python", folder / ".complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not complete.exists():
            print(f"The other revision asks for other packages: its environment is built in {folder}", file=sys.stderr)
            _build(folder, python, packages)
            complete.touch()
    return python


def _build(folder: Path, python: Path, packages: Packages) -> None:
    constraints = folder / "constraints.txt"
    try:
        venv.create(folder, clear=True, with_pip=True)
        constraints.write_text("\n".join(packages.constraints), encoding="utf-8")
    except (OSError, subprocess.CalledProcessError) as error:
        raise SuiteError(f"the environment of the other revision cannot be built in {folder}: {error}") from None
    options = ["--quiet", "--constraint", str(constraints)]
    install = [str(python), "-m", "pip", "install", *options, *packages.dependencies]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise SuiteError(f"the environment of the other revision cannot be built: {why}")


def _closure(names: set[str]) -> set[str]:
    """Packages and all that they need, as far as they are installed here."""
    found: set[str] = set()
    while names - found:
        name = min(names - found)
        found.add(name)
        try:
            needed = [Requirement(each) for each in requires(name) or []]
        except PackageNotFoundError:
            continue
        names = names | {
            canonicalize_name(each.name) for each in needed if each.marker is None or each.marker.evaluate()
        }
    return found
