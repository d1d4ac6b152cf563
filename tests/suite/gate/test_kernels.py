"""Files of pytest-benchmark against each other, by thresholds of groups."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from suite.errors import ExitCode, SuiteError
from suite.gate.kernels import FIELDS, Threshold, Thresholds, compare_kernels
from tests.suite.helpers import bench

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = {"machine": "x86_64", "system": "Linux", "python_version": "3.11.9", "cpu": {"brand_raw": "A CPU"}}


def write(path: Path, seconds: dict[str, float], machine: dict[str, Any] | None = None) -> Path:
    """Benchmarks `group/name` of so many seconds each, in all statistics."""
    benchmarks = [
        {"fullname": name, "group": name.partition("/")[0], "stats": dict.fromkeys(FIELDS, value)}
        for name, value in seconds.items()
    ]
    path.write_text(json.dumps({"machine_info": machine or MACHINE, "benchmarks": benchmarks}))
    return path


def verdicts(tmp_path: Path, before: dict[str, float], now: dict[str, float], *thresholds: str) -> dict[str, str]:
    files = write(tmp_path / "now.json", now), write(tmp_path / "before.json", before)
    found = compare_kernels(*files, Thresholds.read(thresholds))
    return {finding.cell: finding.verdict.value for finding in found.findings}


@pytest.mark.parametrize(("text", "allowed"), [("median:5%", 0.05), ("median:0.001", 0.1)])
def test_a_threshold_is_a_share_of_the_time_before(text: str, allowed: float) -> None:
    """A millisecond is a tenth of ten of them."""
    assert Threshold.read(text).allowed(0.01) == pytest.approx(allowed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("median:5%", Threshold("median", 0.05, relative=True)),
        ("min:10%", Threshold("min", 0.1, relative=True)),
        ("mean:0.001", Threshold("mean", 0.001, relative=False)),
        ("max:1e-3", Threshold("max", 0.001, relative=False)),
    ],
)
def test_the_grammar_is_that_of_pytest_benchmark(text: str, expected: Threshold) -> None:
    from pytest_benchmark.utils import parse_compare_fail

    assert Threshold.read(text) == expected
    theirs = parse_compare_fail(text)
    assert theirs.field == expected.field
    assert theirs.threshold == pytest.approx(expected.limit * (100 if expected.relative else 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("median", "not of the form"),
        ("median:5 %%", "not of the form"),
        ("median:-5%", "not of the form"),
        ("medain:5%", "unknown field 'medain'; did you mean 'median'"),
    ],
)
def test_a_threshold_that_is_none_is_named(text: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        Threshold.read(text)


def test_each_group_has_its_own_threshold(tmp_path: Path) -> None:
    before, now = {"fit/a": 1.0, "step/a": 1.0, "step/b": 1.0}, {"fit/a": 1.08, "step/a": 1.08, "step/b": 0.9}
    assert verdicts(tmp_path, before, now) == {"fit/a": "worse", "step/a": "worse", "step/b": "better"}
    assert verdicts(tmp_path, before, now, "fit=min:10%") == {"fit/a": "same", "step/a": "worse", "step/b": "better"}
    assert set(verdicts(tmp_path, before, now, "median:20%").values()) == {"same"}
    assert verdicts(tmp_path, before, now, "min:0.05", "fit=max:0.1")["step/a"] == "worse"
    assert verdicts(tmp_path, before, now, "min:0.05", "fit=max:0.1")["fit/a"] == "same"


def test_what_has_gone_fails_and_what_is_new_is_said(tmp_path: Path) -> None:
    assert verdicts(tmp_path, {"a/x": 1.0, "a/y": 1.0}, {"a/x": 1.0, "a/z": 1.0}) == {
        "a/x": "same",
        "a/y": "failed",
        "a/z": "new",
    }


def test_a_threshold_of_no_group_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no group is called 'fti'; did you mean 'fit'"):
        verdicts(tmp_path, {"fit/a": 1.0}, {"fit/a": 1.0}, "fti=min:5%")
    with pytest.raises(SuiteError, match="has one already"):
        Thresholds.read(["fit=min:5%", "fit=max:5%"])


def test_another_machine_is_not_comparable(tmp_path: Path) -> None:
    files = (
        write(tmp_path / "a.json", {"a/x": 1.0}),
        write(tmp_path / "b.json", {"a/x": 1.0}, {**MACHINE, "system": "X"}),
    )
    found = compare_kernels(*files, Thresholds.read([]))
    assert found.exit_code == ExitCode.NOT_COMPARABLE
    assert found.obstacles == ("system: X in the baseline, Linux now",)


def test_exit_codes_of_the_command(tmp_path: Path) -> None:
    write(tmp_path / "before.json", {"a/x": 1.0})
    write(tmp_path / "slow.json", {"a/x": 1.2})
    write(tmp_path / "none.json", {})
    (tmp_path / "text.json").write_text("[]")
    for now, before, code in (
        ("before.json", "before.json", 0),
        ("slow.json", "before.json", 1),
        ("none.json", "none.json", 4),
        ("text.json", "before.json", 2),
        ("absent.json", "before.json", 2),
    ):
        done = bench(tmp_path, "gate", "--pytest-benchmark", now, "--baseline", before)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
