"""kfsvd-bench: a declarative benchmark of optimizers; specs in, measured leaderboards out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from suite.store.frames import Frames

__all__ = ["load"]


def load(
    db: str | Path = "sqlite:///kfsvd-bench.sqlite", *, spec: str | Path | None = None, attempts: bool = False
) -> Frames:
    """What a store holds as tidy pandas data frames: `runs`, `iterations`, `evaluations`, and more.

    A row tells its experiment, data set, optimizer and seed, and the version of kfsvd's sources that it was measured
    with: group by `sources` where a store holds several. `runs` has the options as `options.lr` and so on, and
    `setting`, the same for all seeds of one optimizer, problem and budget.

    Args:
        db: the store: a SQLite file, or a URL as for `--db`.
        spec: only the cells of this specification, trials of its tuning included; all that there are if not given.
        attempts: all runs, failed and interrupted ones too; else the latest with a result of each cell and version of
            kfsvd's sources.

    Returns:
        One data frame for each table; losses are in nats per example, seconds those of the training clock.

    Raises:
        SuiteError: pandas or PyArrow is not installed, or the store or the spec cannot be used.

    """
    from suite.results import load

    return load(db, spec, attempts=attempts)
