"""Muon: momentum, orthogonalised (Jordan et al. 2024), by torch's own implementation; biases and all else by AdamW."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Unpack

import torch

from kfsvd.optimizers.matrices import MatrixOptimizer
from kfsvd.options.matrices import MUON, MatrixOptions, MuonOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from kfsvd.options.choices import Scale

_T = TypeVar("_T")
_COEFFICIENTS = (3.4445, -4.775, 2.0315)


class Muon(MatrixOptimizer):
    """ΔW ≈ s U Vᵀ of the momentum M = U S Vᵀ: all singular values near one, by five Newton–Schulz steps (Jordan 2024).

    The step is that of `torch.optim.Muon`, in bfloat16 whatever the weights' dtype, which takes 2-dimensional
    parameters alone: here kernels of convolutions are flattened to matrices, and AdamW updates biases and all else, in
    the second parameter group.

    Args:
        model: as in `MatrixOptimizer`.
        likelihood: as in `MatrixOptimizer`.
        options: `lr` η; `momentum` β of the running mean of gradients, looked ahead with if `nesterov`; `weight_decay`;
            `iterations`, Newton–Schulz steps; `scale` s: "original" for √max(1, d_out/d_in), "match_rms_adamw" for
            .2 √max(d_out, d_in), as long as Adam's; `hidden_only`, whether AdamW updates the first and the last layer's
            weight too, as its authors advise for embeddings and classifier heads; `fallback_lr` of AdamW.

    Raises:
        ValueError: an option out of range, a model of two layers with `hidden_only`, or as `MatrixOptimizer`.
        TypeError: as `MatrixOptimizer`.
        ImportError: torch before 2.9, which has no Muon.

    """

    declares: ClassVar[type[Any]] = MuonOptions
    published: ClassVar[MatrixOptions] = MUON
    in_group: ClassVar[tuple[str, ...]] = ("momentum",)

    def __init__(self, model: nn.Module, likelihood: str | None = None, **options: Unpack[MuonOptions]) -> None:
        _functional()
        super().__init__(model, likelihood, **options)
        self.nesterov: bool = self.options["nesterov"]
        self.iterations: int = self.options["iterations"]
        self.scale: Scale = self.options["scale"]

    def _matrices(self, model: nn.Module) -> dict[str, Any]:
        modules = super()._matrices(model)
        if not self.options["hidden_only"]:
            return modules
        return dict(hidden([*modules.items()]))

    def _step_of(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        moved = torch.zeros_like(gradient)  # from zero at a step size of one: the step itself
        _functional()(
            [moved],
            [gradient],
            [state["momentum"]],
            lr=1.0,
            weight_decay=0.0,
            momentum=self.param_groups[0]["momentum"],
            nesterov=self.nesterov,
            ns_coefficients=_COEFFICIENTS,
            ns_steps=self.iterations,
            eps=1e-7,
            adjust_lr_fn=self.scale,
            has_complex=False,
        )
        return moved.neg_()


def hidden(layers: Sequence[_T]) -> Sequence[_T]:
    """The layers between the first and the last.

    Args:
        layers: of a model, in order.

    Raises:
        ValueError: there is none.

    """
    if len(layers) < 3:
        raise ValueError("hidden_only needs a layer between the first and the last; the model has none")
    return layers[1:-1]


def _functional() -> Any:
    try:
        from torch.optim._muon import muon
    except ImportError:
        raise ImportError(f"Muon is torch's own from 2.9 on; this is torch {torch.__version__}") from None
    return muon
