"""What CI has to have: nothing that a test needs is missing there unnoticed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CI = (ROOT / ".ci" / "run").read_text()
REQUIRED = {
    name
    for path in ROOT.joinpath("tests").rglob("*.py")
    for name in re.findall(r"""environ\.get\("(KFSVD_REQUIRE_[A-Z]+)"\)""", path.read_text())
}


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_ci_skips_no_test_for_what_is_missing(name: str) -> None:
    assert f"export {name}=1" in CI


def test_ci_runs_the_quick_tests_and_then_the_slow_ones() -> None:
    made = re.findall(r"^make (\S+)$", CI, re.MULTILINE)
    assert made.index("test") < made.index("test-slow")
    kinds = re.findall(r"^(test\S*):.*\n(?:\t@.*\n)*\t\$\(PYTEST\)(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert kinds == [("test", ""), ("test-slow", " -m slow")]


def test_a_server_that_cannot_be_installed_ends_ci(tmp_path: Path) -> None:
    """As root, where there is none yet and apt-get fails."""
    step = CI[CI.index("has_postgres() {") : CI.index("if has_postgres; then")]
    step = step.replace("command -v initdb", "false").replace("/usr/lib/postgresql", str(tmp_path))
    for name, text in (("apt-get", "exit 100"), ("id", "echo 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    script = ["bash", "-euo", "pipefail", "-c", f"{step}\necho it went on"]
    done = subprocess.run(script, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PostgreSQL cannot be installed" in done.stderr
    assert "it went on" not in done.stdout
