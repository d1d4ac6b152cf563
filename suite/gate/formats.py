"""A gate's report as text, markdown, GitHub annotations, JUnit XML and JSON; what stems from files is escaped."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from tabulate import tabulate

from suite.errors import ExitCode
from suite.gate.verdicts import Channel, Finding, Report, Verdict
from suite.report.formats.numbers import ABSENT, markdown, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from suite.analysis.intervals import Interval

WORDS = {
    ExitCode.FINE: "no regression",
    ExitCode.REGRESSION: "regression",
    ExitCode.CELLS_FAILED: "cells failed",
    ExitCode.NOTHING_MEASURED: "nothing was compared",
    ExitCode.NOT_COMPARABLE: "not comparable",
}
HEADINGS = ("cell", "measure", "before", "now", "change", "95 % interval", "verdict", "note")
TOLD = (Verdict.WORSE, Verdict.FAILED, Verdict.INCOMPARABLE, Verdict.BETTER, Verdict.NEW)
"""Verdicts that are always shown, the gravest first."""


def headline(report: Report) -> str:
    """The verdict in a line."""
    counts = {verdict: len(report.of(verdict)) for verdict in TOLD}
    parts = [f"{count} {verdict.value}" for verdict, count in counts.items() if count]
    compared = sum(finding.verdict.compared for finding in report.findings)
    said = WORDS[report.exit_code]
    return f"{report.name} against {report.against}: {said} ({', '.join([*parts, f'{compared} measures compared'])})"


def remarks(report: Report) -> list[str]:
    """Obstacles, notes, and what to do next."""
    lines = [f"Not comparable: {obstacle}." for obstacle in report.obstacles]
    lines += report.notes
    shadowed = [f for f in report.of(Verdict.WORSE) if report.shadow and f.channel == Channel.CLOCK]
    if shadowed:
        lines.append("The clock reports in shadow: what it finds makes nothing fail.")
    if report.of(Verdict.BETTER, Verdict.NEW) and report.exit_code == ExitCode.FINE:
        lines.append("What got better or is new is held from now on if the baseline is written anew: --update.")
    return lines


def text(report: Report) -> str:
    """For a terminal."""
    told = report.of(*TOLD)
    table = tabulate([_row(finding) for finding in _sorted(told)], headers=HEADINGS, disable_numparse=True)
    return "\n\n".join(part for part in (headline(report), table if told else "", "\n".join(remarks(report))) if part)


def as_markdown(report: Report) -> str:
    """For a pull request: what changed first, then a line for each cell, then every time that was measured."""
    parts = [f"### Gate: {markdown(headline(report))}"]
    told = report.of(*TOLD)
    if told:
        parts.append(_pipes(HEADINGS, [_row(finding) for finding in _sorted(told)], _strong))
    parts += [markdown(line) for line in remarks(report)]
    if report.findings:
        channels = [channel for channel in Channel if any(f.channel == channel for f in report.findings)]
        cells = dict.fromkeys(finding.cell for finding in report.findings)
        rows = [[cell, *(_overall(report, cell, channel) for channel in channels)] for cell in cells]
        parts.append(_folded(f"{len(cells)} cells", _pipes(("cell", *channels), rows)))
    timed = [f for f in report.findings if f.channel != Channel.DETERMINISTIC and f.verdict.compared]
    if timed:
        parts.append(_folded("Every time that was compared", _pipes(HEADINGS, [_row(finding) for finding in timed])))
    return "\n\n".join(parts) + "\n"


def workflow_commands(report: Report) -> list[str]:
    """Workflow commands of GitHub Actions, one for each finding that is worth one."""
    lines = [f"::error title=Gate::{_data(f'not comparable: {each}')}" for each in report.obstacles]
    if report.exit_code == ExitCode.NOTHING_MEASURED:
        lines.append(f"::error title=Gate::{_data(WORDS[report.exit_code])}")
    for finding in _sorted(report.of(*TOLD)):
        quiet = report.shadow and finding.channel == Channel.CLOCK
        grave = finding.verdict in (Verdict.WORSE, Verdict.FAILED, Verdict.INCOMPARABLE)
        level = "notice" if not grave else "warning" if quiet else "error"
        title = _property(f"Gate: {finding.verdict.value} ({finding.channel.value})")
        lines.append(f"::{level} title={title}::{_data(_sentence(finding))}")
    return lines


def junit(report: Report) -> str:
    """A test suite for each channel, a test case for each measure; what is worse has failed."""
    root = ElementTree.Element("testsuites", name=_xml(f"gate {report.name}"))
    if report.obstacles:
        _incomparable(root, "environment", "; ".join(report.obstacles))
    elif report.exit_code == ExitCode.NOTHING_MEASURED:
        _incomparable(root, "anything", WORDS[report.exit_code])
    for channel in Channel:
        findings = [finding for finding in report.findings if finding.channel == channel]
        if findings:
            _suite(root, channel, findings, quiet=report.shadow and channel == Channel.CLOCK)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_json(report: Report) -> str:
    """Everything, for programs; what is no finite number is null."""
    content = {
        "name": report.name,
        "against": report.against,
        "exit_code": int(report.exit_code),
        "verdict": WORDS[report.exit_code],
        "shadow": report.shadow,
        "obstacles": list(report.obstacles),
        "notes": list(report.notes),
        "findings": [_plain(finding) for finding in report.findings],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _plain(finding: Finding) -> dict[str, Any]:
    numbers = {"before": finding.before, "now": finding.now, "change": finding.change, "allowed": finding.allowed}
    low, high = finding.interval
    return {
        "channel": finding.channel.value,
        "cell": finding.cell,
        "measure": finding.measure,
        **{name: _finite(value) for name, value in numbers.items()},
        "interval": [low, high] if finding.interval.known else None,
        "verdict": finding.verdict.value,
        "note": finding.note,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _incomparable(root: ElementTree.Element, what: str, why: str) -> None:
    """A suite of one case in error, so that no reader of the file takes the gate for green."""
    suite = ElementTree.SubElement(root, "testsuite", name="comparability", tests="1", failures="0", errors="1")
    case = ElementTree.SubElement(suite, "testcase", classname="comparability", name=what)
    _told(case, "error", why)


def _suite(root: ElementTree.Element, channel: Channel, findings: Sequence[Finding], *, quiet: bool) -> None:
    bad = {Verdict.WORSE: "failure", Verdict.FAILED: "error", Verdict.INCOMPARABLE: "error"}
    tags = [None if quiet and f.verdict in bad else bad.get(f.verdict) for f in findings]
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=channel.value,
        tests=str(len(findings)),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error")),
    )
    for finding, tag in zip(findings, tags, strict=True):
        name = _xml(f"{finding.cell}: {finding.measure}")
        case = ElementTree.SubElement(suite, "testcase", classname=channel.value, name=name)
        if tag is None and finding.verdict in (*bad, Verdict.NEW):
            tag = "skipped"
        if tag is not None:
            _told(case, tag, _sentence(finding))


def _told(case: ElementTree.Element, tag: str, text: str) -> None:
    """As an attribute, which GitHub's readers show, and as the text, which GitLab shows."""
    ElementTree.SubElement(case, tag, message=_xml(text)).text = _xml(text)


def _sorted(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: TOLD.index(finding.verdict))


def _row(finding: Finding) -> list[str]:
    return [
        finding.cell,
        finding.measure,
        _value(finding.before),
        _value(finding.now),
        change(finding.change),
        _interval(finding.interval),
        finding.verdict.value,
        finding.note,
    ]


def _value(value: float | None) -> str:
    return "missed" if value == math.inf else number(value, 5)


def change(value: float | None) -> str:
    """A relative change in percent, with as many decimals as it takes to see it."""
    if value is None or math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    return f"{100 * value:+.1f} %" if abs(value) >= 1e-3 else f"{100 * value:+.1e} %"


def _interval(interval: Interval) -> str:
    return f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}] %" if interval.known else ABSENT


def _sentence(finding: Finding) -> str:
    known = finding.change is not None
    moved = f": {_value(finding.before)} before, {_value(finding.now)} now ({change(finding.change)})" if known else ""
    note = f"; {finding.note}" if finding.note else ""
    return f"{finding.cell}, {finding.measure}{moved}{note}"


def _overall(report: Report, cell: str, channel: Channel) -> str:
    """The gravest verdict of a cell in a channel."""
    verdicts = {f.verdict for f in report.findings if f.cell == cell and f.channel == channel}
    ordered = [verdict.value for verdict in (*TOLD, Verdict.SAME) if verdict in verdicts]
    return ordered[0] if ordered else ABSENT


def _pipes(
    headings: Sequence[str], rows: Sequence[Sequence[str]], style: Callable[[list[str]], list[str]] = list
) -> str:
    escaped = [style([markdown(text) for text in row]) for row in rows]
    return tabulate(escaped, headers=[markdown(text) for text in headings], tablefmt="pipe", disable_numparse=True)


def _strong(row: list[str]) -> list[str]:
    grave = (Verdict.WORSE.value, Verdict.FAILED.value)
    return [f"**{text}**" if text in grave else text for text in row]


def _folded(summary: str, inside: str) -> str:
    return f"<details><summary>{markdown(summary)}</summary>\n\n{inside}\n\n</details>"


def _data(text: str) -> str:
    """The message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A property of a workflow command."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _xml(text: str) -> str:
    """Without what XML 1.0 cannot hold at all; the rest is escaped by ElementTree."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
