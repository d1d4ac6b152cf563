"""How numbers are written."""

from __future__ import annotations

import math

import pytest

from suite.analysis.summary import Spread
from suite.report.numbers import duration, file_name, markdown, number, with_sd


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
