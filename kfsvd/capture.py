"""Taking samples of the Fisher matrix from a model, without leaving a trace in it."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from kfsvd.likelihoods import likelihood_named
from kfsvd.samples import LayerSamples

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Generator, Tensor

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def supported_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The layers of `model` that a Kronecker curvature is kept for, by name: Linear with a trainable weight."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.weight.requires_grad
    }


def has_trained_bias(layer: nn.Linear) -> bool:
    """Whether a 1 is appended to the layer's inputs."""
    return layer.bias is not None and layer.bias.requires_grad


def capture(
    model: nn.Module,
    inputs: Sequence[Any],
    likelihood: str,
    generator: Generator,
    layers: Mapping[str, nn.Linear] | None = None,
) -> dict[str, LayerSamples]:
    """Samples (a_n, g_n) of every layer's Fisher block, one sampled label per example (Monte Carlo).

    Runs one forward pass of `model(*inputs)` and one backward pass to the pre-activations alone; no weight gradient is
    computed. The parameters' gradients, the buffers, the global random number generators and the model's hooks are
    left as they were: user hooks do not run.

    Args:
        model: the network; its outputs are the likelihood's logits or means.
        inputs: the model's positional arguments, the examples along the first dimension of tensors.
        likelihood: "bernoulli", "gaussian" or "categorical".
        generator: draws the labels; on the device of the outputs.
        layers: the layers to sample, by name; `supported_layers(model)` if not given.

    Raises:
        ValueError: a layer took part more than once in the forward pass, not at all, or with inputs that are not
            (batch, features), or the likelihood is unknown.
        FloatingPointError: the model's outputs are not finite.

    """
    distribution = likelihood_named(likelihood)
    layers = supported_layers(model) if layers is None else layers
    activations: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def record(name: str, layer: nn.Linear) -> Any:
        def hook(_module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if name in outputs:
                raise ValueError(f"layer {name!r} takes part twice in one forward pass: not supported")
            if arguments[0].ndim != 2:
                raise ValueError(
                    f"layer {name!r} must see (batch, features); got inputs of shape {tuple(arguments[0].shape)}"
                )
            activations[name] = arguments[0].detach()
            outputs[name] = output
            return output.clone()  # an in-place activation behind the layer leaves `output` as it is

        return layer.register_forward_hook(hook)

    with _traceless(model), ExitStack() as handles, torch.enable_grad():
        for name, layer in layers.items():
            handles.callback(record(name, layer).remove)
        predictions = model(*inputs)
        if not torch.isfinite(predictions).all():
            raise FloatingPointError("the model's outputs are not finite: no labels can be sampled from them")
        labels = distribution.sample(predictions.detach(), generator)
        loss = distribution.negative_log_likelihood(predictions, labels).sum()
        missing = [name for name in layers if name not in outputs]
        if missing:
            raise ValueError(f"layers that took no part in the forward pass: {', '.join(missing)}")
        gradients = torch.autograd.grad(loss, [outputs[name] for name in layers])
    return {
        name: LayerSamples(_with_bias(activations[name], layer), gradient.to(activations[name].dtype))
        for (name, layer), gradient in zip(layers.items(), gradients, strict=True)
    }


def _with_bias(activations: Tensor, layer: nn.Linear) -> Tensor:
    if not has_trained_bias(layer):
        return activations.clone()
    return torch.cat([activations, activations.new_ones(len(activations), 1)], 1)


@contextmanager
def _traceless(model: nn.Module) -> Iterator[None]:
    """Restore buffers, hooks and random number generators on the way out."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    hooks = [(module, {name: getattr(module, name) for name in _HOOKS}) for module in model.modules()]
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        for module, kept in hooks:
            for name in kept:
                setattr(module, name, OrderedDict())
        try:
            yield
        finally:
            for module, kept in hooks:
                for name, value in kept.items():
                    setattr(module, name, value)
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
