"""KFAC with a coarse correction across layers (Koroko et al. 2023, arXiv 2303.18083); no library has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Unpack, cast

import torch

from kfsvd.approximations import kfac
from kfsvd.curvature.kronecker_sum import KroneckerSum
from kfsvd.inverse.damped import DenseDirection
from kfsvd.linalg.eigh import symmetric_eigh
from kfsvd.network.samples import merged
from kfsvd.optimizers.checkpoint import plain, restored
from kfsvd.optimizers.coarse import coarse_correction, fisher_product
from kfsvd.optimizers.natural_gradient import NaturalGradient
from kfsvd.options.natural_gradient import Options, TwoLevelOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from kfsvd.curvature.base import Curvature
    from kfsvd.inverse.damped import Direction
    from kfsvd.network.samples import LayerSamples
    from kfsvd.optimizers.layer import PreconditionedLayer
    from kfsvd.options.choices import Coarse


_SEVERAL = ("spectral", "krylov")
"""Coarse spaces that may have more than one vector for each layer."""
POOLED = 4
"""Curvature batches that F is made of: the newest, and those before it."""


@dataclass(frozen=True)
class Block(kfac.KFAC):
    """KFAC's product, under the method's own name in checkpoints."""

    name = "two_level_kfac"


def check_coarse(coarse: Coarse, vectors: int) -> None:
    """Raise a ValueError if a coarse space has fewer vectors of a layer than are asked for.

    Args:
        coarse: the coarse space.
        vectors: of a layer.

    """
    if vectors > 1 and coarse not in _SEVERAL:
        raise ValueError(
            f"coarse_vectors must be 1 unless coarse is {' or '.join(_SEVERAL)}; got {vectors} with coarse={coarse!r}"
        )


class TwoLevelKFAC(NaturalGradient):
    """Δ = y + R₀ᵀ(R₀(F + λI)R₀ᵀ)⁻¹R₀ r, y = KFAC's step, r = ∇h − (F + λI)y, F with its off-diagonal blocks.

    A coarse correction across layers (Koroko et al. 2023). F is that of the last four curvature batches, with weights
    ∝ `decay`^age. Of the coarse space every layer has `coarse_vectors`:

    `nicolaides`  ones, on all of the layer's weights
    `residual`    the layer's part of r
    `spectral`    eigenvectors of the layer's A⊗G of the largest eigenvalues: where F has its mass
    `krylov`      the layer's parts of y, My, M²y, …, M = F̃⁻¹(F + λI), F̃ KFAC's damped matrix

    The KL clip takes each layer's part of Δᵀ(F + λI)Δ in the place of ∇hᵀΔ, in absolute value. Its authors conclude
    that the method hardly improves on KFAC. F is not quite what F̃ is averaged over, so that Δ is no symmetric map of
    ∇h, and heavy ball bears the complex eigenvalues of its product with the curvature badly. With F of the newest batch
    alone that shows: on digits, after 250 steps, 27–30 nats with "nicolaides" and 20–21 with "spectral" where KFAC has
    18; with four batches 18–19 with either, and no better with forty.

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        options: those of `NaturalGradient`, and `coarse`, the coarse space, and `coarse_vectors` of a layer; more than
            one for "spectral" and "krylov" alone.

    Raises:
        ValueError: as `NaturalGradient`, no such coarse space, or a number of vectors that it does not have.
        TypeError: as `NaturalGradient`.

    """

    declares: ClassVar[type[Any]] = TwoLevelOptions

    def __init__(self, model: nn.Module, likelihood: str, **options: Unpack[TwoLevelOptions]) -> None:
        super().__init__(model, likelihood, approximation=Block(), **cast("Options", options))
        self.coarse: Coarse = self.options["coarse"]
        self.coarse_vectors: int = self.options["coarse_vectors"]
        check_coarse(self.coarse, self.coarse_vectors)
        self._window: list[Mapping[str, LayerSamples]] = []  # newest last
        self._batch: Mapping[str, LayerSamples] = {}
        self._basis: dict[str, tuple[Tensor, ...]] = {}

    def state_dict(self) -> dict[str, Any]:
        """As `NaturalGradient`'s, with the last curvature batches and the spectral coarse vectors."""
        state = super().state_dict()
        window = [{name: plain(samples) for name, samples in batch.items()} for batch in self._window]
        state["natural_gradient"]["coarse"] = {
            "window": window,
            "basis": {name: list(own) for name, own in self._basis.items()},
        }
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: the state is of another kind of optimizer, or of other layers.

        """
        own = state_dict.get("natural_gradient", {})
        if own.get("approximation") == self.approximation.name and "window" not in own["coarse"]:
            raise ValueError("the state is one of an earlier version, without the last curvature batches")
        super().load_state_dict(state_dict)
        coarse = restored(state_dict["natural_gradient"]["coarse"], self._device_generator.device)
        self._window, self._basis = coarse["window"], coarse["basis"]
        self._batch = self._pooled()

    def _refresh_statistics(self) -> Mapping[str, LayerSamples]:
        taken = super()._refresh_statistics()
        alike = [batch for batch in self._window if _shapes(batch) == _shapes(taken)]
        self._window = [*alike, taken][-POOLED:] if self.decay else [taken]
        self._batch = self._pooled()
        return taken

    def _pooled(self) -> dict[str, LayerSamples]:
        """Every layer's samples of the window, with weights ∝ decay^age."""
        if not self._window:
            return {}
        weights = [self.decay**age for age in reversed(range(len(self._window)))]
        shares = [weight / sum(weights) for weight in weights]
        return {name: merged([batch[name] for batch in self._window], shares) for name in self._window[-1]}

    def _refresh_inverses(self) -> None:
        super()._refresh_inverses()
        if self.coarse == "spectral":
            curvatures = self.approximations()
            self._basis = {name: leading_vectors(c, self.coarse_vectors) for name, c in curvatures.items()}

    def _directions(self, layers: Sequence[PreconditionedLayer], gradients: Sequence[Tensor]) -> list[Direction]:
        fine = super()._directions(layers, gradients)
        names = {id(layer): name for name, layer in self._layers.items()}
        coupled = [k for k, layer in enumerate(layers) if names[id(layer)] in self._batch]
        if not coupled:
            return fine
        steps = [fine[k].matrix() for k in coupled]
        samples = [self._batch[names[id(layers[k])]] for k in coupled]
        damping = self._inverse_damping
        products = fisher_product(samples, steps, damping)
        residual = [gradients[k] - product for k, product in zip(coupled, products, strict=True)]
        basis = self._coarse_basis([layers[k] for k in coupled], samples, steps, products, residual)
        corrections = coarse_correction(samples, basis, residual, damping)
        corrected = [step + correction for step, correction in zip(steps, corrections, strict=True)]
        # ∇h ↦ Δ is no longer symmetric, so that ∇hᵀΔ says little of the size of Δ: what is clipped is Δᵀ(F + λI)Δ
        for k, step, image in zip(coupled, corrected, fisher_product(samples, corrected, damping), strict=True):
            fine[k] = DenseDirection(image, step)
        return fine

    def _coarse_basis(
        self,
        layers: Sequence[PreconditionedLayer],
        samples: Sequence[LayerSamples],
        steps: Sequence[Tensor],
        products: Sequence[Tensor],
        residual: Sequence[Tensor],
    ) -> Sequence[Sequence[Tensor]]:
        """The coarse vectors of every layer; `products` are (F + λI) of `steps`."""
        if self.coarse == "nicolaides":
            return [[torch.ones_like(step)] for step in steps]
        if self.coarse == "residual":
            return [[part] for part in residual]
        if self.coarse == "spectral":
            names = {id(layer): name for name, layer in self._layers.items()}
            return [self._basis[names[id(layer)]] for layer in layers]
        powers, images = [list(steps)], list(products)
        for _ in range(self.coarse_vectors - 1):
            powers.append([direction.matrix() for direction in super()._directions(layers, images)])
            images = fisher_product(samples, powers[-1], self._inverse_damping)
        return list(zip(*powers, strict=True))


def _shapes(batch: Mapping[str, LayerSamples]) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Of an example's samples, by layer: only batches that agree in them can be joined."""
    return {name: (own.activations.shape[1:], own.gradients.shape[1:]) for name, own in batch.items()}


def leading_vectors(curvature: Curvature, count: int) -> tuple[Tensor, ...]:
    """The eigenvectors of a Kronecker product A⊗B with the `count` largest eigenvalues, as matrices v uᵀ.

    Args:
        curvature: the product, of one term.
        count: how many; all where there are fewer.

    """
    assert isinstance(curvature, KroneckerSum)
    ((a, b),) = curvature.terms
    (values_a, vectors_a), (values_b, vectors_b) = symmetric_eigh(a), symmetric_eigh(b)
    products = torch.outer(values_b, values_a)
    chosen = products.flatten().topk(min(count, products.numel())).indices
    rows, columns = chosen // len(values_a), chosen % len(values_a)
    return tuple(torch.einsum("ok,ik->koi", vectors_b[:, rows], vectors_a[:, columns]))
