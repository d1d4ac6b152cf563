"""The options of the optimizers that look at gradients alone."""

from __future__ import annotations

from typing import Annotated, TypedDict

from kfsvd.options.choices import Graft, Scale, Schedule
from kfsvd.options.declare import Option


class MatrixOptions(TypedDict, total=False):
    """The options that all matrix optimizers share."""

    lr: Annotated[float, Option("step size", default=1e-3, ge=0, essential=True)]
    weight_decay: Annotated[float, Option("decoupled weight decay", default=0.0, ge=0)]
    fallback_lr: Annotated[float, Option("AdamW's step size on what is no matrix", default=1e-3, ge=0)]


class ShampooOptions(MatrixOptions, total=False):
    """Those of Shampoo and its square."""

    momentum: Annotated[float, Option("heavy ball on the preconditioned step", default=0.9, ge=0, lt=1)]
    damping: Annotated[
        float,
        Option("ε or λ, added to the moments, in squared units of a gradient", default=1e-4, gt=0, essential=True),
    ]
    decay: Annotated[float, Option("weight of the past in the moments; 1 for sums", default=1.0, ge=0, le=1)]
    inverse_every: Annotated[
        Schedule,
        Option("steps between new roots, or a schedule such as 10, 100 from 500", default="1, 10 from 50"),
    ]
    step_rule: Annotated[Graft, Option("a length that the step is given (grafting)", default="none")]


class SWANOptions(MatrixOptions, total=False):
    """SWAN's."""

    whitening_steps: Annotated[
        int, Option("of the Newton-Schulz iteration; directions far below the largest need more", default=10, ge=1)
    ]


class SOAPOptions(MatrixOptions, total=False):
    """SOAP's."""

    beta1: Annotated[float, Option("decay of the gradient's running mean", default=0.95, ge=0, lt=1)]
    beta2: Annotated[float, Option("decay of the squared gradient's running mean", default=0.95, ge=0, lt=1)]
    decay: Annotated[float | None, Option("decay of the moments; beta2 if not given", default=None, ge=0, lt=1)]
    eps: Annotated[float, Option("added to the denominator", default=1e-8, gt=0)]
    refresh_every: Annotated[int, Option("steps between new bases", default=10, ge=1)]


class MuonOptions(MatrixOptions, total=False):
    """Muon's."""

    momentum: Annotated[float, Option("decay of the gradient's running mean", default=0.95, ge=0, lt=1)]
    nesterov: Annotated[bool, Option("whether the gradient is looked ahead with", default=True)]
    iterations: Annotated[int, Option("Newton-Schulz steps", default=5, ge=1, le=99)]
    scale: Annotated[
        Scale, Option("of a step by its shape: √max(1, rows/columns), or as long as Adam's", default="original")
    ]
    hidden_only: Annotated[bool, Option("whether AdamW takes the first and last layer's weight too", default=False)]


SHAMPOO: ShampooOptions = {"lr": 0.1}
"""The default that differs."""
SHAMPOO_SQUARED: ShampooOptions = {"decay": 0.95}
"""The default that differs."""
SOAP: MatrixOptions = {"lr": 3e-3}
"""The default that differs."""
MUON: MatrixOptions = {"lr": 0.02}
"""The default that differs."""
