"""A spec that tunes, and made-up results of its trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suite.plan.cells import cells
from suite.plan.studies import Tuned, tune
from suite.plan.trials import Outcome
from suite.spec.reading import load_spec
from tests.suite.helpers import write_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from suite.cell import Cell
    from suite.spec.reading import Spec

TUNED = """
version: 1
name: tuned
optimizers:
  adam: {method: adam}
  kfac: {method: kfac}
datasets:
  digits:
    data: digits
    network: {kind: autoencoder, encoder: [16, 4], activation: tanh}
    likelihood: bernoulli
    batch_size: 64
seeds: [0, 1]
budget: {iterations: 60}
measure: {loss_every: 20, fisher_every: 30, fisher_samples: 32}
tuning:
  search: grid
  seeds: [7, 8]
  budget: {iterations: 20}
  spaces:
    adam: {lr: [0.001, 0.003, 0.01, 0.03]}
    kfac: {lr: [0.1, 0.3], damping: [0.1, 1.0]}
"""


def spec_of(folder: Path, text: str = TUNED) -> Spec:
    return load_spec(write_spec(folder, text))


def outcome(loss: float, start: float = 40.0) -> Outcome:
    """Falls in a straight line over a hundred iterations of ten milliseconds; diverged where it is infinite."""
    iteration = np.arange(0.0, 101.0, 10.0)
    diverged = not np.isfinite(loss)
    curve = np.full(11, np.nan) if diverged else start + (loss - start) * iteration / 100
    return Outcome(iteration, iteration / 100, curve, diverged)


def tuned(spec: Spec, loss: Callable[[Cell], float | None]) -> Tuned:
    """The spec's tuning where every measured cell ends at that loss."""

    def outcomes(asked: Sequence[Cell]) -> Mapping[str, Outcome]:
        return {cell.key: outcome(value) for cell in asked if (value := loss(cell)) is not None}

    assert spec.tuning is not None
    return tune(spec, spec.tuning, cells(spec), outcomes)
