"""The baseline file: small, sorted, without absolute times; and what forbids a comparison with it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from suite.errors import SuiteError
from suite.gate.baseline import Baseline, Environment, Ratio, read_baseline
from suite.gate.outcomes import Outcome

if TYPE_CHECKING:
    from pathlib import Path

HERE = Environment("2.13.0", 1, {"cpu": "A", "blas": "B"}, "ci")
OUTCOME = Outcome("done", (0, 10), (30.0, 20.123456789), (31.0, math.nan), {"linear2": 0.5, "linear1": 0.25}, 7)
BASELINE = Baseline(
    HERE,
    {("digits", "kfac", 10): OUTCOME, ("digits", "kfac", 9): OUTCOME, ("curves", "adam", 0): OUTCOME},
    {("digits", "kfac", 10): "k10", ("digits", "kfac", 9): "k9", ("curves", "adam", 0): "a0"},
    {("digits", "kfac"): Ratio("adam", 1.23456789, 0.0123)},
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    BASELINE.write(tmp_path / "b.json")
    read = read_baseline(tmp_path / "b.json")
    assert (read.environment, read.keys) == (HERE, BASELINE.keys)
    assert read.clock == {("digits", "kfac"): Ratio("adam", 1.235, 0.0123)}
    assert set(read.outcomes) == set(BASELINE.outcomes)
    assert read.outcomes["digits", "kfac", 9].train_loss == OUTCOME.train_loss, "to the last bit"
    assert read.text() == BASELINE.text()


def test_the_file_is_sorted_with_a_line_for_a_list_and_no_absolute_time() -> None:
    text = BASELINE.text()
    data = json.loads(text)
    assert text == Baseline(HERE, dict(reversed(BASELINE.outcomes.items())), BASELINE.keys, BASELINE.clock).text()
    assert list(data) == sorted(data)
    assert re.search(r'^ +"train_loss": \[30\.0, 20\.123456789\]$', text, re.MULTILINE)
    assert re.search(r'^ +"test_loss": \[31\.0, null\],$', text, re.MULTILINE)
    assert "seconds" not in text


def test_what_must_agree_is_named() -> None:
    assert HERE.obstacles(HERE) == []
    other = Environment("2.14.0", 2, {"cpu": "A", "blas": "B"}, "other", version=2)
    assert HERE.obstacles(other) == [
        "spec: ci in the baseline, other here",
        "spec version: 1 in the baseline, 2 here",
        "torch: 2.13.0 in the baseline, 2.14.0 here",
        "threads: 1 in the baseline, 2 here",
    ]
    assert replace(HERE, threads=None).obstacles(HERE) == [], "a store does not know its threads"


def test_another_class_of_host_is_named() -> None:
    assert HERE.other_class(HERE) == []
    assert HERE.other_class(replace(HERE, host_class={"cpu": "A", "blas": "C", "system": "S"})) == [
        "host class (blas): B in the baseline, C here",
        "host class (system): unknown in the baseline, S here",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file; the same command with --update writes it"),
        ("{", "cannot be read as JSON"),
        ("[]", "not a baseline of format 1"),
        ('{"format": 2}', "not a baseline of format 1"),
        ('{"format": 1}', "damaged: no 'environment'"),
        (BASELINE.text().replace('"torch": "2.13.0"', '"turch": "2"'), "damaged"),
        (BASELINE.text().replace("1.235", "0"), "damaged: a ratio of times must be above 0"),
        (BASELINE.text().replace("[30.0", '["x"'), "damaged"),
        (BASELINE.text().replace('"cells": {', '"cells": 3, "x": {'), "damaged"),
    ],
)
def test_a_file_that_is_no_baseline_is_named(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SuiteError, match=message):
        read_baseline(path)


def test_a_baseline_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="cannot be written"):
        BASELINE.write(tmp_path / "absent" / "b.json")
