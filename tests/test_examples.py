"""The examples run, are short, and show what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_kpsvd_beats_adam_per_iteration_on_the_digits(tmp_path: Path) -> None:
    script = EXAMPLES / "digits_autoencoder.py"
    assert len(script.read_text().splitlines()) < 30
    warnings = ["-W", "error"]
    command = [sys.executable, *warnings, str(script)]
    output = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    losses: dict[str, list[float]] = {}
    for line in output.splitlines():
        _iteration, name, loss, *_unit = line.split()
        losses.setdefault(name, []).append(float(loss))
    assert losses.keys() == {"Adam", "KPSVD"}
    assert losses["Adam"][0] == losses["KPSVD"][0], "the same weights to start from"
    assert losses["KPSVD"][-1] < losses["Adam"][-1]
    assert all(kpsvd < adam for kpsvd, adam in zip(losses["KPSVD"][1:], losses["Adam"][1:], strict=True))
