"""The options of the methods of compression: the fields of their classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kfsvd.options.choices import Guard
from kfsvd.options.declare import Option, check_fields

_Damping = Annotated[float, Option("λ in units of the mean eigenvalue of F̂", gt=0)]


@dataclass(frozen=True)
class Nothing:
    """No options: what looks at no curvature."""


@dataclass(frozen=True)
class Damped:
    """The damping alone.

    Args:
        damping: λ in units of the mean eigenvalue of F̂.

    """

    damping: _Damping = 1e-4

    def __post_init__(self) -> None:
        """Refuse a field that is out of range."""
        check_fields(self)


@dataclass(frozen=True)
class OneProduct(Damped):
    """An F̂ that is one Kronecker product.

    Args:
        damping: λ in units of the mean eigenvalue of F̂.
        approximation: a name in `kfsvd.APPROXIMATIONS`.

    """

    approximation: Annotated[str, Option("F̂", products=1)] = "kpsvd"


@dataclass(frozen=True)
class TwoProducts(Damped):
    """An F̂ that is a sum of one or two Kronecker products.

    Args:
        damping: λ in units of the mean eigenvalue of F̂.
        approximation: a name in `kfsvd.APPROXIMATIONS`.
        guard: what is done if a sum of two products is not positive definite.

    """

    approximation: Annotated[str, Option("F̂", products=2)] = "kpsvd"
    guard: Annotated[Guard, Option("what is done where a sum of two products is not positive definite")] = "floor"
