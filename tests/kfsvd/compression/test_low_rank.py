"""Low rank: the optimum of the weighted error, the layers that come of it, and how many numbers they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from kfsvd import LayerSamples, fit
from kfsvd.compression import LOW_RANKS, SVD, FisherWeighted, RowWeighted, low_rank, rank_of
from tests.kfsvd.compression.models import INPUTS, network, parameters, sample
from tests.kfsvd.conftest import HOSTILE, make_samples

if TYPE_CHECKING:
    from torch import Tensor

RANK = 2


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def truncated(matrix: Tensor, rank: int) -> Tensor:
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


@pytest.mark.parametrize("approximation", ["kfac", "kpsvd", "tkfac"])
def test_the_weighted_factors_are_the_optimum_of_one_kronecker_product(approximation: str, weight: Tensor) -> None:
    """Min δᵀ(X⊗Y)δ, by its dense form, and against random factorisations improved by least squares."""
    samples = make_samples(100, 8, 5)
    method = FisherWeighted(approximation=approximation, damping=1e-12)
    ((a, y),) = fit(approximation, samples).terms
    product = torch.kron(a[:7, :7], y)  # vec stacks columns

    def cost(approximated: Tensor) -> float:
        delta = (weight - approximated).mT.reshape(-1)
        return float(delta @ product @ delta)

    left, right = method.factors(weight, samples, RANK)
    best = cost(left @ right)
    inner, outer = method.roots(weight, samples)
    assert inner is not None
    assert outer is not None
    tail = torch.linalg.svdvals(outer.mT @ weight @ inner)[RANK:].square().sum()
    assert best == pytest.approx(float(tail), rel=1e-5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):  # alternating least squares from random factors comes to it, and never below
        other = torch.randn(5, RANK, generator=generator, dtype=torch.float64)
        for step in range(200):
            rest = torch.linalg.lstsq(outer.mT @ other, outer.mT @ weight).solution
            assert cost(other @ rest) >= best * (1 - 1e-6)
            other = torch.linalg.lstsq((rest @ inner).mT, (weight @ inner).mT).solution.mT
            if step == 0:
                assert cost(other @ rest) > 1.0001 * best
        assert cost(other @ rest) == pytest.approx(best, rel=1e-3)


def test_an_identity_gives_the_plain_svd(weight: Tensor) -> None:
    left, right = SVD().factors(weight, None, RANK)
    torch.testing.assert_close(left @ right, truncated(weight, RANK))
    units = torch.eye(8).double().repeat_interleave(5, 0), torch.eye(5).double().repeat(8, 1)
    for method in (FisherWeighted(), RowWeighted()):
        factors = method.factors(weight, LayerSamples(*units), RANK)
        torch.testing.assert_close(factors.left @ factors.right, left @ right)


def test_rows_are_weighed_by_the_diagonal_of_the_fisher_matrix(weight: Tensor) -> None:
    samples = make_samples(50, 8, 5)
    diagonal = samples.dense().diagonal().reshape(8, 5).mT[:, :7].sum(1)
    roots = diagonal.sqrt().unsqueeze(1)
    left, right = RowWeighted(damping=1e-20).factors(weight, samples, RANK)
    torch.testing.assert_close(left @ right, truncated(roots * weight, RANK) / roots)


@pytest.mark.parametrize("method", LOW_RANKS)
def test_full_rank_is_the_weight(method: str, weight: Tensor) -> None:
    left, right = LOW_RANKS[method]().factors(weight, make_samples(50, 8, 5), 5)
    torch.testing.assert_close(left @ right, weight)


@pytest.mark.parametrize("method", LOW_RANKS)
def test_a_ratio_of_one_changes_nothing(method: str) -> None:
    model = network()
    before, modules = parameters(model), list(model.modules())
    assert low_rank(model, sample, ratio=1.0, method=method) == {}
    assert list(model.modules()) == modules
    assert all(torch.equal(a, b) for a, b in zip(before, parameters(model), strict=True))


@pytest.mark.parametrize("method", LOW_RANKS)
@pytest.mark.parametrize("ratio", [0.9, 0.6, 0.3])
def test_layers_become_two_of_so_many_numbers(method: str, ratio: float) -> None:
    model = network()
    biases = [layer.bias for layer in model[::2]]
    expected = {"0": rank_of(8, 5, ratio), "2": rank_of(6, 8, ratio), "4": rank_of(3, 6, ratio)}
    shapes = {"0": (8, 5), "2": (6, 8), "4": (3, 6)}
    expected = {n: r for n, r in expected.items() if r * sum(shapes[n]) < shapes[n][0] * shapes[n][1]}
    assert low_rank(model, sample, ratio=ratio, method=method) == expected
    numbers = sum(
        expected[n] * (d_out + d_in) if n in expected else d_out * d_in for n, (d_out, d_in) in shapes.items()
    )
    assert sum(p.numel() for p in model.parameters()) == numbers + 8 + 6 + 3
    for bias, layer in zip(biases, model[::2], strict=True):
        assert (layer.second.bias if isinstance(layer, nn.Sequential) else layer.bias) is bias
    assert torch.isfinite(model(INPUTS)).all()


def test_the_rank_is_rounded_up() -> None:
    assert rank_of(10, 10, 0.5) == 3
    assert rank_of(10, 10, 0.4) == 2
    assert rank_of(784, 1000, 0.1) == 44
    assert rank_of(1, 1, 0.01) == 1


def test_what_replaces_a_layer_is_like_it() -> None:
    model = nn.Sequential(nn.Linear(20, 20), nn.Sequential(nn.Linear(20, 20, bias=False))).half().eval()
    assert low_rank(model, ratio=0.5, method="svd") == {"0": 5, "1.0": 5}
    for layer in (model[0], model[1][0]):
        assert not layer.training
        assert layer.first.weight.dtype == layer.second.weight.dtype == torch.float16
        assert layer.first.bias is None
    assert model[0].second.bias is not None
    assert model[1][0].second.bias is None


def test_the_weighted_factors_lose_less_than_the_plain_ones() -> None:
    lost = {}
    for method in LOW_RANKS:
        model = network()
        target = model(INPUTS).detach()
        low_rank(model, sample, ratio=0.8, method=method)
        lost[method] = float((model(INPUTS).detach() - target).square().sum(1).mean())
    assert lost["gfwsvd"] < lost["fwsvd"]
    assert lost["gfwsvd"] < lost["svd"]


@pytest.mark.parametrize("method", ["fwsvd", "gfwsvd"])
def test_hostile_samples_give_finite_factors(method: str) -> None:
    for case, make in HOSTILE.items():
        hostile = make()
        d_out, d_in = hostile.shape
        weight = torch.ones(d_out, d_in - 1, dtype=torch.float64) + torch.eye(d_out, d_in - 1, dtype=torch.float64)
        left, right = LOW_RANKS[method]().factors(weight, hostile, 2)
        assert torch.isfinite(left @ right).all(), case


def test_a_zero_fisher_matrix_gives_the_plain_svd(weight: Tensor) -> None:
    samples = LayerSamples(make_samples(6, 8, 5).activations, torch.zeros(6, 5).double())
    for method in (FisherWeighted(), RowWeighted()):
        left, right = method.factors(weight, samples, RANK)
        torch.testing.assert_close(left @ right, truncated(weight, RANK))


@pytest.mark.parametrize("method", ["fwsvd", "gfwsvd"])
def test_samples_that_are_not_finite_are_named_and_change_nothing(method: str) -> None:
    def poisoned(model: nn.Module) -> Any:
        found = dict(sample(model))
        found["2"].gradients[0, 0] = float("nan")
        return found

    model = network()
    modules = list(model.modules())
    with pytest.raises(FloatingPointError, match="layer '2': "):
        low_rank(model, poisoned, ratio=0.5, method=method)
    assert list(model.modules()) == modules


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0.0}, "ratio must be above 0 and at most 1"),
        ({"ratio": 0.5, "method": "lowrank"}, "method must be one of svd, fwsvd, gfwsvd; got 'lowrank'"),
        ({"ratio": 0.5, "method": "svd", "damping": 1.0}, "svd has no option 'damping'; it has none"),
        ({"ratio": 0.5, "approximation": "deflation"}, "a single Kronecker product, which 'deflation' does not"),
        ({"ratio": 0.5, "approximation": "ekfac"}, "a sum of Kronecker products, which 'ekfac' does not"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        low_rank(network(), sample, **options)


def test_a_bare_layer_and_missing_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="put it into a Sequential"):
        low_rank(nn.Linear(9, 9), ratio=0.5, method="svd")
    with pytest.raises(ValueError, match="the method 'gfwsvd' needs samples"):
        low_rank(network(), ratio=0.5)
