"""How numbers and names are written in tables."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from suite.analysis.intervals import Estimate, Interval

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suite.analysis.summary import Spread

ABSENT = "—"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, no exponent where it can be helped; — where there is none."""
    if value is None or math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    places = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def with_sd(spread: Spread, scale: float = 1.0, shift: float = 0.0) -> str:
    """Mean ± standard deviation of (x − shift)·scale, both to the deviation's second digit.

    A deviation of rounding alone, below a millionth of the mean, is left out.
    """
    mean, sd = (spread.mean - shift) * scale, spread.sd * scale
    if math.isnan(mean):
        return ABSENT
    if not sd > 1e-6 * abs(mean):  # NaN of a single seed too
        return number(mean, 4)
    places = _places(sd)
    return f"{mean:,.{places}f} ± {sd:,.{places}f}"


def interval(given: Interval, digits: int | None = None) -> str:
    """An interval as [low, high], to the second digit of its half width, or of each end to so many digits."""
    if not given.known:
        return ABSENT
    if digits is not None:
        return f"[{number(given.low, digits)}, {number(given.high, digits)}]"
    places = _places((given.high - given.low) / 2)
    return f"[{_rounded(given.low, places)}, {_rounded(given.high, places)}]"


def with_interval(estimate: Estimate) -> str:
    """A number and its interval, both to the second digit of the interval's half width; alone where there is none."""
    if not estimate.interval.known:
        return number(estimate.value)
    low, high = estimate.interval
    return f"{_rounded(estimate.value, _places((high - low) / 2))} {interval(estimate.interval)}"


def hundredths(estimate: Estimate) -> str:
    """A share, a rank or a correlation with its interval, to the second decimal."""
    if not estimate.n:
        return ABSENT
    text = f"{estimate.value:.2f}"
    low, high = estimate.interval
    return f"{text} [{low:.2f}, {high:.2f}]" if estimate.interval.known else text


def percent_with_interval(share: Estimate) -> str:
    """A share and its interval in per cent, signed: "+1.2 % [−0.8, 3.1]"."""
    if math.isnan(share.value):
        return ABSENT
    hundred = Estimate(100 * share.value, Interval(100 * share.interval.low, 100 * share.interval.high), share.n)
    if not hundred.interval.known:
        return f"{hundred.value:+.1f} %"
    return f"{hundred.value:+.1f} % {interval(hundred.interval)}"


def _rounded(value: float, places: int) -> str:
    """A number with so many decimals; zero without a sign."""
    return f"{round(value, places) + 0.0:,.{places}f}"


def _places(width: float) -> int:
    """Decimals that show the second digit of a width, six at most: less is rounding."""
    return min(6, max(0, 1 - math.floor(math.log10(width))))


def duration(seconds: float) -> str:
    """Seconds of one step, in µs, ms or s."""
    if math.isnan(seconds):
        return ABSENT
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds / 1e-6)} µs"


def in_order(layers: Iterable[str]) -> list[str]:
    """Names of layers as the network has them: linear2 before linear10."""
    return sorted(
        layers, key=lambda name: (name.rstrip("0123456789"), int("0" + name[len(name.rstrip("0123456789")) :]))
    )


def markdown(text: str) -> str:
    """Foreign text as it is, whatever markdown or HTML it contains, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(text.split()))


def file_name(label: str) -> str:
    """A label as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", label).strip("-.") or "data"
