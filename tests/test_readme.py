"""README's code runs, its commands exist and write no committed file, its leaderboard is the committed report's."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from suite.cli import app
from suite.store.urls import sqlite_file
from tests.snippets import executed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "block", re.findall(r"```python\n(.*?)```", README, re.DOTALL), ids=["library", "approximation"]
)
def test_the_python_in_the_readme_runs(block: str, tmp_path: Path) -> None:
    assert {"torch", "kfsvd"} <= set(executed(block, tmp_path))


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def commands() -> list[list[str]]:
    """Every call of `kfsvd-bench` in README, and those of `make bench`."""
    makefile = (ROOT / "Makefile").read_text().replace("\t$(BENCH)", "kfsvd-bench")
    calls = re.findall(r"^kfsvd-bench (.*)$", README + makefile, re.MULTILINE)
    return [shlex.split(call, comments=True) for call in calls]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_exists_and_writes_where_git_ignores_it(arguments: list[str]) -> None:
    command = get_command(app)
    while hasattr(command, "commands"):
        verb, *arguments = arguments
        command = command.commands[verb]
    with command.make_context(verb, arguments) as context:
        given = context.params
    store, folder = given.get("db"), given.get("folder")
    for written in (sqlite_file(store) if store else None, folder / "file" if folder else None):
        if written is not None:
            ignored = subprocess.run(["git", "check-ignore", "--quiet", written], cwd=ROOT, check=False)
            assert ignored.returncode == 0, written


def test_links_and_pictures_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_leaderboard_is_that_of_the_committed_report() -> None:
    shown = re.search(r"<!-- leaderboard: begin -->\n(.*?)<!-- leaderboard: end -->", README, re.DOTALL)
    assert shown
    tables = re.findall(r"(?:^\|.*\n)+", shown[1], re.MULTILINE)
    report = (ROOT / "reports" / "quickstart" / "README.md").read_text()
    assert len(tables) == 2, "one table for each data set"
    for table in tables:
        assert table in report
