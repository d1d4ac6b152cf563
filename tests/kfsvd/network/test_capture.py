"""Samples taken from a model: right, and without a trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kfsvd import capture, negative_log_likelihood
from kfsvd.network.likelihoods import LIKELIHOODS


def network(inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 4), nn.ReLU(inplace=inplace), nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Linear(3, 6)
    )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("inplace", [False, True])
def test_samples_are_the_per_example_gradients_of_the_sampled_labels(likelihood: str, inplace: bool) -> None:
    model, inputs = network(inplace).double(), torch.randn(7, 5).double()
    samples = capture(model, [inputs], likelihood, torch.Generator().manual_seed(4))
    labels = LIKELIHOODS[likelihood].sample(model(inputs).detach(), torch.Generator().manual_seed(4))
    for n in range(7):
        model.zero_grad()
        negative_log_likelihood(likelihood, model(inputs[n : n + 1]), labels[n : n + 1]).sum().backward()
        for name in ("0", "2", "4"):
            layer = model.get_submodule(name)
            expected = (
                layer.weight.grad if layer.bias is None else torch.cat([layer.weight.grad, layer.bias.grad[:, None]], 1)
            )
            actual = torch.outer(samples[name].gradients[n], samples[name].activations[n])
            torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    inputs = torch.randn(8, 5)
    negative_log_likelihood("gaussian", model(inputs), torch.zeros(8, 2)).mean().backward()
    seen: list[torch.Tensor] = []
    model[0].register_forward_hook(lambda _module, _arguments, output: seen.append(output))
    gradients = [p.grad.clone() for p in model.parameters()]
    buffers = [b.clone() for b in model.buffers()]
    state = torch.get_rng_state()
    capture(model, [inputs], "gaussian", torch.Generator())
    assert not seen, "a user's hook must not see the curvature pass"
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, model.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
    assert torch.equal(state, torch.get_rng_state())
    model(inputs)
    assert len(seen) == 1, "the user's hook is back in place"


def test_the_model_is_left_as_it_was_even_when_it_raises() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(ValueError, match=r"layer '0': a layer must see a batch; got inputs of shape \(3,\)"):
        capture(model, [torch.randn(3)], "gaussian", torch.Generator())
    model(torch.randn(2, 3))
    assert calls == [1]


def test_a_layer_outside_the_forward_pass_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="took no part in the forward pass: elsewhere"):
        capture(
            model, [torch.randn(2, 3)], "gaussian", torch.Generator(), {"0": model[0], "elsewhere": nn.Linear(1, 1)}
        )


def test_outputs_that_are_not_finite_are_refused() -> None:
    model = network()
    with pytest.raises(FloatingPointError, match="outputs are not finite"):
        capture(model, [torch.full((2, 5), float("nan"))], "bernoulli", torch.Generator())
