"""README's code runs, its commands exist, and its leaderboard is the committed report's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "block", re.findall(r"```python\n(.*?)```", README, re.DOTALL), ids=["library", "approximation"]
)
def test_the_python_in_the_readme_runs(block: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", block], cwd=tmp_path, check=True)


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_links_and_pictures_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_leaderboard_is_that_of_the_committed_report() -> None:
    shown = re.search(r"<!-- leaderboard: begin -->\n(.*?)<!-- leaderboard: end -->", README, re.DOTALL)
    assert shown
    tables = re.findall(r"(?:^\|.*\n)+", shown[1], re.MULTILINE)
    # `make bench` writes that file anew, and on another processor the last digits differ: the commit's own is meant
    git = ["git", "show", "HEAD:reports/quickstart/README.md"]
    report = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert len(tables) == 2, "one table for each data set"
    for table in tables:
        assert table in report
