"""What an optimizer of a spec is: typed options, and a lazy way to build the optimizer itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from suite.model import Model

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class Method(Model):
    """Options of one optimizer; every option is a scalar, so that a list in a spec is always a grid."""

    essential: ClassVar[tuple[str, ...]] = ("lr",)
    """Options without whose tuning a comparison says little of the method."""

    newer: ClassVar[tuple[str, ...]] = ("batch_size",)
    """Options that came later: at their defaults they are no part of what a cell is, so older results stay results."""

    method: str
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="examples of a step, if not the data set's",
    )

    @property
    def sources(self) -> str | None:
        """What identifies code from outside that the method runs, so that its results are told apart; None of ours."""
        return None

    def options(self) -> dict[str, Any]:
        """The options of the optimizer alone, without the method's name and the batch size."""
        return self.model_dump(exclude={"method", "batch_size"})

    def build(self, network: nn.Module, likelihood: str, seed: int) -> Optimizer:
        """The optimizer of `network`'s parameters; torch is imported here and not before."""
        raise TypeError(f"{type(self).__name__} is abstract")
