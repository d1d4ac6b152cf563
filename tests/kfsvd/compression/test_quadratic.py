"""Costs and changes against constrained minimisation by dense linear algebra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from kfsvd import IndefiniteError, KroneckerSum, fit
from kfsvd.compression import Quadratic
from kfsvd.inverse.damping import FLOOR, damped_factors
from tests.kfsvd.conftest import HOSTILE, KRONECKER, make_samples

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.options.choices import Structure

DAMPING = 1e-2
D_IN, D_OUT = 6, 4


def dense(curvature: KroneckerSum, damping: float) -> Tensor:
    """The damped sum, built from its factors; vec stacks columns."""
    (a, b), *rest = curvature.terms
    scale = a.diagonal().mean() * b.diagonal().mean()
    damped = damped_factors(a, b, float(damping * scale), None)
    return KroneckerSum((damped, *rest)).dense()


def minimum(fisher: Tensor, weights: Tensor, gone: Tensor) -> tuple[Tensor, Tensor]:
    """The δ that is −w on `gone` and minimises ½ δᵀFδ, from its Karush–Kuhn–Tucker system; and that minimum."""
    w, places = weights.mT.reshape(-1), gone.mT.reshape(-1).nonzero()[:, 0]
    selection = torch.eye(len(w), dtype=w.dtype)[places]
    zeros = torch.zeros(len(places), len(places), dtype=w.dtype)
    system = torch.cat([torch.cat([fisher, selection.mT], 1), torch.cat([selection, zeros], 1)])
    delta = torch.linalg.solve(system, torch.cat([torch.zeros_like(w), -w[places]]))[: len(w)]
    return delta.reshape(weights.shape[1], weights.shape[0]).mT, delta @ fisher @ delta / 2


def definite(method: str) -> KroneckerSum:
    """An F̂ that needs no guard."""
    curvature = fit(method, make_samples(200, D_IN, D_OUT, seed=3))
    assert isinstance(curvature, KroneckerSum)
    assert torch.linalg.eigvalsh(dense(curvature, DAMPING)).min() > 0
    return curvature


def units(structure: Structure, columns: int) -> list[tuple[tuple[int, ...], Tensor]]:
    """Each unit's place among the costs, and the weights that it takes."""
    found: list[tuple[tuple[int, ...], Tensor]] = []
    rows, inputs = range(D_OUT), range(columns)
    places = {
        "element": [((i, j), (i, j)) for i in rows for j in inputs],
        "row": [((i,), (i, slice(columns))) for i in rows],
        "column": [((j,), (slice(None), j)) for j in inputs],
    }
    for place, taken in places[structure]:
        gone = torch.zeros(D_OUT, D_IN, dtype=torch.bool)
        gone[taken] = True
        found.append((place, gone))
    return found


@pytest.fixture
def weights() -> Tensor:
    return torch.randn(D_OUT, D_IN, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("columns", [D_IN, D_IN - 1], ids=["no bias", "bias"])
@pytest.mark.parametrize("structure", ["element", "row", "column"])
@pytest.mark.parametrize("method", KRONECKER)
def test_costs_are_the_least_that_a_removal_takes(
    method: str, structure: Structure, columns: int, weights: Tensor
) -> None:
    curvature = definite(method)
    costs = Quadratic.of(curvature, DAMPING).costs(weights, columns, structure)
    fisher = dense(curvature, DAMPING)
    for place, gone in units(structure, columns):
        torch.testing.assert_close(costs[place], minimum(fisher, weights, gone)[1], rtol=1e-8, atol=1e-10)


def test_one_product_without_bias_gives_the_published_formulas(weights: Tensor) -> None:
    ((a, b),) = definite("kpsvd").terms
    model = Quadratic.of(KroneckerSum(((a, b),)), 1e-12)
    inverse_a, inverse_b = torch.linalg.inv(a), torch.linalg.inv(b)
    expected = {
        "element": weights**2 / torch.outer(inverse_b.diagonal(), inverse_a.diagonal()) / 2,
        "row": torch.einsum("ri,ij,rj->r", weights, a, weights) / inverse_b.diagonal() / 2,
        "column": torch.einsum("ic,ij,jc->c", weights, b, weights) / inverse_a.diagonal() / 2,
    }
    for structure in ("element", "row", "column"):
        torch.testing.assert_close(model.costs(weights, D_IN, structure), expected[structure], rtol=1e-4, atol=0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("method", KRONECKER)
def test_the_change_is_the_joint_minimum(method: str, share: float, weights: Tensor) -> None:
    curvature = definite(method)
    gone = torch.rand(D_OUT, D_IN, generator=torch.Generator().manual_seed(2)) < share
    found = Quadratic.of(curvature, DAMPING).change(weights, gone, tolerance=1e-13, most=1000)
    expected, _ = minimum(dense(curvature, DAMPING), weights, gone)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert torch.equal((weights + found)[gone], torch.zeros(int(gone.sum()), dtype=torch.float64))


def test_each_iteration_costs_less_and_removes_all(weights: Tensor) -> None:
    model = Quadratic.of(definite("deflation"), 1e-4)
    gone = weights.abs() < 0.7
    costs = []
    for most in range(8):
        change = model.change(weights, gone, most=most)
        assert not (weights + change)[gone].any()
        costs.append(float((change * model.apply(change)).sum() / 2))
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.95 * costs[0]


def test_float32_is_close_to_float64(weights: Tensor) -> None:
    model = Quadratic.of(definite("lanczos"), DAMPING)
    gone = weights.abs() < 0.7
    found = model.change(weights.float(), gone)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), model.change(weights, gone), rtol=1e-3, atol=1e-4)


def indefinite() -> KroneckerSum:
    eye = torch.eye(3, dtype=torch.float64)
    return KroneckerSum(((eye, eye), (torch.tensor([1.0, 0, -1]).double().diag(), 2 * eye)))


def test_an_indefinite_sum_is_guarded_in_its_joint_basis() -> None:
    model = Quadratic.of(indefinite(), 1e-4, "floor")
    matrix = torch.stack([model.apply(unit.reshape(3, 3)).flatten() for unit in torch.eye(9, dtype=torch.float64)])
    values = torch.linalg.eigvalsh(matrix)
    least = FLOOR * (1 + 1e-2) ** 2
    assert values.min() == pytest.approx(least, rel=1e-9)
    torch.testing.assert_close(values[-3:], torch.full((3,), 1.01**2 + 2, dtype=torch.float64))
    weights = torch.arange(1.0, 10).reshape(3, 3).double()
    inverse = torch.linalg.inv(matrix).diagonal().reshape(3, 3)
    torch.testing.assert_close(model.costs(weights, 3, "element"), weights**2 / inverse / 2)
    with pytest.raises(IndefiniteError):
        Quadratic.of(indefinite(), 1e-4, "raise")


def test_the_identity_makes_costs_of_squares(weights: Tensor) -> None:
    eye = KroneckerSum(((torch.eye(D_IN).double(), torch.eye(D_OUT).double()),))
    model = Quadratic.of(eye, 1e-2)
    scale = 1.1**2 / 2
    torch.testing.assert_close(model.costs(weights, D_IN, "element"), scale * weights**2)
    torch.testing.assert_close(model.costs(weights, D_IN, "row"), scale * (weights**2).sum(1))
    torch.testing.assert_close(model.costs(weights, D_IN, "column"), scale * (weights**2).sum(0))
    gone = weights.abs() < 0.7
    assert torch.equal(model.change(weights, gone), torch.where(gone, -weights, torch.zeros_like(weights)))


@pytest.mark.parametrize("method", KRONECKER)
def test_hostile_samples_give_finite_costs_and_changes(method: str) -> None:
    for case, make in HOSTILE.items():
        hostile = make()
        curvature = fit(method, hostile)
        assert isinstance(curvature, KroneckerSum)
        d_out, d_in = hostile.shape
        weights = torch.ones(d_out, d_in, dtype=torch.float64)
        gone = torch.zeros(d_out, d_in, dtype=torch.bool)
        gone[0] = True
        model = Quadratic.of(curvature, 1e-4)
        for structure in ("element", "row", "column"):
            costs = model.costs(weights, d_in - 1, structure)
            assert torch.isfinite(costs).all(), case
            assert (costs >= 0).all(), case
        change = model.change(weights, gone)
        assert torch.isfinite(change).all(), case
        assert not (weights + change)[0].any(), case


def test_what_cannot_be_is_refused() -> None:
    eye = torch.eye(2).double()
    with pytest.raises(ValueError, match="at most two Kronecker products; got 3"):
        Quadratic.of(KroneckerSum(((eye, eye),) * 3), 1e-4)
    for damping in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="damping must be positive and finite"):
            Quadratic.of(KroneckerSum(((eye, eye),)), damping)
    with pytest.raises(FloatingPointError, match="the curvature is not finite"):
        Quadratic.of(KroneckerSum(((eye, eye * float("nan")),)), 1e-4)
