"""How long a cell may train, the seeds that it may start from, and how cells are scheduled."""

from __future__ import annotations

from typing import Annotated, Literal

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


class Scheduling(Model):
    """How cells are run; no part of what they are, so a result stays one whatever is changed here."""

    timing: Literal["packed", "exclusive"] = Field(
        default="packed",
        description="a cell in every slot, which is recorded as contended; or one at a time on the whole machine",
    )
    slots_per_device: int = Field(
        default=1, ge=1, le=64, description="cells that share an accelerator, whose memory must hold them all"
    )
    wall_seconds: float | None = Field(
        default=None, gt=0, description="a cell that takes longer by the wall clock is ended; never if not given"
    )
    silent_seconds: float = Field(
        default=1800.0, gt=0, description="a worker that has sent nothing for so long is taken to hang, and ended"
    )
    retry_oom: bool = Field(
        default=False, description="whether a cell that ran out of memory is run again once all others are done, alone"
    )
