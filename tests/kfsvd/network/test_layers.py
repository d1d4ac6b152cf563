"""Convolutions, sequences and shared layers against per-example gradients by autograd; the Fisher types."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from kfsvd import LayerSamples, capture, negative_log_likelihood
from kfsvd.network.layers import as_matrix, as_parameters, supported_layers, trained_parameters, why_unsupported
from kfsvd.network.likelihoods import LIKELIHOODS

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_size": 3},
    "stride and padding": {"kernel_size": 3, "stride": 2, "padding": 1},
    "dilation": {"kernel_size": 2, "dilation": 2},
    "uneven": {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0), "dilation": (2, 1)},
    "same": {"kernel_size": (2, 4), "padding": "same"},
    "reflected": {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    "circular": {"kernel_size": 3, "padding": (1, 2), "padding_mode": "circular"},
    "no bias": {"kernel_size": 3, "bias": False},
}


class Flat(nn.Module):
    """The sum over positions, so that any layer ends in (batch, outputs)."""

    def __init__(self, layer: nn.Module, dimensions: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.dimensions = layer, dimensions

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(inputs)).sum(self.dimensions)


class Twice(nn.Module):
    """One layer used twice in a forward pass, with other inputs each time."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.out = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.shared(torch.tanh(self.shared(inputs)))))


def per_example(samples: LayerSamples) -> torch.Tensor:
    return torch.cat([gradients for _, gradients in samples.gradient_chunks()])


def assert_per_example_gradients(model: nn.Module, inputs: torch.Tensor, likelihood: str = "gaussian") -> None:
    """Every G_n = Σ_t g_nt a_ntᵀ is the gradient of that example's sampled loss by autograd."""
    samples = capture(model, [inputs], likelihood, torch.Generator().manual_seed(4))
    labels = LIKELIHOODS[likelihood].sample(model(inputs).detach(), torch.Generator().manual_seed(4))
    for n in range(len(inputs)):
        model.zero_grad()
        negative_log_likelihood(likelihood, model(inputs[n : n + 1]), labels[n : n + 1]).sum().backward()
        for name, layer in supported_layers(model).items():
            expected = as_matrix(layer, [p.grad for p in trained_parameters(layer) if p.grad is not None])
            torch.testing.assert_close(per_example(samples[name])[n], expected, rtol=1e-11, atol=1e-13)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch's own
@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_samples_of_a_convolution_are_its_per_example_gradients(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = Flat(nn.Conv2d(2, 3, **options), (2, 3)).double()
    assert_per_example_gradients(model, torch.randn(4, 2, 6, 5, dtype=torch.float64))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_samples_of_a_sequence_and_of_a_layer_used_twice(likelihood: str) -> None:
    torch.manual_seed(0)
    assert_per_example_gradients(Flat(nn.Linear(4, 3), (1,)).double(), torch.randn(5, 6, 4).double(), likelihood)
    assert_per_example_gradients(Flat(nn.Linear(4, 3), (1, 2)).double(), torch.randn(5, 2, 3, 4).double(), likelihood)
    assert_per_example_gradients(Twice().double(), torch.randn(5, 4).double(), likelihood)


def test_a_layer_used_twice_has_its_uses_as_positions() -> None:
    samples = capture(Twice(), [torch.randn(5, 4)], "gaussian", torch.Generator())
    assert samples["shared"].positions == 2
    assert samples["out"].positions == 1


def test_a_convolution_of_one_pixel_is_a_linear_layer() -> None:
    torch.manual_seed(0)
    convolution, inputs = nn.Conv2d(4, 3, 1).double(), torch.randn(6, 4, 1, 1).double()
    linear = nn.Linear(4, 3).double()
    linear.load_state_dict({n: p.reshape(linear.get_parameter(n).shape) for n, p in convolution.named_parameters()})
    ours = capture(nn.Sequential(convolution, nn.Flatten()), [inputs], "gaussian", torch.Generator().manual_seed(1))
    theirs = capture(nn.Sequential(linear), [inputs[:, :, 0, 0]], "gaussian", torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours["0"].dense(), theirs["0"].dense(), rtol=1e-12, atol=1e-15)


def test_matrix_and_parameters_are_two_views_of_one() -> None:
    layer = nn.Conv2d(2, 3, (3, 2))
    matrix = torch.randn(3, 13)
    torch.testing.assert_close(as_matrix(layer, as_parameters(layer, matrix)), matrix)
    weight, bias = as_parameters(layer, matrix)
    inputs = torch.randn(2, 2, 5, 4)
    rows = functional.unfold(inputs, (3, 2)).mT
    expected = torch.cat([rows, torch.ones(2, 9, 1)], -1) @ matrix.mT
    torch.testing.assert_close(functional.conv2d(inputs, weight, bias).flatten(2).mT, expected)


def dense_fisher(model: nn.Module, inputs: torch.Tensor, likelihood: str) -> torch.Tensor:
    """mean_n J_nᵀ F_n J_n of the only layer, J by autograd and F_n from the likelihood's definition."""
    (layer,) = supported_layers(model).values()
    total = torch.zeros((), dtype=torch.float64)
    for n in range(len(inputs)):
        outputs = model(inputs[n : n + 1])[0]
        rows = [
            as_matrix(layer, torch.autograd.grad(o, trained_parameters(layer), retain_graph=True)).mT.flatten()
            for o in outputs
        ]
        f = outputs.detach()
        if likelihood == "gaussian":
            output_fisher = torch.eye(len(f), dtype=f.dtype)
        elif likelihood == "bernoulli":
            output_fisher = torch.diag(f.sigmoid() * (1 - f.sigmoid()))
        else:
            output_fisher = torch.diag(f.softmax(0)) - torch.outer(f.softmax(0), f.softmax(0))
        total = total + torch.stack(rows).mT @ output_fisher @ torch.stack(rows) / len(inputs)
    return total


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("kind", ["linear", "convolution", "sequence"])
def test_the_exact_fisher_is_that_of_the_outputs(likelihood: str, kind: str) -> None:
    torch.manual_seed(0)
    model, inputs = {
        "linear": (Flat(nn.Linear(4, 3), ()), torch.randn(7, 4)),
        "convolution": (Flat(nn.Conv2d(1, 3, 2), (2, 3)), torch.randn(7, 1, 3, 4)),
        "sequence": (Flat(nn.Linear(4, 3), (1,)), torch.randn(7, 5, 4)),
    }[kind]
    if kind == "linear":
        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    model, inputs = model.double(), inputs.double()
    (samples,) = capture(model, [inputs], likelihood, torch.Generator(), fisher="exact").values()
    expected = dense_fisher(model, inputs, likelihood)
    torch.testing.assert_close(samples.dense(), expected, rtol=1e-11, atol=1e-13)
    assert len(samples) == 3 * 7


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_sampled_labels_converge_to_the_exact_fisher(likelihood: str) -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(3, 3)).double(), torch.randn(5, 3).double()
    (exact,) = capture(model, [inputs], likelihood, torch.Generator(), fisher="exact").values()
    errors = []
    for labels in (10, 1000):
        generator = torch.Generator().manual_seed(1)
        (sampled,) = capture(model, [inputs], likelihood, generator, fisher_samples=labels).values()
        assert len(sampled) == 5 * labels
        errors.append(float((sampled.dense() - exact.dense()).norm() / exact.dense().norm()))
    assert errors[1] < min(0.15, errors[0] / 2), "a tenth of the error by a hundred times the labels"


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_empirical_fisher_takes_the_datas_labels(likelihood: str) -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(3, 4)).double(), torch.randn(5, 3).double()
    targets = torch.randint(0, 4, (5,)) if likelihood == "categorical" else torch.rand(5, 4).double()
    (samples,) = capture(model, [inputs], likelihood, torch.Generator(), fisher="empirical", targets=targets).values()
    for n in range(5):
        model.zero_grad()
        negative_log_likelihood(likelihood, model(inputs[n : n + 1]), targets[n : n + 1]).sum().backward()
        expected = as_matrix(model[0], [p.grad for p in trained_parameters(model[0]) if p.grad is not None])
        torch.testing.assert_close(per_example(samples)[n], expected, rtol=1e-12, atol=1e-14)


def test_the_model_may_take_keywords() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, inputs: torch.Tensor, *, scale: float) -> torch.Tensor:
            return scale * self.layer(inputs)

    model, inputs = Scaled(), torch.randn(4, 3)
    once = capture(model, [], "gaussian", torch.Generator().manual_seed(0), keywords={"inputs": inputs, "scale": 1.0})
    twice = capture(model, [inputs], "gaussian", torch.Generator().manual_seed(0), keywords={"scale": 2.0})
    torch.testing.assert_close(twice["layer"].gradients, 2 * once["layer"].gradients)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "a convolution with groups=2 has no single Kronecker form"),
        (nn.LayerNorm(3), "LayerNorm is neither Linear nor Conv2d"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "is neither Linear nor Conv2d|is parametrized"),
    ],
    ids=["groups", "layer norm", "parametrized"],
)
def test_what_is_not_supported_says_why(module: nn.Module, reason: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2), module)
    assert list(supported_layers(model)) == ["0"]
    assert (why := why_unsupported(module, model)) is not None
    assert any(part in why for part in reason.split("|"))


def test_a_grouped_convolution_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.Flatten())
    with pytest.raises(ValueError, match="layer '0' is not supported: a convolution with groups=2"):
        capture(model, [torch.randn(2, 2, 1, 1)], "gaussian", torch.Generator(), {"0": model[0]})


def test_tied_and_frozen_weights_are_left_to_the_fallback() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[2].weight.requires_grad_(False)
    assert not supported_layers(model)
    assert why_unsupported(model[0], model) == "its parameters are tied to another module's"
    assert why_unsupported(model[2], model) == "its weight is frozen"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fisher": "true"}, "fisher must be one of monte_carlo, exact, empirical; got 'true'"),
        ({"fisher_samples": 0}, "fisher_samples must be at least 1; got 0"),
        ({"fisher": "empirical"}, "needs the data's targets"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        capture(nn.Sequential(nn.Linear(2, 2)), [torch.randn(3, 2)], "gaussian", torch.Generator(), **options)


def test_a_model_of_several_outputs_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.layer(inputs), inputs

    with pytest.raises(TypeError, match="must return one tensor of outputs; got tuple"):
        capture(Two(), [torch.randn(2, 2)], "gaussian", torch.Generator())
