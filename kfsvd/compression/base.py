"""What a method of compression is: a layer and its samples in, costs and weights or two factors out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch

from kfsvd.approximations import approximation as approximation_named

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.approximations import Approximation
    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import Structure


class Removal(ABC):
    """One layer that weights are to be taken out of."""

    @abstractmethod
    def costs(self, structure: Structure) -> Tensor:
        """What each unit costs to remove, all layers on one scale: (d_out, columns), (d_out,) or (columns,).

        Args:
            structure: what a unit is: an element, a row or a column of the weight as a matrix.

        """

    @abstractmethod
    def change(self, gone: Tensor) -> Tensor:
        """What is added to W, (d_out, d_in), so that some weights vanish.

        Args:
            gone: (d_out, d_in) of bool, the weights that vanish.

        """


@dataclass(frozen=True)
class Pruning(ABC):
    """A method of pruning; its options are its fields.

    A subclass is a frozen dataclass with a `name` and a `removal`; `kfsvd.compression.PRUNINGS` registers it.
    """

    name: ClassVar[str]
    """What `kfsvd.compression.prune` and a specification call it."""
    sampled: ClassVar[bool] = True
    """Whether it needs samples of the Fisher matrix."""

    @abstractmethod
    def removal(self, weights: Tensor, columns: int, samples: LayerSamples | None) -> Removal:
        """Costs and changes of one layer.

        Args:
            weights: W with its bias as the last column where that is trained, (d_out, d_in) in float32 or
                float64.
            columns: how many of the columns can be removed: all but the bias.
            samples: of the layer's Fisher block; None where the method needs none.

        """


class Factors(NamedTuple):
    """W_r = `left` @ `right`.

    Args:
        left: (d_out, r).
        right: (r, columns).

    """

    left: Tensor
    right: Tensor


@dataclass(frozen=True)
class LowRank(ABC):
    """A method that replaces a weight by two factors of low rank: min ‖L_outᵀ (W − W_r) L_in‖_F over rank r.

    With L_outᵀ W L_in = U S Vᵀ that is W_r = L_out⁻ᵀ U_r S_r V_rᵀ L_in⁻¹ (Eckart–Young). A subclass is a frozen
    dataclass with a `name` and `roots`, L_in and L_out; `kfsvd.compression.LOW_RANKS` registers it.
    """

    name: ClassVar[str]
    """What `kfsvd.compression.low_rank` and a specification call it."""
    sampled: ClassVar[bool] = True
    """Whether it needs samples of the Fisher matrix."""

    @abstractmethod
    def roots(self, weight: Tensor, samples: LayerSamples | None) -> tuple[Tensor | None, Tensor | None]:
        """L_in (columns, columns) and L_out (d_out, d_out), lower triangular; None for the identity.

        Args:
            weight: W without its bias, (d_out, columns) in float64.
            samples: of the layer's Fisher block; None where the method needs none.

        """

    def factors(self, weight: Tensor, samples: LayerSamples | None, rank: int) -> Factors:
        """The two factors of W_r, each with √S_r.

        Args:
            weight: W without its bias, (d_out, columns) in float64.
            samples: of the layer's Fisher block; None where the method needs none.
            rank: r.

        """
        inner, outer = self.roots(weight, samples)
        weighted = weight if outer is None else outer.mT @ weight
        weighted = weighted if inner is None else weighted @ inner
        u, s, vt = torch.linalg.svd(weighted, full_matrices=False)
        left, right = u[:, :rank] * s[:rank].sqrt(), s[:rank].sqrt().unsqueeze(1) * vt[:rank]
        if outer is not None:
            left = torch.linalg.solve_triangular(outer.mT, left, upper=True)
        if inner is not None:
            right = torch.linalg.solve_triangular(inner, right, upper=False, left=False)
        return Factors(left, right)


def kronecker(name: str) -> Approximation:
    """The approximation of that name, whose F̂ must be a sum of Kronecker products.

    Raises:
        ValueError: there is none, or its F̂ has another form.

    """
    found = approximation_named(name)
    if found.products is None:
        raise ValueError(f"approximation must give a sum of Kronecker products, which {name!r} does not")
    return found
