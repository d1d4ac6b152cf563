"""How methods and phases look in every figure: one colour everywhere, told apart without colour vision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from suite.methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suite.report.leaderboard import Standing

PHASE_COLOURS = {"forward_backward": "#d2d2d2", "update": "#8f8f8f", "curvature": "#f2c14e", "inversion": "#c8741a"}
"""Phases of an iteration in the order of a bar: what every optimizer pays in grey, then what refreshes add."""

_COLOURS = {
    "sgd": "#8c8c8c",
    "adam": "#000000",
    "kfac": "#0072b2",
    "kpsvd": "#d55e00",
    "deflation": "#009e73",
    "lanczos": "#cc79a7",
    "kfac_corrected": "#56b4e9",
    "tkfac": "#8c6d31",
}
_FURTHER_COLOURS = ("#7b3294", "#b8a000", "#1b7837", "#b2182b", "#4d4dff", "#00a3a3", "#b35900", "#5c3d5c")
_LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (1, 3)), (0, (6, 1, 1, 1, 1, 1)))


class Line(NamedTuple):
    """Colour and stroke of an optimizer's curve."""

    color: str
    linestyle: Any


def colour(method: str) -> str:
    """A method's colour, of those that were given or by its place among the registered methods."""
    if method in _COLOURS:
        return _COLOURS[method]
    others = [name for name in METHODS if name not in _COLOURS]
    place = others.index(method) if method in others else len(others)
    return _FURTHER_COLOURS[place % len(_FURTHER_COLOURS)]


def lines(standings: Iterable[Standing]) -> dict[str, Line]:
    """A line for each optimizer: its method's colour, and a stroke for each optimizer of that method."""
    found: dict[str, Line] = {}
    seen: dict[str, int] = {}
    for standing in sorted(standings, key=lambda s: s.optimizer):
        number = seen[standing.method] = seen.get(standing.method, -1) + 1
        found[standing.optimizer] = Line(colour(standing.method), _LINES[number % len(_LINES)])
    return found
