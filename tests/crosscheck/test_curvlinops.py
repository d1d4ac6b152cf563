"""The exact Fisher, KFAC and EKFAC against curvlinops, a library that shares no line with this one; all in float64.

Where the two libraries' conventions differ, a line here says so; nothing else is rescaled or reordered.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import kfsvd

if TYPE_CHECKING:
    from kfsvd import LayerSamples

# Not ours: torch.jit.script is still called by linear_operator, which curvlinops imports, and by torch itself at the
# first use of forward-mode differentiation, through which curvlinops multiplies by the Gauss-Newton matrix.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
    if os.environ.get("KFSVD_REQUIRE_CROSSCHECK") == "1":  # CI: a missing library is a failure
        import curvlinops
    else:
        curvlinops = pytest.importorskip("curvlinops", reason="needs tests/crosscheck/requirements.txt")

M, K = 24, 3  # more examples than any layer has inputs: A has full rank, and no eigenvalue of it twice
TOLERANCE = 1e-12


def linear_network() -> tuple[nn.Sequential, Tensor]:
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, K))
    return model, torch.randn(M, 6)


def conv_network() -> tuple[nn.Sequential, Tensor]:
    """Nothing square, so that no two axes can be taken for each other; one layer without a bias."""
    model = nn.Sequential(
        nn.Conv2d(2, 3, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
        nn.Tanh(),
        nn.Conv2d(3, 2, kernel_size=(2, 3), padding=(0, 1), bias=False),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(16, K),
    )
    return model, torch.randn(M, 2, 5, 5)


NETWORKS = {"linear": linear_network, "conv": conv_network}
# Ours is Σ_k −log p(y_k|f): cross-entropy and its binary kin are that, MSELoss is ‖y − f‖², twice the Gaussian's.
LOSSES = {"categorical": (nn.CrossEntropyLoss, 1), "gaussian": (nn.MSELoss, 2), "bernoulli": (nn.BCEWithLogitsLoss, 1)}


class Case:
    """One network and likelihood, as both libraries see them."""

    def __init__(self, network: str, likelihood: str, reduction: str) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, inputs = NETWORKS[network]()
        self.model, self.inputs = model.double(), inputs.double()
        self.likelihood = likelihood
        loss, factor = LOSSES[likelihood]
        self.loss = loss(reduction=reduction)
        # The exact Fisher does not depend on the targets; theirs are read for their shape and dtype only.
        self.targets = torch.zeros(M, dtype=torch.long) if likelihood == "categorical" else torch.zeros(M, K).double()
        # Ours is averaged over examples. Their "sum" adds them up; their "mean" averages over examples, and over the
        # outputs as well where the loss has one term for each.
        averaged = 1 if likelihood == "categorical" else K
        self.scale = factor * M if reduction == "sum" else factor / averaged

    def samples(self) -> dict[str, LayerSamples]:
        generator = torch.Generator().manual_seed(0)
        return kfsvd.capture(self.model, [self.inputs], self.likelihood, generator, fisher="exact")

    def theirs(self, operator: Any, **options: Any) -> Any:
        data = [(self.inputs, self.targets)]
        parameters = list(self.model.parameters())
        return operator(self.model, self.loss, parameters, data, check_deterministic=False, **options)

    def their_kfac(self, operator: Any) -> Any:
        # type-2: the expectation over labels by the Hessian's square root, one backward pass per output, none sampled.
        # expand: every position of a convolution counts as an example of its own, as in Grosse & Martens 2016.
        # Weight and bias are one joint block, as ours are; the bias's 1 is appended last, as ours is.
        return self.theirs(operator, fisher_type="type-2", kfac_approx="expand", separate_weight_and_bias=False)

    def layers(self) -> dict[str, Any]:
        return {name: layer for name, layer in self.model.named_children() if list(layer.parameters())}

    def positions(self, name: str) -> int:
        """T, at how many positions the layer is applied to one example."""
        index = int(name)
        return self.model[: index + 1](self.inputs)[0, 0].numel() if isinstance(self.model[index], nn.Conv2d) else 1

    def in_our_order(self) -> Tensor:
        """Where each of our parameters, layer by layer, lies among theirs."""
        start, order = 0, []
        for layer in self.layers().values():
            # They flatten the weight (d_out, d_in) by rows and append the bias; vec stacks the columns of [W b].
            size = layer.weight.numel()
            columns = list((start + torch.arange(size)).reshape(len(layer.weight), -1).unbind(1))
            start += size
            if layer.bias is not None:
                columns.append(start + torch.arange(len(layer.bias)))
                start += len(layer.bias)
            order += columns
        return torch.cat(order)

    def dense(self, operator: Any) -> Tensor:
        """Their operator as a matrix, in our order and our scale."""
        order = self.in_our_order()
        matrix = operator @ torch.eye(len(order), dtype=torch.float64)
        return matrix[order][:, order] / self.scale


@pytest.fixture(params=["mean", "sum"])
def reduction(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(LOSSES))
def likelihood(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(NETWORKS))
def case(request: pytest.FixtureRequest, likelihood: str, reduction: str) -> Case:
    return Case(request.param, likelihood, reduction)


def relative(actual: Tensor, expected: Tensor) -> float:
    assert actual.dtype == expected.dtype == torch.float64
    assert actual.shape == expected.shape
    return float((actual - expected).norm() / expected.norm())


def per_sample_gradients(samples: LayerSamples) -> Tensor:
    """vec(G_n), (n, d_in·d_out), G_n = Σ_t g_nt a_ntᵀ."""
    a, g = samples.by_position
    return torch.einsum("nti,nto->nio", a, g).flatten(1)


def test_every_layer_of_one_is_a_layer_of_the_other(case: Case) -> None:
    assert list(case.samples()) == list(case.layers())


def test_the_exact_fisher_blocks_are_those_of_the_generalised_gauss_newton_matrix(case: Case) -> None:
    expected = case.dense(case.theirs(curvlinops.GGNLinearOperator))
    start = 0
    for samples in case.samples().values():
        block = samples.dense()
        stop = start + len(block)
        assert relative(block, expected[start:stop, start:stop]) < TOLERANCE
        start = stop
    assert start == len(expected)


def test_the_samples_of_all_layers_together_make_the_whole_matrix(case: Case) -> None:
    layers = list(case.samples().values())
    rows = torch.cat([per_sample_gradients(samples) for samples in layers], 1)
    for samples in layers:
        torch.testing.assert_close(samples.normalised_weights, layers[0].normalised_weights, rtol=0, atol=0)
    whole = rows.mT @ (layers[0].normalised_weights.unsqueeze(1) * rows)
    assert relative(whole, case.dense(case.theirs(curvlinops.GGNLinearOperator))) < TOLERANCE


def test_the_factors_of_kfac(case: Case) -> None:
    operator = case.their_kfac(curvlinops.KFACLinearOperator)
    operator.compute_kronecker_factors()
    state = operator.state_dict()
    for name, samples in case.samples().items():
        ((a, g),) = kfsvd.fit("kfac", samples).terms
        # Over a convolution's T positions they average A and add up G; we add up A and average G.
        positions = case.positions(name)
        assert relative(a, state["input_covariances"][name] * positions) < TOLERANCE
        # All of the loss's scale lies on G.
        assert relative(g, state["gradient_covariances"][name] / positions / case.scale) < TOLERANCE


def test_the_matrix_of_kfac(case: Case) -> None:
    blocks = [kfsvd.fit("kfac", samples).dense() for samples in case.samples().values()]
    expected = case.dense(case.their_kfac(curvlinops.KFACLinearOperator))
    assert relative(torch.block_diag(*blocks), expected) < TOLERANCE


def test_the_corrected_eigenvalues_of_ekfac(case: Case) -> None:
    operator = case.their_kfac(curvlinops.EKFACLinearOperator)
    operator.compute_eigenvalue_correction()
    state = operator.state_dict()
    for name, samples in case.samples().items():
        ekfac = kfsvd.fit("ekfac", samples)
        ((a, g),) = kfsvd.fit("kfac", samples).terms
        # Both bases are taken by ascending eigenvalue of A and G, as eigh gives them; squares do not see their signs.
        # (The Gaussian's last G is I, of any order and basis; there F = A ⊗ I, and the values are A's in each row.)
        rows = torch.einsum("ij,ik,kj->j", ekfac.basis_out, g, ekfac.basis_out).argsort()
        columns = torch.einsum("ij,ik,kj->j", ekfac.basis_in, a, ekfac.basis_in).argsort()
        expected = state["corrected_eigenvalues"][name]
        if isinstance(expected, dict):  # a layer without a bias: their values by parameter, the weight alone
            (expected,) = expected.values()
        assert relative(ekfac.scales[rows][:, columns], expected / case.scale) < TOLERANCE


def test_the_matrix_of_ekfac(case: Case) -> None:
    blocks = [kfsvd.fit("ekfac", samples).dense() for samples in case.samples().values()]
    expected = case.dense(case.their_kfac(curvlinops.EKFACLinearOperator))
    assert relative(torch.block_diag(*blocks), expected) < TOLERANCE


def test_the_error_of_kfac_on_the_whole_network(case: Case) -> None:
    samples = case.samples()
    fisher = case.dense(case.theirs(curvlinops.GGNLinearOperator))
    kfac = case.dense(case.their_kfac(curvlinops.KFACLinearOperator))
    error = kfsvd.network_error(samples, {name: kfsvd.fit("kfac", layer) for name, layer in samples.items()})
    assert error == pytest.approx(relative(kfac, fisher), rel=1e-12)


def test_the_exact_natural_gradient_solves_with_their_matrix(case: Case) -> None:
    samples = case.samples()
    noise = torch.Generator().manual_seed(1)
    gradients = {
        name: torch.randn(layer.shape, generator=noise, dtype=torch.float64) for name, layer in samples.items()
    }
    fisher = case.dense(case.theirs(curvlinops.GGNLinearOperator))
    stacked = torch.cat([gradient.mT.flatten() for gradient in gradients.values()])  # vec stacks columns
    expected = torch.linalg.solve(fisher + 1e-2 * torch.eye(len(fisher), dtype=torch.float64), stacked)
    directions = kfsvd.natural_gradient(samples, gradients, 1e-2)
    actual = torch.cat([directions[name].mT.flatten() for name in gradients])
    assert relative(actual, expected) < TOLERANCE
