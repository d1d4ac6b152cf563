"""How methods and phases look in every figure: one colour everywhere, told apart without colour vision."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from suite.methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from suite.report.model import Standing

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
_FURTHER_COLOURS = (
    "#7b3294",
    "#b8a000",
    "#1b7837",
    "#b2182b",
    "#4d4dff",
    "#00a3a3",
    "#b35900",
    "#5c3d5c",
    "#e0529c",
    "#7f9f00",
    "#003f5c",
    "#ff7f6a",
    "#8f7fd4",
    "#4a2c0a",
    "#00c08b",
    "#a3004f",
    "#9c8a7a",
    "#6d7f99",
)
_COLOURS_OF_NONE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d31")  # where none is a method's
_LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (1, 3)), (0, (6, 1, 1, 1, 1, 1)))

OPTIMUM_COLOUR = "#444444"
OPTIMUM_LINES: tuple[Any, ...] = ((0, (5, 2)), (0, (1, 1.5)), "-.")
"""Strokes of the optima of rank 1, 2, …."""
APPROXIMATION_LINES: tuple[Any, ...] = ("-", (0, (6, 1.5)), "-", (0, (2, 2)), "-", (0, (1, 1.5)))
"""Of the approximations in turn: where two coincide, as the rank-2 optima do, the gaps of one show the other."""

DARK_PAGE = "#15181c"
"""What a dark page is written on."""
_IN_THE_DARK = {"#000000": "#f4f4f4"}  # a black that were only lightened would be another method's grey


class Line(NamedTuple):
    """Colour and stroke of an optimizer's curve."""

    color: str
    linestyle: Any


def colour(method: str) -> str:
    """A method's colour: of those that were given, by its place among the registered methods, or by its name."""
    if method in _COLOURS:
        return _COLOURS[method]
    others = [name for name in METHODS if name not in _COLOURS]
    place = others.index(method) if method in others else crc32(method.encode())
    return _FURTHER_COLOURS[place % len(_FURTHER_COLOURS)]


def lines(standings: Iterable[Standing], strokes: Sequence[Any] = _LINES) -> dict[str, Line]:
    """A line for each optimizer: its method's colour, and one of `strokes` for each optimizer of that method."""
    return styled({s.optimizer: s.method for s in sorted(standings, key=lambda s: s.optimizer)}, strokes)


def styled(methods: Mapping[str, str], strokes: Sequence[Any] = _LINES) -> dict[str, Line]:
    """A line for each label of a method, as in `lines`."""
    found: dict[str, Line] = {}
    seen: dict[str, int] = {}
    for label, method in methods.items():
        number = seen[method] = seen.get(method, -1) + 1
        found[label] = Line(colour(method), strokes[number % len(strokes)])
    return found


def told_apart(methods: Mapping[str, str]) -> dict[str, str]:
    """A colour of its own for each optimizer (label → method): its method's, unless two share one, else any."""
    if len({*methods.values()}) == len(methods):
        return {label: colour(method) for label, method in methods.items()}
    return dict(zip(methods, cycle(["#000000", *_COLOURS_OF_NONE, *_FURTHER_COLOURS]), strict=False))


def in_the_dark(shade: str) -> str:
    """A colour on a dark page: black turns white, any other is mixed with white until its contrast is 4.5 : 1."""
    if shade in _IN_THE_DARK:
        return _IN_THE_DARK[shade]
    mixed, white = shade, 0.0
    while contrast(mixed, DARK_PAGE) < 4.5:
        white += 0.02
        parts = (round(part + white * (255 - part)) for part in _parts(shade))
        mixed = "#" + "".join(f"{part:02x}" for part in parts)
    return mixed


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21, as WCAG 2 defines it: (L₁ + 0.05) / (L₂ + 0.05), the lighter one above."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def dashes(linestyle: Any) -> list[float]:
    """Lengths of strokes and gaps of a line in multiples of its width, as matplotlib draws it; none for a solid one."""
    named = {"-": [], "--": [3.7, 1.6], "-.": [6.4, 1.6, 1.0, 1.6], ":": [1.0, 1.65]}
    return named[linestyle] if isinstance(linestyle, str) else [float(length) for length in linestyle[1]]


def _parts(shade: str) -> tuple[int, int, int]:
    return int(shade[1:3], 16), int(shade[3:5], 16), int(shade[5:7], 16)


def _luminance(shade: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (p / 255 for p in _parts(shade))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
