"""Options that few need, in small objects: `damping=0.1`, or `damping=Damping(0.1, rule="exact")`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from kfsvd.options.choices import DampingRule, FisherType, Guard, Schedule
from kfsvd.options.declare import Grouped, Option
from kfsvd.options.intervals import Interval


@dataclass(frozen=True)
class LearningRate(Grouped):
    """The step sizes of the method, and of what it leaves to Adam.

    Args:
        own: η; if None, 1 for the quadratic model, 1e-3 for the norms of Adam and SGD, and 0.3 else.
        fallback: Adam's step size on parameters outside supported layers.

    """

    own: Annotated[
        float | None,
        Option(
            "step size; if not given, 1 for quadratic_model, 1e-3 for the norms, 0.3 else",
            ge=0,
            flat="lr",
            essential=True,
        ),
    ] = None
    fallback: Annotated[
        float, Option("Adam's step size on all but linear layers and convolutions", ge=0, flat="fallback_lr")
    ] = 1e-3


@dataclass(frozen=True)
class Damping(Grouped):
    """λ of F + λI, and how it enters.

    Args:
        value: λ, in squared nats per squared unit of a parameter; the quadratic model adapts it.
        rule: "factored_pi", "factored" or "exact"; if None, the approximation's own default.
        pi: the constant π of the rule "factored".
        floor: the least λ that the quadratic model adapts to.
        guard: what is done if a sum of two products is not positive definite: "floor", "absolute" or "raise".

    """

    value: Annotated[
        float, Option("λ of F + λI, in squared nats per parameter", gt=0, flat="damping", essential=True)
    ] = 0.1
    rule: Annotated[
        DampingRule | None,
        Option("how λ enters; if not given, factored_pi, or exact where there are no factors", flat="damping_rule"),
    ] = None
    pi: Annotated[float, Option("the constant π of the rule factored", gt=0, flat="damping_pi")] = 1.0
    floor: Annotated[float, Option("least λ that the quadratic model adapts to", gt=0, flat="damping_floor")] = 0.01
    guard: Annotated[Guard, Option("what is done where a rank-2 sum is not positive definite", flat="guard")] = "floor"


@dataclass(frozen=True)
class LowRank(Grouped):
    """Inverses of low rank: a few directions of each factor, and the rest as isotropic; see `kfsvd.inverse.low_rank`.

    Args:
        tolerance: the bound of the inverse's relative error; if None, 5 for one product and 40 for two.

    """

    tag: ClassVar[str] = "low_rank"

    tolerance: Annotated[
        float | None,
        Option(
            "bound of a low-rank inverse's relative error; 5 if not given, for two terms 40",
            gt=0,
            flat="inverse_tolerance",
        ),
    ] = None


@dataclass(frozen=True)
class Refresh(Grouped):
    """When the curvature is renewed: a number of iterations, or a schedule such as "10, 100 from 500".

    Args:
        every: iterations between curvature refreshes.
        statistics: iterations between new curvature batches; `every` if None.
        inverse: iterations between new inverses; `every` if None.
        tolerance: a layer keeps its inverse while no tensor of F̂ has changed by more than this since, relative in its
            norm.

    """

    every: Annotated[
        Schedule,
        Option("iterations between curvature refreshes, or a schedule such as 10, 100 from 500", flat="refresh_every"),
    ] = 10
    statistics: Annotated[
        Schedule | None,
        Option("iterations between new curvature batches; refresh_every if not given", flat="statistics_every"),
    ] = None
    inverse: Annotated[
        Schedule | None, Option("iterations between new inverses; refresh_every if not given", flat="inverse_every")
    ] = None
    tolerance: Annotated[
        float,
        Option(
            "relative change of a layer's curvature up to which it keeps its inverse", ge=0, flat="refresh_tolerance"
        ),
    ] = 0.0

    @property
    def statistics_every(self) -> Interval:
        """When a new curvature batch is due."""
        return Interval.of(self.every if self.statistics is None else self.statistics)

    @property
    def inverse_every(self) -> Interval:
        """When new inverses are due."""
        return Interval.of(self.every if self.inverse is None else self.inverse)


@dataclass(frozen=True)
class CurvatureBatch(Grouped):
    """The examples and labels that F̂ is fitted to at a refresh.

    Args:
        examples: a share of the last batch up to 1, else a number.
        fisher: the labels: "monte_carlo", "exact" or "empirical"; see `kfsvd.capture`.
        labels: of an example, for "monte_carlo".

    """

    examples: Annotated[
        float,
        Option(
            "examples of a curvature batch: a share of the batch up to 1, else a number", gt=0, flat="curvature_batch"
        ),
    ] = 0.25
    fisher: Annotated[
        FisherType, Option("labels for the curvature: sampled, all of them, or the data's own", flat="fisher")
    ] = "monte_carlo"
    labels: Annotated[int, Option("sampled labels of an example", ge=1, flat="fisher_samples")] = 1

    def of(self, batch: int) -> int:
        """The number of examples that are drawn from a batch.

        Args:
            batch: the examples of that batch.

        """
        share = self.examples * batch if self.examples <= 1 else self.examples
        return min(batch, max(1, round(share)))


@dataclass(frozen=True)
class KLClip(Grouped):
    """The step rule that keeps a step's own KL divergence near a limit.

    Args:
        limit: c, in nats.

    """

    tag: ClassVar[str] = "kl_clip"

    limit: Annotated[float, Option("c of the KL clip, in nats", gt=0, flat="kl_clip")] = 0.1
