"""The names that a spec gives to what it lists."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def _label(label: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}", label):
        raise ValueError("a label is at most 64 letters, digits and _.+-, a letter or digit first")
    return label


Label = Annotated[str, AfterValidator(_label)]


def labelled(optimizer: str, compressed_by: str) -> str:
    """What is measured, for people: the optimizer's label, or "gfwsvd of adam" where its network is compressed."""
    return f"{compressed_by} of {optimizer}" if compressed_by else optimizer
