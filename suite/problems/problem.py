"""A loaded problem: training and test set, likelihood, and the network that every optimizer starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from suite.problems.data import dataset
from suite.problems.split import Split

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from suite.problems.data.folders import Folders
    from suite.problems.data.images import Images
    from suite.problems.networks import Network
    from suite.problems.spec import ProblemSpec

_CHUNK = 4096  # examples at a time where stored numbers are widened


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
            for other likelihoods.
        test_floor: that of the test targets.
        architecture: what builds the network.
        output_mean: (pixels,), the mean of the training targets; class frequencies where they are labels.

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
        """A network on the CPU whose initial weights are a pure function of `seed`.

        Raises:
            SuiteError: the network does not fit the images.

        """
        import torch

        generator = torch.Generator().manual_seed(seed)
        return self.architecture.build(self.train.shape, self.pixels, self.output_mean, self.likelihood, generator)

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.network(seed=0).parameters())

    def floors(self, examples: int | None) -> tuple[float | None, float | None]:
        """The entropy floors of the first `examples` training and test targets (all if None), in nats per example.

        What an evaluation that is capped at so many examples has to be held against.
        """
        if self.likelihood != "bernoulli" or examples is None:
            return self.floor, self.test_floor
        train, test = (entropy(split.values[:examples].cpu().numpy(), split.scale) for split in (self.train, self.test))
        return train, test

    def to(self, device: torch.device) -> Problem:
        """The same problem with its examples on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


def load_problem(spec: ProblemSpec, folders: Folders) -> Problem:
    """Read or make the data, and pose the problem.

    Args:
        spec: as a specification declares it.
        folders: where data are looked for.

    Raises:
        DataMissingError: the data are neither at hand nor to be had.
        SuiteError: a file of the user is not what it should be.

    """
    return make_problem(spec, dataset(spec.data).load(folders))


def make_problem(spec: ProblemSpec, images: Images) -> Problem:
    """The problem that `spec` poses on `images`; mean and floors are those of the examples in use."""
    import torch

    count = spec.train_examples or len(images.train)
    shape = spec.network.input_shape(images.train.shape[1:])
    train = _split(images.train[:count], images.scale, shape)
    test = _split(images.test, images.scale, shape)
    train_floor = test_floor = None
    if spec.likelihood == "categorical":
        train_labels, test_labels = torch.from_numpy(images.train_labels)[:count], torch.from_numpy(images.test_labels)
        train, test = replace(train, labels=train_labels), replace(test, labels=test_labels)
        mean = torch.bincount(train_labels, minlength=dataset(spec.data).INFO.classes or 0) / count
    else:
        mean = torch.from_numpy(mean_example(train.values.numpy(), images.scale)).float()
    if spec.likelihood == "bernoulli":
        train_floor, test_floor = (entropy(split.values.numpy(), images.scale) for split in (train, test))
    return Problem(
        name=images.name,
        train=train,
        test=test,
        likelihood=spec.likelihood,
        batch_size=spec.batch_size,
        pixels=len(mean),
        floor=train_floor,
        test_floor=test_floor,
        architecture=spec.network,
        output_mean=mean,
    )


def _split(images: NDArray[Any], scale: float, shape: tuple[int, ...]) -> Split:
    import torch

    return Split(torch.from_numpy(images.reshape(len(images), -1)), scale, shape)


def mean_example(values: NDArray[Any], scale: float) -> NDArray[Any]:
    """(pixels,) float64: the mean of values · scale over examples, for values (n, pixels)."""
    import numpy as np

    total = np.zeros(values.shape[1])
    for start in range(0, len(values), _CHUNK):
        total += values[start : start + _CHUNK].sum(0, dtype=np.float64)
    return total * scale / len(values)


def entropy(values: NDArray[Any], scale: float) -> float:
    """Σ over pixels of −t log t − (1 − t) log(1 − t), t = values · scale, its mean over examples, in nats.

    The smallest Bernoulli negative log-likelihood that any model reaches on these targets.

    Args:
        values: (n, pixels), uint8 or float16.
        scale: what a stored unit is worth.

    Raises:
        ValueError: a target lies outside [0, 1].

    """
    import numpy as np

    codes = values.view(np.dtype(f"u{values.itemsize}"))  # few numbers can be stored: count each
    counts = np.zeros(256**values.itemsize, dtype=np.int64)
    for start in range(0, len(codes), _CHUNK):
        counts += np.bincount(codes[start : start + _CHUNK].ravel(), minlength=len(counts))
    (present,) = counts.nonzero()
    t = present.astype(codes.dtype).view(values.dtype).astype(np.float64) * scale
    if not ((t >= 0) & (t <= 1)).all():
        raise ValueError(f"Bernoulli targets must lie in [0, 1]; these range from {t.min()} to {t.max()}")
    inside = (t > 0) & (t < 1)
    t, weights = t[inside], counts[present][inside]
    return float(-(weights * (t * np.log(t) + (1 - t) * np.log1p(-t))).sum() / len(values))
