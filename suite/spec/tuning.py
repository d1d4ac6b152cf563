"""What `tuning:` of a spec may say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from suite.model import Model
from suite.spec.budget import Budget, Seed

if TYPE_CHECKING:
    from collections.abc import Mapping

Search = Literal["grid", "random", "tpe"]
Rule = Literal["final_loss", "seconds_to_target", "iterations_to_target"]

Value = bool | int | float | str | None


class Range(Model):
    """Numbers from `low` to `high`, alike likely on a logarithmic or a linear scale; whole ones where both ends are."""

    low: int | float
    high: int | float
    scale: Literal["log", "linear"] = "log"

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {self.low:g} and {self.high:g}")
        if self.scale == "log" and not self.low > 0:
            raise ValueError(f"a range from {self.low:g} needs scale: linear; a logarithmic one starts above 0")
        return self

    def at(self, share: float) -> int | float:
        """The number at a share of the way from low to high, to three significant digits."""
        if self.scale == "log":
            number = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            number = self.low + share * (self.high - self.low)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return round(number)
        return min(max(float(f"{number:.3g}"), self.low), self.high)

    def share(self, number: float) -> float:
        """Where a number lies, 0 at low and 1 at high."""
        if self.scale == "log":
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)


Axis = tuple[Value, ...] | Range
"""The values of an option that are tried, or the range that they are drawn from."""

Space = dict[str, Axis]


class TuningOutline(Model):
    """How settings are chosen: the same number of trials for every optimizer, each under the same budget."""

    search: Search = "grid"
    trials: int | None = Field(default=None, ge=1, description="of each optimizer on each data set")
    seeds: list[Seed] = Field(min_length=1, description="of the trials alone")
    budget: Budget
    budgets: dict[str, Budget] = Field(default_factory=dict, description="data set: a budget in the place of `budget`")
    rule: Rule = Field(default="final_loss", description="what the best trial is the least in, mean over seeds")
    targets: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="data set: training loss to be reached, for the rules that need one"
    )
    extend: bool = Field(
        default=False, description="whether a grid goes on until its best setting lies between others in every number"
    )
    spaces: dict[str, dict[str, Any]] = Field(min_length=1)

    @model_validator(mode="after")
    def _agrees(self) -> TuningOutline:
        if self.search != "grid" and self.trials is None:
            raise ValueError(f"a {self.search} search needs trials: how many of each optimizer")
        if self.search != "grid" and self.extend:
            raise ValueError("extend is for a grid; a range is widened by its low and high")
        if self.rule != "final_loss" and not self.targets:
            raise ValueError(f"the rule {self.rule} needs targets: a training loss for every data set")
        if self.rule == "final_loss" and self.targets:
            raise ValueError("targets are for the rules seconds_to_target and iterations_to_target")
        return self

    def budget_of(self, dataset: str) -> Budget:
        """How long a trial on that data set may train."""
        return self.budgets.get(dataset, self.budget)

    def size(self, space: Space) -> int:
        """How many settings of a space are tried, before a grid is extended."""
        return grid_size(space) if self.search == "grid" else self.trials or 0


@dataclass(frozen=True)
class Tuning:
    """The same once its spaces are read: optimizer → option → what is tried of it."""

    outline: TuningOutline
    spaces: Mapping[str, Space]

    def trials(self, optimizer: str) -> int:
        """How many settings of an optimizer are tried, before a grid is extended."""
        return self.outline.size(self.spaces[optimizer])


def grid_size(space: Space) -> int:
    """How many combinations a grid has."""
    return math.prod(len(axis) for axis in space.values() if isinstance(axis, tuple))
