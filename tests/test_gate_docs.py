"""The page on the gate: its workflows are YAML, its commands exist, and its numbers are those of the code."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from suite.cli import app
from suite.gate import clock, outcomes
from suite.gate.injections import INJECTIONS
from suite.gate.selftest import SAME

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "gate.md").read_text()
WORKFLOW, GITLAB = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
CI = (ROOT / ".ci" / "run").read_text()


def commands(text: str) -> list[list[str]]:
    """Every call of the gate; comments, the ends of lines and the file that the output goes to aside."""
    joined = re.sub(r" >-\n|\n +(?=--)", " ", text).replace("\\\n", " ")
    return [shlex.split(found, comments=True) for found in re.findall(r"kfsvd-bench (gate [^>\n]*)", joined)]


@pytest.mark.parametrize("arguments", [*commands(PAGE), *commands(CI)], ids=" ".join)
def test_every_command_is_understood(arguments: list[str]) -> None:
    verb, *rest = arguments
    with get_command(app).commands[verb].make_context(verb, rest) as context:  # type: ignore[attr-defined]
        given = context.params
    assert given["spec"] is not None or given["pytest_benchmark"] is not None
    if given["spec"] is not None:
        assert (ROOT / given["spec"]).exists()


def test_there_are_commands_to_check() -> None:
    assert len(commands(PAGE)) >= 8
    assert len(commands(CI)) == 1


def test_the_workflows_are_valid_yaml_with_the_caching_of_data_and_environment() -> None:
    steps = yaml.safe_load(WORKFLOW)["jobs"]["gate"]["steps"]
    cached = [step["with"]["path"] for step in steps if step.get("uses", "").startswith("actions/cache")]
    assert cached[0] == ".venv"
    assert ".cache/kfsvd-bench" in cached[1]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    job = yaml.safe_load(GITLAB)["gate"]
    assert {".venv", ".data", ".cache"} == set(job["cache"]["paths"])
    assert all(isinstance(line, str) for line in job["script"])


def test_the_shell_in_the_workflows_and_the_hook_is_shell() -> None:
    scripts = [step["run"] for step in yaml.safe_load(WORKFLOW)["jobs"]["gate"]["steps"] if "run" in step]
    scripts += yaml.safe_load(GITLAB)["gate"]["script"]
    scripts += re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert scripts
    done = subprocess.run(["sh", "-n"], input="\n".join(scripts), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_numbers_are_those_of_the_code() -> None:
    allowed = outcomes.ANOTHER_CLASS
    shares = [f"{100 * share:g} %" for share in (allowed, allowed * outcomes.OPERATIONS, allowed * outcomes.FISHER)]
    assert re.search(r"worse\s+by {},.*operations\s+by {},.*Fisher\s+error\s+by {}".format(*shares), PAGE, re.DOTALL)
    assert f"`--effect {100 * clock.EFFECT:g}`" in PAGE
    assert f"`--rounds {clock.ROUNDS}`" in PAGE
    assert clock.MOST_TIMES == 4, "the page says four times over"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


def test_the_gates_that_were_tried_are_counted_as_they_went() -> None:
    """Those of the sources that were tried last: a change of `suite/gate` makes the others void."""
    lines = (ROOT / "reports" / "gate" / "trials.jsonl").read_text().splitlines()
    trials = [json.loads(line) for line in lines]
    tried = [each for each in trials if each["sources"] == trials[-1]["sources"]]
    counts = Counter(each["name"] for each in tried)
    right = Counter(each["name"] for each in tried if each["right"])
    alarms = sum(any(each["worse"].values()) for each in tried if each["name"] == SAME)
    assert alarms == 0
    assert set(counts) == {SAME, *INJECTIONS}
    same = counts[SAME]
    assert re.search(rf"\[{len(tried)} such\s+gates\]\(../reports/gate.md\).*\b{same} of the same sources", PAGE)
    assert f"caught {right['wrong-damping']} times of {counts['wrong-damping']}" in PAGE
    assert f"caught {right['slow-step']} times of {counts['slow-step']}" in PAGE
    assert right["broken-refresh"] == counts["broken-refresh"] == counts["wrong-damping"]
    assert f"{same} gates on the same sources" in (ROOT / "reports" / "README.md").read_text()
