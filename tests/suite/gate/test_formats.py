"""The exit code that follows from findings, and how they are told; foreign text is escaped everywhere."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from suite.analysis.intervals import Interval
from suite.errors import ExitCode
from suite.gate import formats
from suite.gate.verdicts import Channel, Finding, Report, Verdict

SAME = Finding(Channel.DETERMINISTIC, "kfac × digits × seed 0", "training loss", 20.0, 20.0, 0.0, 0.0, Verdict.SAME)
WORSE = replace(SAME, measure="iterations to 20", before=40.0, now=math.inf, change=math.inf, verdict=Verdict.WORSE)
BETTER = replace(SAME, now=19.0, change=-0.05, verdict=Verdict.BETTER)
FAILED = replace(SAME, measure="all", before=None, now=None, change=None, verdict=Verdict.FAILED, note="out of memory")
NEW = replace(FAILED, verdict=Verdict.NEW, note="not in the baseline")
UNLIKE = replace(FAILED, verdict=Verdict.INCOMPARABLE, note="another definition")
SLOW = Finding(
    Channel.CLOCK,
    "kfac × digits × seed 0",
    "seconds per iteration",
    1.0,
    1.1,
    0.1,
    0.05,
    Verdict.WORSE,
    Interval(0.08, 0.12),
    "+9.0 % in a second measurement",
)
EVIL = replace(WORSE, cell="a|b</td> *x* \x00", note="100 %, line\r\nbreak ::error:: <b>&amp;")


def report(*findings: Finding, shadow: bool = False, obstacles: tuple[str, ...] = ()) -> Report:
    return Report("ci", "b.json", findings, obstacles, ("A note.",), shadow)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (report(SAME), ExitCode.FINE),
        (report(SAME, BETTER, NEW), ExitCode.FINE),
        (report(SAME, WORSE, FAILED, UNLIKE), ExitCode.REGRESSION),
        (report(SAME, FAILED, UNLIKE), ExitCode.CELLS_FAILED),
        (report(SAME, UNLIKE), ExitCode.NOT_COMPARABLE),
        (report(obstacles=("torch differs",)), ExitCode.NOT_COMPARABLE),
        (report(SAME, obstacles=("torch differs",)), ExitCode.NOT_COMPARABLE),
        (report(SAME, WORSE, obstacles=("torch differs",)), ExitCode.REGRESSION),
        (report(), ExitCode.NOTHING_MEASURED),
        (report(NEW), ExitCode.NOTHING_MEASURED),
        (report(SAME, SLOW), ExitCode.REGRESSION),
        (report(SAME, SLOW, shadow=True), ExitCode.FINE),
        (report(SAME, replace(SLOW, verdict=Verdict.INCOMPARABLE), shadow=True), ExitCode.FINE),
        (report(SLOW, shadow=True), ExitCode.NOTHING_MEASURED),
        (report(WORSE, SLOW, shadow=True), ExitCode.REGRESSION),
    ],
)
def test_exit_codes(given: Report, code: ExitCode) -> None:
    assert given.exit_code == code


def test_the_text_names_what_changed_and_what_to_do() -> None:
    text = formats.text(report(SAME, BETTER))
    assert text.startswith("ci against b.json: no regression (1 better, 2 measures compared)")
    assert "-5.0 %" in text
    assert "--update" in text
    assert "A note." in text
    assert "in shadow" in formats.text(report(SAME, SLOW, shadow=True))


def test_markdown_has_what_changed_by_how_much_the_interval_and_the_verdict() -> None:
    lines = formats.as_markdown(report(SAME, WORSE, SLOW)).splitlines()
    assert lines[0] == "### Gate: ci against b.json: regression (2 worse, 3 measures compared)"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "**worse**" in line]
    assert rows == [
        ["kfac × digits × seed 0", "iterations to 20", "40.000", "missed", "∞", "—", "**worse**", ""],
        [
            "kfac × digits × seed 0",
            "seconds per iteration",
            "1.0000",
            "1.1000",
            "+10.0 %",
            r"\[+8.0, +12.0\] %",
            "**worse**",
            "+9.0 % in a second measurement",
        ],
    ]
    per_cell = [line for line in lines if line.startswith("| kfac × digits × seed 0 | worse")]
    assert [cell.strip() for cell in per_cell[0].strip("|").split("|")] == ["kfac × digits × seed 0", "worse", "worse"]


def test_markdown_escapes() -> None:
    text = formats.as_markdown(report(EVIL))
    assert r"a\|b\</td\> \*x\*" in text
    assert "<b>" not in text
    assert "</td>" not in text


def test_annotations_are_one_line_each_and_escaped() -> None:
    lines = formats.workflow_commands(report(SAME, EVIL, BETTER, obstacles=("torch: 1\n2",)))
    assert len(lines) == 3
    assert not any("\n" in line or "\r" in line for line in lines)
    assert lines[0] == "::error title=Gate::not comparable: torch: 1%0A2"
    assert lines[1].startswith("::error title=Gate%3A worse (deterministic)::a|b")
    assert "100 %25, line%0D%0Abreak" in lines[1]
    assert lines[2].startswith("::notice ")
    assert formats.workflow_commands(report(SAME, SLOW, shadow=True))[0].startswith("::warning ")
    assert formats.workflow_commands(report(NEW))[0] == "::error title=Gate::nothing was compared"


def test_junit_counts_failures_and_holds_any_text() -> None:
    root = ElementTree.fromstring(formats.junit(report(SAME, EVIL, FAILED, NEW, SLOW)))
    suites = {suite.get("name"): suite for suite in root}
    deterministic = suites["deterministic"]
    assert (deterministic.get("tests"), deterministic.get("failures"), deterministic.get("errors")) == ("4", "1", "1")
    tags = [[child.tag for child in case] for case in deterministic]
    assert tags == [[], ["failure"], ["error"], ["skipped"]]
    assert deterministic[1].get("name") == "a|b</td> *x* \ufffd: iterations to 20"
    assert suites["clock"].get("failures") == "1"
    failure = deterministic[1][0]
    text, message = failure.text, failure.get("message")  # GitLab shows the one, GitHub's readers the other
    assert text is not None
    assert message is not None
    assert text.split() == message.split()
    (nothing,) = ElementTree.fromstring(formats.junit(report()))
    assert nothing.get("errors") == "1"
    quiet = ElementTree.fromstring(formats.junit(report(SAME, SLOW, shadow=True)))
    assert [(suite.get("failures"), suite.get("errors")) for suite in quiet] == [("0", "0"), ("0", "0")]
    (refused,) = ElementTree.fromstring(formats.junit(report(obstacles=("torch",))))
    assert refused.get("errors") == "1"


def test_json_is_strict_and_complete() -> None:
    data = json.loads(formats.as_json(report(WORSE, SLOW)), parse_constant=pytest.fail)
    assert (data["exit_code"], data["verdict"]) == (1, "regression")
    assert [finding["now"] for finding in data["findings"]] == [None, 1.1]
    assert data["findings"][1]["interval"] == [0.08, 0.12]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (math.inf, "∞"), (-math.inf, "−∞"), (0.0, "0"), (0.1234, "+12.3 %"), (-2e-9, "-2.0e-07 %")],
)
def test_changes_are_written_so_that_they_are_seen(value: float | None, text: str) -> None:
    assert formats.change(value) == text
