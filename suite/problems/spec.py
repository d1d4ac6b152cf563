"""What a spec says of a data set: the data, the network, the likelihood and the batch size."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field, ValidationInfo, create_model, field_validator

from suite import plugins
from suite.errors import did_you_mean
from suite.model import Model
from suite.problems.data import DATASETS, dataset
from suite.problems.data import names as dataset_names
from suite.problems.networks import NETWORKS, AnyNetwork, network_kind

if TYPE_CHECKING:
    from torch import nn


Likelihood = Literal["bernoulli", "gaussian", "categorical"]


class ProblemSpec(Model):
    """A problem as a spec declares it."""

    data: str = Field(description="a name of `kfsvd-bench datasets list`")
    network: AnyNetwork = Field(description="kind and parameters of the network")
    likelihood: Likelihood = Field(description="what the outputs mean")
    batch_size: int = Field(ge=1, description="examples of a step")
    train_examples: int | None = Field(
        default=None, ge=1, description="only the first so many training examples; all if not given"
    )

    @field_validator("data")
    @classmethod
    def _known(cls, data: str) -> str:
        if not (data in DATASETS or plugins.is_known(plugins.DATASETS, data)):
            raise ValueError(f"unknown data set {data!r}{did_you_mean(data, dataset_names())}")
        return data

    @field_validator("likelihood")
    @classmethod
    def _suits(cls, likelihood: Likelihood, given: ValidationInfo) -> Likelihood:
        network, data = given.data.get("network"), given.data.get("data")
        if network is not None and network.reconstructs == (likelihood == "categorical"):
            task = "reproduces its inputs" if network.reconstructs else "predicts labels"
            choices = "bernoulli or gaussian" if network.reconstructs else "categorical"
            raise ValueError(f"the {network.kind} network {task}: must be {choices}, not {likelihood!r}")
        if data is None:
            return likelihood
        if likelihood == "categorical" and dataset(data).INFO.classes is None:
            raise ValueError(f"must not be 'categorical': the data set {data!r} has no labels")
        if likelihood == "bernoulli" and not dataset(data).INFO.unit_interval:
            raise ValueError(f"must not be 'bernoulli': the pixels of {data!r} are not between 0 and 1")
        return likelihood

    @field_validator("train_examples")
    @classmethod
    def _at_hand(cls, train_examples: int | None, given: ValidationInfo) -> int | None:
        data = given.data.get("data")
        if data is not None and train_examples is not None and train_examples > dataset(data).INFO.train:
            size = dataset(data).INFO.train
            raise ValueError(f"must be at most {size}, the size of {data!r}, not {train_examples}")
        return train_examples

    @property
    def sources(self) -> str | None:
        """What identifies code from outside that the problem runs, so that its results are told apart."""
        found = [] if self.data in DATASETS else [plugins.sources(plugins.DATASETS, self.data)]
        found += [] if self.network.kind in NETWORKS else [plugins.sources(plugins.NETWORKS, self.network.kind)]
        return " ".join(found) or None

    def skeleton(self) -> tuple[nn.Module, tuple[int, ...]]:
        """The network without weights (on torch's meta device), and the shape of an example; no data are needed.

        Raises:
            SuiteError: the network does not fit the images.

        """
        from collections import OrderedDict

        import torch
        from torch import nn

        info = dataset(self.data).INFO
        shape = self.network.input_shape(info.shape)
        outputs = info.classes if self.likelihood == "categorical" else math.prod(info.shape)
        assert outputs is not None, "a categorical likelihood needs labels"
        with torch.device("meta"):
            return nn.Sequential(OrderedDict(self.network.layers(shape, outputs))), shape

    @property
    def examples(self) -> int:
        """Of the training set."""
        return self.train_examples or dataset(self.data).INFO.train


class _WithForeignNetwork(ProblemSpec):
    """A problem whose network is not the suite's own; another process imports it again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.network.kind, self.model_dump())


@cache
def problem_with(kind: str) -> type[ProblemSpec]:
    """`ProblemSpec` with a network of a kind that is not the suite's own.

    Raises:
        PluginError: there is no such network.

    """
    fields: dict[str, Any] = {"network": (network_kind(kind), Field(description="kind and parameters of the network"))}
    made = create_model("ProblemSpec", __base__=_WithForeignNetwork, __module__=__name__, **fields)
    return cast("type[ProblemSpec]", made)


def _remade(kind: str, values: dict[str, Any]) -> ProblemSpec:
    return problem_with(kind).model_validate(values)
