"""How long a cell may train, the seeds that it may start from, and how cells are scheduled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from suite.model import Model

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What NumPy, torch and SQLite all take."""


SlurmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,-]+$")]
"""A name that goes into a batch script, and can be nothing but a name there."""


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


class Slurm(Model):
    """What each cell asks of SLURM."""

    cluster: Literal["slurm", "local"] = Field(
        default="slurm", description="where jobs go; local: processes of this machine, to try it without SLURM"
    )
    partition: SlurmName | None = Field(default=None, description="the cluster's own default if not given")
    account: SlurmName | None = Field(default=None, description="whom the time is charged to")
    minutes: int = Field(default=60, ge=1, description="of a job; SLURM ends what takes longer")
    gpus: int = Field(default=0, ge=0, le=1, description="GPUs of a cell; none: on the CPU")
    cpus: int = Field(default=1, ge=1, description="cores, and threads, of a cell")
    memory_gb: float | None = Field(default=None, gt=0, description="the cluster's own default if not given")
    parallel: int = Field(default=64, ge=1, description="jobs at a time")
    max_retries: int = Field(default=3, ge=0, description="how often a cell is run again whose job was interrupted")


class Ray(Model):
    """What each cell asks of a Ray cluster."""

    cpus: int = Field(default=1, ge=1, description="threads of a cell, and its cores where it has no part of a GPU")
    max_retries: int = Field(default=3, ge=0, description="how often a cell is run again that was lost with its node")


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
        default=False,
        description="whether a cell that ran out of memory is run again once all others are done, alone; not on SLURM",
    )
    ray: Ray = Field(default=Ray(), description="what --executor ray asks for")
    slurm: Slurm = Field(default=Slurm(), description="what --executor slurm asks for")
