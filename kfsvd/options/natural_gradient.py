"""The options of the natural-gradient optimizers; those of an approximation are the fields of its own class."""

from __future__ import annotations

from typing import Annotated, TypedDict

from kfsvd.options.choices import Averaging, Blocks, Coarse, Inverse, Schedule, StepRule
from kfsvd.options.declare import Option
from kfsvd.options.objects import CurvatureBatch, Damping, KLClip, LearningRate, LowRank, Refresh


class Options(TypedDict, total=False):
    """The options that all natural-gradient optimizers share."""

    lr: Annotated[float | LearningRate | None, Option("η, the step size", default=None)]
    momentum: Annotated[
        float,
        Option("heavy-ball factor; the quadratic model finds its own unless it is 0", default=0.9, ge=0, lt=1),
    ]
    weight_decay: Annotated[float, Option("decoupled weight decay", default=0.0, ge=0)]
    damping: Annotated[float | Damping, Option("λ of F + λI", default=0.1)]
    inverse: Annotated[
        Inverse | LowRank,
        Option("of each factor, or of the few directions that stand out of the damping", default="dense"),
    ]
    refresh_every: Annotated[Schedule | Refresh, Option("iterations between curvature refreshes", default=10)]
    curvature_batch: Annotated[float | CurvatureBatch, Option("examples of a curvature batch", default=0.25)]
    averaging: Annotated[Averaging, Option("how the curvature is averaged over refreshes", default="factors")]
    decay: Annotated[
        float,
        Option("largest weight of the past in the running average; 0 keeps the newest batch", default=0.95, ge=0, lt=1),
    ]
    step_rule: Annotated[StepRule | KLClip, Option("how the step is scaled", default="kl_clip")]
    seed: Annotated[int, Option("of the curvature batches and sampled labels", default=0)]


class ExactOptions(Options, total=False):
    """Those of the exact natural gradient."""

    blocks: Annotated[Blocks, Option("the whole Fisher matrix, or its diagonal blocks", default="network")]


class TwoLevelOptions(Options, total=False):
    """Those of two-level KFAC."""

    coarse: Annotated[Coarse, Option("the coarse space", default="krylov")]
    coarse_vectors: Annotated[
        int, Option("of a layer in the coarse space; above 1 with spectral and krylov alone", default=1, ge=1)
    ]


EXACT: Options = {"curvature_batch": 1.0, "averaging": "samples", "decay": 0.0}
"""The defaults of the exact natural gradient where they differ."""

EVA: Options = {
    "damping": 0.03,
    "refresh_every": 1,
    "curvature_batch": CurvatureBatch(1.0, fisher="empirical"),
    "decay": 0.05,
}
"""Eva's, as published."""

KBFGS: Options = {
    "refresh_every": 1,
    "curvature_batch": CurvatureBatch(1.0, fisher="empirical"),
    "decay": 0.9,
}
"""Those of K-BFGS, as published."""
