"""What a spec says of a data set: the data, the network, the likelihood and the batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from suite.model import Model
from suite.problems.data import load_images
from suite.problems.networks import AnyNetwork

if TYPE_CHECKING:
    from suite.problems.data.folders import Folders
    from suite.problems.problem import Problem


class ProblemSpec(Model):
    """A problem as a spec declares it."""

    data: str = Field(description="a name of `kfsvd-bench datasets list`")
    network: AnyNetwork = Field(description="kind and parameters of the network")
    likelihood: Literal["bernoulli", "gaussian", "categorical"] = Field(description="what the outputs mean")
    batch_size: int = Field(ge=1, description="examples of a step")
    train_examples: int | None = Field(
        default=None, ge=1, description="only the first so many training examples; all if not given"
    )

    def load(self, folders: Folders) -> Problem:
        """Read or make the data, and pose the problem.

        Raises:
            DataMissingError: the data are neither at hand nor to be had.
            SuiteError: the data do not suit the likelihood.

        """
        from suite.problems.problem import make_problem

        return make_problem(self, load_images(self.data, folders))
