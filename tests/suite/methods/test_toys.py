"""A toy optimizer of matrices and a toy method of pruning: a class, its options, and one line in a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Unpack

import pytest
import torch
from torch import nn

import kfsvd
from kfsvd.compression import Pruning, prune
from kfsvd.compression.magnitude import Magnitude
from kfsvd.compression.registry import PRUNINGS
from kfsvd.optimizers import MATRIX_OPTIMIZERS
from kfsvd.options.declare import Option
from kfsvd.options.matrices import MatrixOptions
from kfsvd.options.registry import Entry
from suite.cost import Rates, step_cost
from suite.methods import METHODS
from suite.methods.card import options, summary
from suite.methods.compression import _compressor
from suite.report.figures.palette import colour

if TYPE_CHECKING:
    from kfsvd.compression import Removal
    from kfsvd.network.samples import LayerSamples


class SignOptions(MatrixOptions, total=False):
    threshold: Annotated[float, Option("entries below it are left out", default=0.0, ge=0)]


class SignDescent(kfsvd.MatrixOptimizer):
    """ΔW = sign(G), of entries above a threshold."""

    declares: ClassVar[type[Any]] = SignOptions

    def __init__(self, model: nn.Module, likelihood: str | None = None, **options: Unpack[SignOptions]) -> None:
        super().__init__(model, likelihood, **options)

    def _step_of(self, gradient: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
        return torch.where(gradient.abs() > self.options["threshold"], gradient.sign(), 0)


@dataclass(frozen=True)
class HalfOptions:
    share: Annotated[float, Option("of the cost", gt=0, le=1)] = 0.5


@dataclass(frozen=True)
class Half(Pruning, HalfOptions):
    """Magnitude pruning under another name."""

    name = "half"
    sampled = False

    def removal(self, weights: torch.Tensor, columns: int, samples: LayerSamples | None) -> Removal:
        return Magnitude().removal(weights, columns, samples)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    sign = Entry(f"{__name__}:SignDescent", "The sign of the gradient.", SignOptions, {"lr": 0.5})
    monkeypatch.setitem(MATRIX_OPTIMIZERS.entries, "sign", sign)
    monkeypatch.setitem(PRUNINGS.entries, "half", Entry(f"{__name__}:Half", "Half of it.", HalfOptions))


@pytest.mark.usefixtures("registered")
def test_a_matrix_optimizer_is_a_method_at_once() -> None:
    method = METHODS["sign"].model_validate({"method": "sign", "threshold": 0.1})
    network = nn.Linear(3, 2, bias=False)
    before = network.weight.detach().clone()
    optimizer = method.build(network, "gaussian", 0)
    network.weight.grad = torch.tensor([[1.0, -2.0, 0.05], [0.2, 0.0, -0.2]])
    optimizer.step()
    moved = (before - network.weight.detach()) / 0.5
    torch.testing.assert_close(moved, torch.tensor([[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]]))
    assert summary("sign") == "The sign of the gradient."
    assert ("threshold", 0.0, "≥ 0", "entries below it are left out") in options("sign")
    assert colour("sign") not in {colour(name) for name in METHODS if name != "sign"}
    with pytest.raises(ValueError, match="no cost is known of sign"):
        step_cost(nn.Linear(3, 2), "sign", 4, rates=Rates(1e-6, {}))


@pytest.mark.usefixtures("registered")
def test_a_method_of_pruning_is_a_compressor_at_once() -> None:
    made = _compressor("half").model_validate({"method": "half", "share": 1.0, "shots": 2})
    assert made.options() == {"method": "half", "share": 1.0, "structure": "element", "shots": 2, "exclude": []}
    with pytest.raises(ValueError, match="less than or equal to 1"):
        _compressor("half").model_validate({"method": "half", "share": 2.0})
    network = nn.Linear(4, 4)
    masks = prune(network, ratio=0.25, method="half", share=1.0)
    assert sum(int(mask.sum()) for mask in masks.kept.values()) == 4
