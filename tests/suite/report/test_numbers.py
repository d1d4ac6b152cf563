"""How numbers are written."""

from __future__ import annotations

import math

import pytest

from suite.analysis.intervals import UNKNOWN, Estimate, Interval
from suite.analysis.summary import Spread
from suite.report.formats.numbers import duration, file_name, interval, markdown, number, with_interval, with_sd


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1234.5678, 4, "1,235"),
        (0.0123456, 3, "0.0123"),
        (12.0, 4, "12.00"),
        (0.0, 3, "0"),
        (-3.14159, 3, "-3.14"),
        (1.5e-7, 3, "1.50e-07"),
        (math.nan, 3, "—"),
        (None, 3, "—"),
        (math.inf, 3, "∞"),
    ],
)
def test_significant_digits(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


@pytest.mark.parametrize(
    ("spread", "text"),
    [
        (Spread(16.6134, 0.0213, 3), "16.613 ± 0.021"),
        (Spread(44.27, 1.26, 3), "44.3 ± 1.3"),
        (Spread(1234.0, 56.0, 3), "1,234 ± 56"),
        (Spread(5.0, math.nan, 1), "5.000"),
        (Spread(math.nan, math.nan, 0), "—"),
        (Spread(12.5, 2e-15, 3), "12.50"),
        (Spread(12.5, 0.0, 3), "12.50"),
    ],
)
def test_a_mean_is_shown_as_far_as_its_deviation_reaches(spread: Spread, text: str) -> None:
    assert with_sd(spread) == text


def test_shift_and_scale_apply_to_mean_and_deviation() -> None:
    assert with_sd(Spread(30.0, 2.0, 3), scale=0.5, shift=10.0) == "10.0 ± 1.0"


@pytest.mark.parametrize(("seconds", "text"), [(2.5, "2.50 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 µs")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_foreign_text_cannot_format_a_page() -> None:
    assert markdown("a|b\n<img> [x](y) `c`") == r"a\|b \<img\> \[x\](y) \`c\`"
    assert file_name("../../etc/x y[lr=1]") == "etc-x-y-lr-1"


def test_intervals_are_written_to_the_second_digit_of_their_half_width() -> None:
    assert interval(Interval(15.9713, 16.4627)) == "[15.97, 16.46]"
    assert interval(Interval(-0.3, 6311.2)) == "[0, 6,311]", "zero has no sign"
    assert interval(Interval(0.17042, 73.81), 3) == "[0.170, 73.8]"
    assert interval(UNKNOWN) == "—"
    assert with_interval(Estimate(-0.3871, Interval(-1.0767, 0.3025), 3)) == "-0.39 [-1.08, 0.30]"
    assert with_interval(Estimate(-0.3871, UNKNOWN, 1)) == "-0.387"
