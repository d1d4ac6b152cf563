"""How long a cell may train, and the seeds that it may start from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from suite.model import Model

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What NumPy, torch and SQLite all take."""


class Budget(Model):
    """How long a cell may train; the first bound that is reached ends it."""

    epochs: float | None = Field(default=None, gt=0, description="passes over the training set")
    iterations: int | None = Field(default=None, ge=1, description="steps of the optimizer")
    seconds: float | None = Field(default=None, gt=0, description="seconds of the training clock")
    diverged_above: float = Field(
        default=10.0, gt=1, description="a loss beyond this multiple of the first ends a cell as diverged"
    )

    @model_validator(mode="after")
    def _bounded(self) -> Budget:
        if self.epochs is None and self.iterations is None and self.seconds is None:
            raise ValueError("needs at least one of epochs, iterations and seconds")
        return self
