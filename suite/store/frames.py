"""Tidy tables as pandas data frames and Parquet files; pandas is imported only when it is used."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame

    from suite.store.tidy import Tidy

_TYPES = {int: "Int64", float: "float64", bool: "boolean", str: "string", dt.datetime: "datetime64[us, UTC]"}
"""Of a column in a data frame; what is absent is <NA>, or NaN among floats."""


@dataclass(frozen=True, eq=False)
class Frames:
    """What a store holds, one observation a row; losses in nats per example, seconds of the training clock.

    Every table but `runs` has the columns experiment, sources, dataset, optimizer, compression, seed and run, and
    those of the store's table of its name.

    Attributes:
        runs: one row a run: what was run, with options as `options.lr` and so on, how it ended, and where it ran.
        iterations: every step: its batch's loss, the clock, and its seconds by phase.
        evaluations: losses over the training and test set.
        fisher_errors: relative errors ‖F − F̂‖/‖F‖ by layer.
        inverse_ranks: directions that low-rank inverses keep, by layer.
        compressions: losses of trained networks that were made smaller, by ratio, before and after fine-tuning.

    """

    runs: DataFrame
    iterations: DataFrame
    evaluations: DataFrame
    fisher_errors: DataFrame
    inverse_ranks: DataFrame
    compressions: DataFrame


def needed() -> None:
    """Make sure of pandas and PyArrow.

    Raises:
        SuiteError: one of them is not installed.

    """
    absent = [name for name in ("pandas", "pyarrow") if find_spec(name) is None]
    if absent:
        raise SuiteError(f"{' and '.join(absent)} not installed: pip install 'kfsvd-bench[frames]'")


def frame(table: Tidy) -> DataFrame:
    """A data frame with the types of the table's columns.

    Raises:
        SuiteError: pandas or PyArrow is not installed.

    """
    needed()
    import pandas as pd

    values: list[Any] = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    columns = {
        name: pd.Series(list(column), dtype=_TYPES[kind])
        if kind is not dt.datetime
        else pd.Series(pd.to_datetime(list(column), utc=True)).astype(_TYPES[kind])
        for (name, kind), column in zip(table.columns.items(), values, strict=True)
    }
    return pd.DataFrame(columns)


def write_parquet(table: Tidy, path: Path) -> Path:
    """A Parquet file with the types of the table's columns.

    Raises:
        SuiteError: pandas or PyArrow is not installed.

    """
    frame(table).to_parquet(path, index=False)
    return path
