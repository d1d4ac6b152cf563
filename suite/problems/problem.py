"""A loaded problem: training and test set, likelihood, and the network that every optimizer starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.problems.split import Split

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from suite.problems.data.images import Images
    from suite.problems.networks import Network
    from suite.problems.spec import ProblemSpec

_CHUNK = 4096  # examples converted to floats at a time


@dataclass(frozen=True, eq=False)
class Problem:
    """What is trained on what.

    Args:
        name: as reports show it: `curves-synthetic` where the original data are not at hand.
        train: the training set.
        test: the test set.
        likelihood: "bernoulli", "gaussian" or "categorical".
        batch_size: examples of a step.
        pixels: outputs of the network per example.
        floor: the entropy of the training targets in nats per example, below which no Bernoulli model can go; None
            where there is none.
        test_floor: that of the test targets.
        architecture: what builds the network.
        output_mean: (pixels,), the mean of the training targets (class frequencies for labels).

    """

    name: str
    train: Split
    test: Split
    likelihood: str
    batch_size: int
    pixels: int
    floor: float | None
    test_floor: float | None
    architecture: Network
    output_mean: Tensor

    def network(self, seed: int) -> nn.Module:
        """A network on the CPU whose initial weights are a pure function of `seed`."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):  # torch's own initialisation must not move the global stream
            return self.architecture.build(self.train.shape, self.pixels, self.output_mean, self.likelihood, generator)

    def to(self, device: torch.device) -> Problem:
        """The same problem with its examples on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


def make_problem(spec: ProblemSpec, images: Images) -> Problem:
    """The problem that `spec` poses on `images`.

    Raises:
        SuiteError: the likelihood is categorical and the images have no labels.

    """
    import torch

    from suite.errors import SuiteError

    classify = spec.likelihood == "categorical"
    if classify and images.train_labels is None:
        raise SuiteError(f"data set {spec.data!r} has no labels: choose the likelihood bernoulli or gaussian")
    count = min(spec.train_examples or len(images.train), len(images.train))
    shape = spec.network.input_shape(images.train.shape[1:])
    train_values, test_values = images.train[:count], images.test

    def split(values: NDArray[Any], labels: NDArray[np.int64] | None) -> Split:
        tensor = torch.from_numpy(values.reshape(len(values), -1))
        kept = None if not classify or labels is None else torch.from_numpy(labels.astype(np.int64))
        return Split(tensor, images.scale, shape, kept)

    train_labels = None if images.train_labels is None else images.train_labels[:count]
    train, test = split(train_values, train_labels), split(test_values, images.test_labels)
    if classify and train_labels is not None:
        pixels = int(train_labels.max()) + 1
        output_mean = np.bincount(train_labels, minlength=pixels) / count
    else:
        pixels = train.values.shape[1]
        output_mean = _mean(train.values.numpy()) * images.scale
    bernoulli = spec.likelihood == "bernoulli"
    return Problem(
        name=images.name,
        train=train,
        test=test,
        likelihood=spec.likelihood,
        batch_size=spec.batch_size,
        pixels=pixels,
        floor=entropy(train.values.numpy(), images.scale) if bernoulli else None,
        test_floor=entropy(test.values.numpy(), images.scale) if bernoulli else None,
        architecture=spec.network,
        output_mean=torch.from_numpy(output_mean).to(torch.float32),
    )


def entropy(values: NDArray[Any], scale: float) -> float:
    """Σ over pixels of −t log t − (1 − t) log(1 − t), t = values · scale in [0, 1], its mean over examples, in nats.

    The smallest Bernoulli negative log-likelihood that any model reaches on these targets.

    Args:
        values: (n, pixels) uint8.
        scale: what a stored unit is worth.

    Raises:
        ValueError: a target lies outside [0, 1].

    """
    counts = np.bincount(values.ravel(), minlength=256) if values.dtype == np.uint8 else None
    if counts is None or counts[np.arange(len(counts)) * scale > 1 + 1e-9].any():
        raise ValueError("Bernoulli targets must be stored as uint8 and lie in [0, 1]")
    t = np.clip(np.arange(len(counts)) * scale, 0, 1)
    inside = (t > 0) & (t < 1)
    t, weights = t[inside], counts[inside]
    return float(-(weights * (t * np.log(t) + (1 - t) * np.log1p(-t))).sum() / len(values))


def _mean(values: NDArray[Any]) -> NDArray[np.float64]:
    total = np.zeros(values.shape[1])
    for start in range(0, len(values), _CHUNK):
        total += values[start : start + _CHUNK].sum(0, dtype=np.float64)
    return total / len(values)
