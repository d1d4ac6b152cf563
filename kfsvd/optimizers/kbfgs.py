"""K-BFGS: Kronecker-factored BFGS (Goldfarb, Ren & Bahamou 2020, arXiv 2006.08877); no packaged library has it.

A layer's inverse is H_a ⊗ H_g, and both factors learn by BFGS updates from vectors alone, nothing is inverted:

    H_a   from s = H_a ā, y = (A + √λ I)s      ā   mean of the inputs;  A   running mean of a aᵀ
    H_g   from s = Δh̄, y = Δḡ                  how the means of pre-activations and of their gradients have changed by
                                                the step, on the same examples; running means, of weight .1 on the new

    H ← (I − ρ s yᵀ) H (I − ρ y sᵀ) + ρ s sᵀ,   ρ = 1/sᵀy:  H y = s

The second pair is damped twice: s ← θs + (1 − θ)H_g y, so that sᵀy ≥ .2 yᵀH_g y (Powell), then y ← y + √λ s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Unpack

import torch

from kfsvd.approximations import foof
from kfsvd.curvature.kronecker_sum import KroneckerSum
from kfsvd.inverse.damped import FactoredInverse
from kfsvd.linalg.cholesky import cholesky
from kfsvd.network.layers import as_matrix, trained_parameters
from kfsvd.optimizers.checkpoint import restored
from kfsvd.optimizers.natural_gradient import NaturalGradient
from kfsvd.options.natural_gradient import KBFGS as PUBLISHED
from kfsvd.options.natural_gradient import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from kfsvd.curvature.base import Curvature
    from kfsvd.network.samples import LayerSamples
    from kfsvd.optimizers.layer import PreconditionedLayer
    from kfsvd.optimizers.observer import Call
    from kfsvd.options.objects import CurvatureBatch

_MEMORY = 0.9  # weight of the past in the pairs of H_g
_POWELL = 0.2  # least sᵀy/yᵀHy
_NEGLIGIBLE = 1e-4  # pairs with sᵀy below this share of ‖s‖² times the gradient are left out


@dataclass(frozen=True)
class Inputs(foof.FOOF):
    """The running mean of a aᵀ, under the method's own name in checkpoints."""

    name = "kbfgs"


def check_fisher(batch: CurvatureBatch) -> None:
    """Raise a ValueError unless the labels of a curvature batch are the data's own.

    Args:
        batch: the option `curvature_batch`.

    """
    if batch.fisher != "empirical":
        raise ValueError(f"kbfgs takes fisher='empirical', the training loss itself; got {batch.fisher!r}")


class Means(NamedTuple):
    """Of a layer on some examples; over positions too, the gradients' sum over them."""

    inputs: Tensor  # ā (d_in,)
    outputs: Tensor  # h̄ (d_out,), of the pre-activations
    gradients: Tensor  # ḡ (d_out,), by the pre-activations

    @classmethod
    def of(cls, layer: PreconditionedLayer, samples: LayerSamples) -> Means:
        """At the layer's present weights, that the samples were taken at."""
        w = samples.normalised_weights.to(samples.activations.dtype)
        a, g = samples.by_position
        inputs = w @ a.mean(1)
        weight = as_matrix(layer.module, trained_parameters(layer.module))
        return cls(inputs, weight @ inputs, w @ g.sum(1))


class KBFGS(NaturalGradient):
    """ΔW = H_g ∇W H_a, both factors learned by BFGS: H_a ≈ (A + √λ I)⁻¹, H_g ≈ (G + √λ I)⁻¹ (Goldfarb et al. 2020).

    G is the Hessian matrix of the loss by a layer's pre-activations, positive by damping. Every step takes two more
    passes over the batch, before and after. H_g starts at I/√λ, where its authors take I, so that λ → ∞ is gradient
    descent.

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        options: those of `NaturalGradient`, with other defaults: `refresh_every` 1, `curvature_batch` 1 (the whole
            batch), `fisher` "empirical" (the only one: changes are of the training loss), `decay` .9 (of A).

    Raises:
        ValueError: as `NaturalGradient`, or another `fisher` or `averaging`.
        TypeError: as `NaturalGradient`.

    """

    published: ClassVar[Options] = PUBLISHED

    def __init__(self, model: nn.Module, likelihood: str, **options: Unpack[Options]) -> None:
        super().__init__(model, likelihood, approximation=Inputs(), **options)
        check_fisher(self.curvature_batch)
        self._pairs: dict[str, tuple[Tensor, Tensor]] = {}
        self._drawn: Call | None = None
        self._before: tuple[Call, dict[str, Means]] | None = None

    def approximations(self) -> dict[str, Curvature]:
        """Every layer's A ⊗ H_g⁻¹; empty before the first step."""
        found: dict[str, Curvature] = {}
        for name, curvature in super().approximations().items():
            inverse = self._layers[name].inverse
            if isinstance(inverse, FactoredInverse) and isinstance(curvature, KroneckerSum):
                outer = torch.cholesky_inverse(cholesky(inverse.b_inverse)).contiguous()
                found[name] = KroneckerSum(((curvature.terms[0][0], outer),))
        return found

    def state_dict(self) -> dict[str, Any]:
        """As `NaturalGradient`'s, with the pairs that H_g learns from."""
        state = super().state_dict()
        state["natural_gradient"]["pairs"] = {name: list(pair) for name, pair in self._pairs.items()}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: the state is of another kind of optimizer, or of other layers.

        """
        super().load_state_dict(state_dict)
        self._pairs = restored(state_dict["natural_gradient"]["pairs"], self._device_generator.device)

    def _refresh_statistics(self) -> Mapping[str, LayerSamples]:
        self._drawn = self._before = None
        taken = super()._refresh_statistics()
        if self._drawn is not None:
            self._before = self._drawn, {name: Means.of(self._layers[name], own) for name, own in taken.items()}
        return taken

    def _drawn_call(self) -> Call:
        self._drawn = super()._drawn_call()
        return self._drawn

    def _refresh_inverses(self) -> None:
        root = self.param_groups[0]["damping"] ** 0.5
        for name, layer in self._layers.items():
            curvature = layer.running.curvature
            if curvature is None:
                layer.inverse = None
                self._pairs.pop(name, None)
            elif layer.inverse is None:
                assert isinstance(curvature, KroneckerSum)
                ((a, identity),) = curvature.terms
                inner: Tensor = torch.cholesky_inverse(cholesky(_damped(a, root)))
                layer.inverse = FactoredInverse(inner, identity / root)

    def _after_update(self) -> None:
        if self._before is None:
            return
        (call, before), self._before, self._drawn = self._before, None, None
        root = self.param_groups[0]["damping"] ** 0.5
        layers = {name: layer for name, layer in self._layers.items() if name in before and not layer.frozen}
        with self.phase("curvature"):
            try:
                samples = self._captured(call, layers)
            except FloatingPointError:  # the step led out of the numbers: the next loss says so
                return
            for name, layer in layers.items():
                curvature, inverse = layer.running.curvature, layer.inverse
                if isinstance(inverse, FactoredInverse) and isinstance(curvature, KroneckerSum):
                    after, past = Means.of(layer, samples[name]), before[name]
                    inner = input_update(inverse.a_inverse, curvature.terms[0][0], past.inputs, root)
                    outer = self._output_update(name, inverse.b_inverse, past, after, root)
                    layer.inverse = FactoredInverse(inner, outer)

    def _output_update(self, name: str, inverse: Tensor, past: Means, after: Means, root: float) -> Tensor:
        """H_g, once it has learned from the step."""
        new = after.outputs - past.outputs, after.gradients - past.gradients
        zero = torch.zeros_like(new[0])
        kept = self._pairs.get(name, (zero, zero))
        pair = kept[0].lerp(new[0], 1 - _MEMORY), kept[1].lerp(new[1], 1 - _MEMORY)
        finite = torch.isfinite(pair[0] + pair[1]).all()
        self._pairs[name] = torch.where(finite, pair[0], kept[0]), torch.where(finite, pair[1], kept[1])
        s, y = doubly_damped(inverse, *pair, root)
        return bfgs(inverse, s, y, torch.linalg.vector_norm(past.gradients))


def input_update(inverse: Tensor, moment: Tensor, mean: Tensor, root: float) -> Tensor:
    """H_a after a step towards (A + √λ I)⁻¹ along s = H_a ā.

    Args:
        inverse: H_a (d_in, d_in).
        moment: A (d_in, d_in).
        mean: ā (d_in,).
        root: √λ.

    """
    s = inverse @ mean
    return bfgs(inverse, s, moment @ s + root * s, torch.linalg.vector_norm(mean))


def doubly_damped(inverse: Tensor, s: Tensor, y: Tensor, root: float) -> tuple[Tensor, Tensor]:
    """The pair with sᵀy ≥ .2 yᵀHy by Powell's damping of s, then y + √λ s.

    Args:
        inverse: H, positive definite.
        s: a change of the variable.
        y: the change of its gradient.
        root: √λ.

    """
    image = inverse @ y
    quadratic, slope = torch.dot(y, image), torch.dot(s, y)
    low = slope < _POWELL * quadratic
    theta = torch.where(low, (1 - _POWELL) * quadratic / (quadratic - slope), 1)
    s = theta * s + (1 - theta) * image
    return s, y + root * s


def bfgs(inverse: Tensor, s: Tensor, y: Tensor, size: Tensor) -> Tensor:
    """H with H y = s; as it was where sᵀy is too small beside ‖s‖² `size`, or numbers run out.

    Args:
        inverse: H, positive definite.
        s: a change of the variable.
        y: the change of its gradient.
        size: the norm of the gradient there, a scalar.

    """
    slope, image = torch.dot(s, y), inverse @ y
    rho = 1 / slope
    cross = torch.outer(s, image)
    new = inverse + (rho * rho * torch.dot(y, image) + rho) * torch.outer(s, s) - rho * (cross + cross.mT)
    sound = (slope > _NEGLIGIBLE * torch.dot(s, s) * size) & (slope > 0) & torch.isfinite(new).all()
    return torch.where(sound, new, inverse)


def _damped(matrix: Tensor, value: float) -> Tensor:
    damped = matrix.clone()
    damped.diagonal().add_(value)
    return damped
