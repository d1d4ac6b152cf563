"""The stream of measurements between the training loop and the store: plain rows, no torch, no SQL."""

import math
from collections.abc import Sequence
from typing import NamedTuple

PHASES = ("forward_backward", "curvature", "inversion", "update")
"""Where the time of an iteration goes; the phases of a row add up to that iteration's seconds."""


class Iteration(NamedTuple):
    """One step of training; `loss` is the batch's, before the step, in nats per example."""

    iteration: int  # 1 for the first step
    epoch: float  # examples drawn after this step / size of the training set
    loss: float
    seconds: float  # training clock since the start of the run, after this step
    cpu_seconds: float  # CPU seconds of the process on the same clock
    forward_backward: float  # seconds of this step, by phase
    curvature: float
    inversion: float
    update: float


class Evaluation(NamedTuple):
    """Loss over whole (or capped) training and test sets, in nats per example, with the clock stopped."""

    iteration: int  # steps taken before it; 0 is the initial network
    epoch: float
    seconds: float
    cpu_seconds: float
    train_loss: float
    test_loss: float


class FisherError(NamedTuple):
    """Relative Frobenius error ‖F − F̂‖/‖F‖ of an approximation F̂ of a layer's block F; NaN where F is zero.

    F̂ is the optimizer's own, as it stands; or it was fitted to a batch that is drawn for the measurement, the same
    one for every approximation and every optimizer.
    """

    iteration: int
    layer: str  # the module's name in the network
    approximation: str  # its name in the library
    own: bool  # the optimizer's own running F̂
    rank: int | None  # Kronecker terms of F̂; None where it is no such sum
    in_batch: float  # F of the batch that F̂ was last fitted to
    held_out: float  # F of fresh test examples at the present weights
    best_in_batch: float  # the smallest error that any `rank` Kronecker terms reach in batch
    best_held_out: float  # … and held out
    spectrum: float = math.nan  # ‖σ(F) − σ(F̂)‖/‖σ(F)‖ of the sorted spectra, in batch, of fitted F̂ at the end alone
    efficiency: float = math.nan  # share of the exact natural gradient's decrease that the own F̂'s attains, held out


class InverseRank(NamedTuple):
    """Directions that a layer's damped inverse keeps of its inputs and outputs; a dense one keeps all of them."""

    iteration: int
    layer: str
    inputs: int
    outputs: int
    width_in: int  # all directions, of the bias too
    width_out: int
    bound: float  # of the relative error against the dense inverse, in the norm of the damped F̂; 0 for a dense one


class Compressed(NamedTuple):
    """A trained network made smaller, and trained on for so many iterations; losses as of an evaluation."""

    ratio: float  # share of the weights that was to be left
    iteration: int  # of the training since; 0 right after the compression
    parameters: int  # numbers that are left of the whole network, biases included
    train_loss: float
    test_loss: float


class Records(NamedTuple):
    """What a worker sends at a time."""

    iterations: list[Iteration]
    evaluations: list[Evaluation]
    fisher_errors: list[FisherError]
    inverse_ranks: Sequence[InverseRank] = ()
    compressed: Sequence[Compressed] = ()
