"""Which settings are tried next, given what those before have come to; the same every time for the same results."""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError
from suite.spec.tuning import Range, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from suite.spec.tuning import Axis, Search, Space

Setting = dict[str, Value]
"""Option → value."""

Scored = tuple[Setting, float]
"""A setting and its score, the lower the better, infinite where training diverged."""

ROUND = 4
"""Trials that a TPE search proposes at once; so many can be run side by side whatever the machine."""
MOST_EXTENSIONS = 12
"""Settings beyond its edges that a grid is extended by, at most."""
_EDGE = 0.05
"""The share of a range at either end that counts as its edge."""


def next_settings(search: Search, space: Space, scored: Sequence[Scored], trials: int, name: str) -> list[Setting]:
    """The settings to try after those that are scored; none where the search is over.

    Args:
        search: "grid", "random" or "tpe".
        space: option → values, or a range.
        scored: settings and their scores, the lower the better, infinite where training diverged.
        trials: how many in all.
        name: of what is searched; decides the random draws.

    Raises:
        SuiteError: Optuna is not installed, for "tpe".

    """
    if search == "tpe":
        return _tpe(space, scored, min(ROUND, trials - len(scored)), trials, name)
    if scored:
        return []
    if search == "random":
        return _random(space, trials, name)
    axes = {option: axis for option, axis in space.items() if isinstance(axis, tuple)}
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def extension(space: Space, scored: Sequence[Scored]) -> list[tuple[str, Setting]]:
    """What is missing around the best of a grid's settings: each number option one step down and up, all else as there.

    A step goes to the nearest number that was tried with other settings, or beyond all of them. Where nothing is
    missing, the best setting is bracketed.
    """
    best = best_setting(scored)
    if best is None:
        return []
    return [
        (option, {**best, option: number})
        for option, axis in space.items()
        if _is_scale(axis)
        for number in _steps(option, best, scored)
        if number is not None
    ]


def edges(search: Search, space: Space, scored: Sequence[Scored]) -> dict[str, str]:
    """Options whose best value lies at an end of what was tried, and at which: "least" or "largest".

    Of a grid, of what was tried with all else alike; other searches seldom try two settings that differ in one option.
    """
    best = best_setting(scored)
    if best is None:
        return {}
    found = {}
    for option, axis in space.items():
        if isinstance(axis, Range):
            share = axis.share(best[option])  # type: ignore[arg-type]
            low, high = share < _EDGE, share > 1 - _EDGE
        elif not _is_scale(axis):
            continue
        elif search == "grid":
            low, high = (number is not None for number in _steps(option, best, scored))
        else:
            low, high = (best[option] == end(axis) for end in (min, max))  # type: ignore[type-var]
        if low or high:
            found[option] = "only one" if low and high else "least" if low else "largest"
    return found


def best_setting(scored: Sequence[Scored]) -> Setting | None:
    """The setting of the least score, the first of equals; None where all diverged."""
    setting, score = min(scored, key=lambda pair: pair[1], default=({}, math.inf))
    return setting if math.isfinite(score) else None


def _is_scale(axis: Axis) -> bool:
    """Whether an axis has ends: two numbers or more."""
    return (
        isinstance(axis, tuple)
        and len(axis) > 1
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in axis)
    )


def _steps(option: str, best: Setting, scored: Sequence[Scored]) -> tuple[int | float | None, int | float | None]:
    """The numbers below and above the best one's that are missing; None where one was tried with all else alike."""
    here: Any = best[option]
    numbers: list[Any] = sorted({setting[option] for setting, _ in scored})
    if len(numbers) < 2:
        return None, None
    alike = [s[option] for s, _ in scored if all(s[other] == best[other] for other in best if other != option)]
    below, above = [n for n in numbers if n < here], [n for n in numbers if n > here]
    return (
        None if any(n < here for n in alike) else below[-1] if below else _beyond(here, numbers[1]),
        None if any(n > here for n in alike) else above[0] if above else _beyond(here, numbers[-2]),
    )


def _beyond(end: float, inner: float) -> int | float | None:
    """The next number of a scale beyond its end: by the ratio of the last two, or their step; None if there is none."""
    further = end * end / inner if min(end, inner) > 0 else end + (end - inner)
    if isinstance(end, int) and isinstance(inner, int):
        return round(further) if round(further) != end else None
    wide = min(end, inner) > 0 and not 2 / 3 < end / inner < 1.5
    return _round(further) if wide else float(f"{further:.3g}")


def _round(number: float) -> float:
    """To two digits, and to one of 1, 2, 3, 5 times a power of ten where that is near: as grids are written."""
    power = math.floor(math.log10(abs(number))) if number else 0
    digits = number / 10.0**power
    for plain in (1, 2, 3, 5, 10):
        if abs(digits / plain - 1) < 0.12:
            return float(f"{plain}e{power}")
    return float(f"{number:.2g}")


def _random(space: Space, trials: int, name: str) -> list[Setting]:
    import numpy as np

    generator = np.random.default_rng(_seed(name))
    settings: list[Setting] = []
    for _ in range(100 * trials):  # a small space may not hold so many different settings
        setting = {
            option: axis.at(generator.random()) if isinstance(axis, Range) else axis[generator.integers(len(axis))]
            for option, axis in space.items()
        }
        if setting not in settings:
            settings.append(setting)
        if len(settings) == trials:
            break
    return settings


def _tpe(space: Space, scored: Sequence[Scored], count: int, trials: int, name: str) -> list[Setting]:
    """By Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), a quarter of the trials at random first."""
    try:
        import optuna
    except ImportError:
        raise SuiteError("a tpe search needs Optuna: pip install 'kfsvd-bench[tuning]'") from None
    import warnings

    if count < 1:
        return []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {option: _distribution(axis) for option, axis in space.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=max(ROUND, trials // 4), seed=_seed(f"{name} {len(scored)}"), constant_liar=True
        )
        study = optuna.create_study(sampler=sampler)
        for setting, score in scored:
            finite = score if math.isfinite(score) else 1e300
            study.add_trial(
                optuna.trial.create_trial(params=_shares(space, setting), distributions=distributions, value=finite)
            )
        asked = [study.ask(distributions).params for _ in range(count)]
    return [_setting(space, params) for params in asked]


def _distribution(axis: Axis) -> Any:
    """A range is searched by its share, so that what Optuna is told is what was tried, rounding included."""
    import optuna

    if isinstance(axis, Range):
        return optuna.distributions.FloatDistribution(0.0, 1.0)
    return optuna.distributions.CategoricalDistribution(list(range(len(axis))))


def _shares(space: Space, setting: Mapping[str, Any]) -> dict[str, Any]:
    return {
        option: min(max(axis.share(setting[option]), 0.0), 1.0)
        if isinstance(axis, Range)
        else axis.index(setting[option])
        for option, axis in space.items()
    }


def _setting(space: Space, params: Mapping[str, Any]) -> Setting:
    return {
        option: axis.at(params[option]) if isinstance(axis, Range) else axis[params[option]]
        for option, axis in space.items()
    }


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
