"""The examples run, are short, and show what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.snippets import executed

if TYPE_CHECKING:
    import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_kpsvd_beats_adam_per_iteration_on_the_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = (EXAMPLES / "digits_autoencoder.py").read_text()
    assert len(script.splitlines()) < 30
    executed(script, tmp_path)
    output = capsys.readouterr().out
    losses: dict[str, list[float]] = {}
    for line in output.splitlines():
        _iteration, name, loss, *_unit = line.split()
        losses.setdefault(name, []).append(float(loss))
    assert losses.keys() == {"Adam", "KPSVD"}
    assert losses["Adam"][0] == losses["KPSVD"][0], "the same weights to start from"
    assert losses["KPSVD"][-1] < losses["Adam"][-1]
    assert all(kpsvd < adam for kpsvd, adam in zip(losses["KPSVD"][1:], losses["Adam"][1:], strict=True))
