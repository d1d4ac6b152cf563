"""What both solvers of the rearranged Fisher block have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor


class Pair(NamedTuple):
    """A singular triple (σ, u, v) of Z; u and v in the coordinates of the rearrangement that it came from."""

    sigma: Tensor  # () float64, in the samples' own scale
    left: Tensor
    right: Tensor


class Rearrangement(ABC):
    """Z(F) of a layer's samples, minus what has been taken from it.

    Only symmetric factors are sought. With one position they lose nothing: every singular vector of σ > 0 is a
    symmetric matrix then. With several, Z maps symmetric matrices to symmetric and skew ones to skew ones, and a
    product of two skew matrices could take part in the best sum of two; it is left out, since it has no damped inverse
    by the rules of `kfsvd.inverse.damped`, and the best possible errors are those of symmetric factors.
    """

    @abstractmethod
    def leading(self, rank: int = 1) -> list[Pair]:
        """The `rank` leading triples; zeros where there are no more. The first is positive semidefinite if one is."""

    @abstractmethod
    def bidiagonalised(self, rank: int) -> list[Pair]:
        """The same triples, jointly by Golub–Kahan–Lanczos bidiagonalisation."""

    @abstractmethod
    def without(self, pair: Pair) -> Self:
        """Z − σ u vᵀ."""

    @abstractmethod
    def without_kfac(self) -> Self:
        """Z − vec(A) vec(G)ᵀ, KFAC's product of the same samples."""

    @abstractmethod
    def factors(self, pair: Pair) -> tuple[Tensor, Tensor]:
        """√σ mat(u) and √σ mat(v), of equal norm, in the samples' dtype."""
