"""What runs the cells of a matrix: this machine's processes, or an engine that has machines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from suite.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.cell import Cell
    from suite.scheduling.site import Site, Summary, View
    from suite.spec.budget import Scheduling

Name = Literal["local", "ray", "slurm"]


class Executor(Protocol):
    """Runs cells; what they measure reaches the site's store by this process alone."""

    def __call__(self, cells: Sequence[Cell], site: Site, view: View) -> Summary:
        """Run every cell once, tell the view, and say how they ended."""


@dataclass(frozen=True)
class Choice:
    """An executor as the command line asks for it.

    Args:
        name: local, ray or slurm.
        address: of a Ray cluster; one on this machine if not given.
        shards: the folder in which SLURM's jobs store what they measure; beside the store if not given.

    Raises:
        SuiteError: an option is given that is of another executor.

    """

    name: Name = "local"
    address: str | None = None
    shards: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what would be ignored."""
        for option, value, owner in (("--address", self.address, "ray"), ("--shards", self.shards, "slurm")):
            if value is not None and self.name != owner:
                raise SuiteError(f"{option} is an option of --executor {owner}, not of {self.name}")

    def executor(self, db: str, rules: Scheduling) -> Executor:
        """The executor itself, for the store at a URL.

        Raises:
            SuiteError: the rules ask for what it does not do.

        """
        if self.name == "slurm":
            if rules.retry_oom:
                raise SuiteError(
                    "scheduling.retry_oom does not work with --executor slurm. "
                    "Remove it, and set scheduling.slurm.memory_gb instead."
                )
            from suite.scheduling import slurm

            return partial(slurm.run_cells, shards=self.shards or beside(db, "shards"), db=db)
        if self.name == "ray":
            from suite.scheduling import ray

            return partial(ray.run_cells, address=self.address)
        from suite.scheduling import host

        return host.run_cells


def beside(db: str, kind: Literal["shards", "logs"]) -> Path:
    """A folder that belongs to a store: results.sqlite → results.shards.

    Of a server's it is in the working folder, with eight digits of what its URL is without a password.
    """
    from suite.store.urls import identity, sqlite_file

    file = sqlite_file(db)
    return Path(f"kfsvd-bench-{identity(db)}.{kind}") if file is None else file.with_suffix(f".{kind}")
