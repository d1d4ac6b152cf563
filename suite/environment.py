"""Provenance of a measurement: the machine, the software, and what identifies the library's code."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """What a figure depends on beside its spec; no user names and no paths."""

    host: str
    cpu: str
    cores: int
    memory_bytes: int | None
    gpus: str | None  # "NVIDIA H100 80GB HBM3, …"
    driver: str | None
    system: str
    python: str
    torch: str
    blas: str
    kfsvd: str
    commit: str | None  # of the checkout that the package lies in, if it does
    dirty: bool | None  # whether tracked files of the packages differ from that commit


def current_environment() -> Environment:
    """The environment of this process; imports torch."""
    import torch

    import kfsvd

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    commit, dirty = _checkout(Path(kfsvd.__file__).parent)
    return Environment(
        host=platform.node() or "unknown",
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=_memory(),
        gpus=", ".join(gpus) or None,
        driver=_driver() if gpus else None,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        torch=str(torch.__version__),  # of a class that others would import torch to read
        blas=_blas(torch.__config__.show()),
        kfsvd=kfsvd.__version__,
        commit=commit,
        dirty=dirty,
    )


def _cpu() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:  # not Linux
        found = None
    return found[1] if found else platform.processor() or "unknown"


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a Unix
        return None


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return output.splitlines()[0].strip() if output else None


def _blas(configuration: str) -> str:
    """What torch multiplies matrices with: the library's own line in its configuration, else its short name."""
    if found := re.search(r"- (.*(?:Math Kernel Library|OpenBLAS|Accelerate|ArmPL).*)", configuration):
        return found[1][:255]
    found = re.search(r"BLAS_INFO=(\w+)", configuration)
    return found[1] if found else "unknown"


def _checkout(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout around `folder`, and whether kfsvd or suite differ from it."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder.parent), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    if git("ls-files", "--error-unmatch", "kfsvd/__init__.py") is None:
        return None, None
    changes = git("status", "--porcelain", "--", "kfsvd", "suite")
    return git("rev-parse", "HEAD"), bool(changes)


@cache
def library_fingerprint() -> str:
    """First 16 hex digits of the SHA-256 over paths and contents of all of `kfsvd`'s Python files.

    The library is found, not imported, so torch is not loaded. Line ends count as written by Unix.

    Raises:
        ModuleNotFoundError: `kfsvd` is not installed.
    """
    found = find_spec("kfsvd")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("kfsvd is not installed", name="kfsvd")
    return fingerprint(Path(found.submodule_search_locations[0]))


def fingerprint(folder: Path) -> str:
    """The same for the Python files under any `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix().encode()
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(b"%d:%b%d:%b" % (len(name), name, len(content), content))
    return digest.hexdigest()[:16]
