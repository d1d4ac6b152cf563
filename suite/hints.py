"""The nearest valid name, for messages about an unknown one."""

from collections.abc import Iterable
from difflib import get_close_matches

SHOWN = 12  # names listed when none is near


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
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"; choose from {', '.join(names[:SHOWN])}{more}"
