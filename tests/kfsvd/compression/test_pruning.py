"""Pruning: what goes, what is made up for, and what stays zero."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from kfsvd import KroneckerSum, LayerSamples, capture, fit
from kfsvd.compression import PRUNINGS, Masks, Quadratic, Surgeon, prune
from tests.kfsvd.compression.models import INPUTS, network, parameters, sample, weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kfsvd.options.choices import Structure

SIZES = {"0": 40, "2": 48, "4": 18}
TOTAL = 106


@pytest.mark.parametrize("structure", ["element", "row", "column"])
@pytest.mark.parametrize("method", PRUNINGS)
def test_a_ratio_of_one_changes_nothing(method: str, structure: Structure) -> None:
    model = network()
    before = parameters(model)
    masks = prune(model, sample, ratio=1.0, method=method, structure=structure, shots=3)
    assert masks.share == 1.0
    assert all(torch.equal(a, b) for a, b in zip(before, parameters(model), strict=True))


@pytest.mark.parametrize("structure", ["element", "row", "column"])
@pytest.mark.parametrize("method", PRUNINGS)
def test_excluded_layers_stay_whole_and_the_ratio_is_of_the_others(method: str, structure: Structure) -> None:
    model = network()
    last = [parameter.detach().clone() for parameter in model[4].parameters()]
    masks = prune(model, sample, ratio=0.5, method=method, structure=structure, exclude=["4"])
    assert list(masks.kept) == ["0", "2"]
    assert all(torch.equal(a, b) for a, b in zip(last, model[4].parameters(), strict=True))
    others = SIZES["0"] + SIZES["2"]
    assert others / 2 <= sum(int(mask.sum()) for mask in masks.kept.values()) < others * 0.75


def test_a_layer_to_exclude_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"no such layers: 5; there are 0, 2, 4"):
        prune(network(), ratio=0.5, method="magnitude", exclude=["5"])
    with pytest.raises(ValueError, match="exclude names every layer"):
        prune(network(), ratio=0.5, method="magnitude", exclude=["0", "2", "4"])
    masks = prune(network(), ratio=0.5, method="magnitude", exclude="4")
    assert list(masks.kept) == ["0", "2"], "one name is one layer"


@pytest.mark.parametrize("ratio", [0.75, 0.5, 0.3, 0.1])
@pytest.mark.parametrize("method", PRUNINGS)
def test_elements_are_left_to_the_number(method: str, ratio: float) -> None:
    model = network()
    masks = prune(model, sample, ratio=ratio, method=method)
    left = TOTAL - int((1 - ratio) * TOTAL + 1e-6)
    assert masks.weights == left
    assert masks.share == left / TOTAL
    assert int((weights(model) != 0).sum()) == left
    assert {name: mask.numel() for name, mask in masks.kept.items()} == SIZES


def test_magnitude_takes_the_smallest_of_all_layers_and_leaves_the_others() -> None:
    model = network()
    before = weights(model)
    biases = [m.bias.detach().clone() for m in model if isinstance(m, nn.Linear)]
    prune(model, ratio=0.5, method="magnitude")
    threshold = before.abs().sort().values[TOTAL // 2]
    assert torch.equal(weights(model), torch.where(before.abs() >= threshold, before, 0.0))
    assert all(torch.equal(a, m.bias) for a, m in zip(biases, model[::2], strict=True))


def identity_samples(model: nn.Module) -> Mapping[str, LayerSamples]:
    """Samples whose KFAC is the identity."""
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            a, g = torch.eye(layer.in_features + 1).double(), torch.eye(layer.out_features).double()
            a, g = a.repeat_interleave(len(g), 0), g.repeat(len(a), 1)
            found[name] = LayerSamples(a, g, torch.ones(len(a)).double())
    return found


@pytest.mark.parametrize("structure", ["element", "row", "column"])
def test_the_surgeon_of_an_identity_is_magnitude_pruning(structure: Structure) -> None:
    (a, g), *_ = (fit("kfac", s).terms[0] for s in identity_samples(network()).values())
    assert torch.allclose(torch.kron(a, g), torch.eye(len(a) * len(g)).double())
    ours, baseline = network(), network()
    surgeon = Surgeon(approximation="kfac")
    prune(ours, identity_samples, ratio=0.4, method=surgeon, structure=structure, shots=2)
    prune(baseline, ratio=0.4, method="magnitude", structure=structure)
    assert 0 < int((weights(ours) == 0).sum()) < TOTAL
    assert all(torch.equal(a, b) for a, b in zip(parameters(ours), parameters(baseline), strict=True))


@pytest.mark.parametrize(("structure", "along"), [("row", 1), ("column", 0)])
@pytest.mark.parametrize("method", PRUNINGS)
def test_rows_and_columns_go_as_a_whole(method: str, structure: Structure, along: int) -> None:
    model = network()
    masks = prune(model, sample, ratio=0.6, method=method, structure=structure, shots=2)
    for mask in masks.kept.values():
        assert torch.equal(mask.any(along), mask.all(along))
    assert 0.6 * TOTAL <= masks.weights < 0.6 * TOTAL + 8


@pytest.mark.parametrize("approximation", ["kfac", "kpsvd", "deflation", "lanczos", "kfac_corrected"])
def test_one_shot_is_the_quadratic_models_threshold_and_change(approximation: str) -> None:
    model = network()
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    matrices = {n: torch.cat([la.weight, la.bias[:, None]], 1).detach() for n, la in layers.items()}
    models = {}
    for name, samples in sample(model).items():
        curvature = fit(approximation, samples)
        assert isinstance(curvature, KroneckerSum)
        models[name] = Quadratic.of(curvature, 1e-4)
    costs = {n: q.costs(matrices[n], matrices[n].shape[1] - 1, "element") for n, q in models.items()}
    threshold = torch.cat([c.flatten() for c in costs.values()]).sort().values[TOTAL // 2]
    prune(model, sample, ratio=0.5, method="surgeon", approximation=approximation)
    for name, matrix in matrices.items():
        gone = torch.cat([costs[name] < threshold, torch.zeros(len(matrix), 1, dtype=torch.bool)], 1)
        expected = matrix + models[name].change(matrix, gone)
        found = torch.cat([layers[name].weight, layers[name].bias[:, None]], 1)
        torch.testing.assert_close(found.detach(), expected, rtol=1e-12, atol=1e-14)


def test_a_later_shot_sees_the_weights_of_the_one_before() -> None:
    seen = []

    def watched(model: nn.Module) -> Mapping[str, LayerSamples]:
        seen.append(weights(model).clone())
        return sample(model)

    model = network()
    prune(model, watched, ratio=0.4, shots=3)
    zeros = [int((row == 0).sum()) for row in seen]
    assert zeros == [0, 21, 42]
    for earlier, later in zip(seen, [*seen[1:], weights(model)], strict=True):
        assert not later[earlier == 0].any()


def test_the_surgeon_loses_less_than_magnitude() -> None:
    """On a network whose outputs it is to keep: E‖f − f₀‖²/2 is what the Gaussian Fisher matrix measures."""
    lost = {}
    for method in PRUNINGS:
        model = network()
        target = model(INPUTS).detach()
        prune(model, sample, ratio=0.6, method=method, **({"shots": 4} if method == "surgeon" else {}))
        lost[method] = float((model(INPUTS).detach() - target).square().sum(1).mean())
    assert lost["surgeon"] < 0.3 * lost["magnitude"]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_masks_hold_in_training(kind: Any) -> None:
    model = network()
    masks = prune(model, sample, ratio=0.5)
    zeros = weights(model) == 0
    optimizer = kind(model.parameters(), lr=0.05, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))
    handle = masks.hold(model, optimizer)
    before = weights(model).clone()
    for _ in range(5):
        optimizer.zero_grad()
        model(INPUTS).square().sum(1).mean().backward()
        optimizer.step()
        assert not weights(model)[zeros].any()
    assert (weights(model) != before)[~zeros].sum() > 0.5 * masks.weights
    handle.remove()
    model(INPUTS).square().sum(1).mean().backward()
    optimizer.step()
    assert weights(model)[zeros].any()


def test_masks_are_of_a_copy_as_well() -> None:
    model = network()
    masks = prune(model, ratio=0.5, method="magnitude")
    other = network()
    Masks(copy.deepcopy(masks.kept)).apply(other)
    assert torch.equal(weights(other) == 0, weights(model) == 0)


@pytest.mark.parametrize("structure", ["element", "row", "column"])
def test_convolutions_are_matrices_of_their_patches(structure: Structure) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    images, generator = torch.randn(20, 2, 4, 4), torch.Generator().manual_seed(0)
    masks = prune(
        model,
        lambda net: capture(net, [images], "categorical", generator),
        ratio=0.5,
        structure=structure,
        approximation="kfac",
        shots=2,
    )
    conv = model[0].weight
    assert isinstance(conv, nn.Parameter)
    assert masks.kept["0"].shape == conv.shape == (4, 2, 3, 3)
    assert torch.equal(conv == 0, ~masks.kept["0"])
    assert torch.isfinite(conv).all()


def zeroed(model: nn.Module) -> Mapping[str, LayerSamples]:
    return {n: LayerSamples(s.activations, torch.zeros_like(s.gradients)) for n, s in sample(model).items()}


def deficient(model: nn.Module) -> Mapping[str, LayerSamples]:
    return {n: LayerSamples(s.activations[:1], s.gradients[:1]) for n, s in sample(model).items()}


@pytest.mark.parametrize("approximation", ["kfac", "kpsvd", "deflation"])
@pytest.mark.parametrize("samples", [zeroed, deficient])
def test_samples_that_say_little_leave_a_finite_model(samples: Any, approximation: str) -> None:
    model = network()
    masks = prune(model, samples, ratio=0.5, approximation=approximation, shots=2)
    assert masks.weights == TOTAL // 2
    assert torch.isfinite(weights(model)).all()


def test_a_zero_fisher_matrix_leaves_the_order_to_magnitude() -> None:
    ours, baseline = network(), network()
    prune(ours, zeroed, ratio=0.5)
    prune(baseline, ratio=0.5, method="magnitude")
    assert torch.equal(weights(ours), weights(baseline))


def poisoned(model: nn.Module) -> Mapping[str, LayerSamples]:
    found = dict(sample(model))
    found["2"].gradients[0, 0] = float("nan")
    return found


@pytest.mark.parametrize("approximation", ["kfac", "kpsvd"])
def test_samples_that_are_not_finite_are_named_and_change_nothing(approximation: str) -> None:
    model = network()
    before = parameters(model)
    with pytest.raises(FloatingPointError, match="layer '2': "):
        prune(model, poisoned, ratio=0.5, approximation=approximation)
    assert all(torch.equal(a, b) for a, b in zip(before, parameters(model), strict=True))


def test_weights_that_are_not_finite_are_refused() -> None:
    model = network()
    with torch.no_grad():
        model[2].weight[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="the weights of layer '2' are not finite"):
        prune(model, ratio=0.5, method="magnitude")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0.0}, "ratio must be above 0 and at most 1"),
        ({"ratio": 1.5}, "ratio must be above 0 and at most 1"),
        ({"ratio": float("nan")}, "ratio must be above 0 and at most 1"),
        ({"ratio": 0.5, "shots": 0}, "shots must be at least 1; got 0"),
        ({"ratio": 0.5, "structure": "block"}, "structure must be one of element, row, column; got 'block'"),
        ({"ratio": 0.5, "method": "surgery"}, "method must be one of magnitude, surgeon; got 'surgery'"),
        ({"ratio": 0.5, "dampning": 1.0}, "surgeon has no option 'dampning'; it has damping, approximation, guard"),
        ({"ratio": 0.5, "method": Surgeon(), "damping": 1.0}, "the options of a method that is given are its own"),
        ({"ratio": 0.5, "approximation": "ekfac"}, "a sum of Kronecker products, which 'ekfac' does not"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prune(network(), sample, **options)


def test_samples_are_asked_for() -> None:
    with pytest.raises(ValueError, match="the method 'surgeon' needs samples"):
        prune(network(), ratio=0.5)
    with pytest.raises(ValueError, match="there are no samples of layers 2, 4"):
        prune(network(), lambda model: {"0": sample(model)["0"]}, ratio=0.5)
    with pytest.raises(ValueError, match="no layer that could be compressed"):
        prune(nn.Sequential(nn.Tanh()), ratio=0.5)
