"""What a user sees when something is wrong: one message, one exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import IntEnum

_LISTED = 12  # names in a message when none is near


class ExitCode(IntEnum):
    """Exit codes of every `kfsvd-bench` verb."""

    FINE = 0
    REGRESSION = 1
    USAGE = 2
    CELLS_FAILED = 3
    NOTHING_MEASURED = 4
    NOT_COMPARABLE = 5
    INTERRUPTED = 130


class SuiteError(Exception):
    """An error whose text is meant for the user: it says what is wrong, where, and what to do."""

    exit_code = ExitCode.USAGE


class NothingMeasuredError(SuiteError):
    """There is nothing to compare or to show."""

    exit_code = ExitCode.NOTHING_MEASURED


class NotComparableError(SuiteError):
    """Measurements of different hosts or versions."""

    exit_code = ExitCode.NOT_COMPARABLE


class DataMissingError(SuiteError):
    """A data set that is neither in the given folder, nor in the cache, nor to be had from a mirror."""


class StoreError(SuiteError):
    """A store that cannot be opened, read or written."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """The end of a message about an unknown `word`: "; did you mean 'x'?" or "; choose from a, b, c".

    Case is ignored in the comparison. Empty where there is nothing to choose from.
    """
    names = list(dict.fromkeys(candidates))
    by_folded = {name.casefold(): name for name in names}
    near = get_close_matches(word.casefold(), by_folded, n=1)
    if near:
        return f"; did you mean {by_folded[near[0]]!r}?"
    if not names:
        return ""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"; choose from {', '.join(names[:_LISTED])}{more}"


def printable(text: str) -> str:
    r"""The text with every control character spelled out, as in `\x1b[2J`, but for ends of lines and tabs.

    Names in specs, errors and what cells print come from anywhere; a terminal would take some of it as orders, and
    letters that turn the direction of writing make a line read as another.
    """
    return "".join(
        letter if letter in "\n\t" or letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text.replace("\r\n", "\n")
    )


LONGEST_SHOWN = 60  # characters of an offending value


def shown(value: object) -> str:
    """An offending value as a spec would hold it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 2]}…{text[-1]}"
