"""Foreign text on a terminal: shown, never obeyed."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with every control character spelled out, as in `\x1b[2J`, but for ends of lines and tabs.

    Names in specs, errors and what cells print come from anywhere; a terminal would take some of it as orders, and
    letters that turn the direction of writing make a line read as another.
    """
    return "".join(
        letter if letter in "\n\t" or letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text.replace("\r\n", "\n")
    )
