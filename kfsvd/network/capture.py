"""Taking samples of the Fisher matrix from a model, without leaving a trace in it."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, get_args

import torch

from kfsvd.network.layers import activation_rows, gradient_rows, supported_layers, tied_parameters, why_unsupported
from kfsvd.network.likelihoods import Likelihood, likelihood_named
from kfsvd.network.samples import LayerSamples
from kfsvd.options.choices import FisherType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Generator, Tensor, nn

    from kfsvd.network.layers import SupportedModule


_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def capture(
    model: nn.Module,
    inputs: Sequence[Any],
    likelihood: str,
    generator: Generator,
    layers: Mapping[str, SupportedModule] | None = None,
    *,
    keywords: Mapping[str, Any] | None = None,
    fisher: FisherType = "monte_carlo",
    fisher_samples: int = 1,
    targets: Tensor | None = None,
) -> dict[str, LayerSamples]:
    """Samples (a, g) of every layer's Fisher block.

    `monte_carlo`  `fisher_samples` labels of every example, drawn from the model's own predictions: the Fisher matrix
                   in expectation. n·m samples.
    `exact`        the columns of a factor of every example's output Fisher matrix in place of labels ("type 2"): the
                   Fisher matrix itself. K·m samples for K outputs or classes, and K backward passes.
    `empirical`    the data's own `targets`. Not the Fisher matrix: gradients that vanish with the loss.

    Runs one forward pass of `model(*inputs, **keywords)` and backward passes to the pre-activations alone; no weight
    gradient is computed. The parameters' gradients, the buffers, the global random number generators and the model's
    hooks are left as they were: user hooks do not run. A layer that takes part several times yields all of its uses as
    positions of one sample.

    Args:
        model: the network; its outputs, one tensor, are the likelihood's logits or means.
        inputs: the model's positional arguments, the examples along the first dimension of tensors.
        likelihood: "bernoulli", "gaussian" or "categorical".
        generator: draws the labels; on the device of the outputs.
        layers: the layers to sample, by name; `supported_layers(model)` if not given.
        keywords: the model's keyword arguments.
        fisher: whose expectation it is.
        fisher_samples: labels of an example, for "monte_carlo".
        targets: the labels for "empirical".

    Returns:
        By the layer's name, all with the same examples in the same order; in float32, or float64 for a model in it.

    Raises:
        ValueError: a layer is not supported, took no part in the forward pass, or saw inputs without a batch; the
            likelihood or Fisher type is unknown; targets are missing.
        TypeError: the model's output is not one tensor.
        FloatingPointError: the model's outputs are not finite.

    """
    distribution = likelihood_named(likelihood)
    if fisher not in get_args(FisherType):
        raise ValueError(f"fisher must be one of {', '.join(get_args(FisherType))}; got {fisher!r}")
    if fisher_samples < 1:
        raise ValueError(f"fisher_samples must be at least 1; got {fisher_samples}")
    if fisher == "empirical" and targets is None:
        raise ValueError("the empirical Fisher matrix needs the data's targets")
    if layers is None:
        layers = supported_layers(model)
    tied = tied_parameters(model)
    for name, layer in layers.items():
        if reason := why_unsupported(layer, model, tied):
            raise ValueError(f"layer {name!r} is not supported: {reason}")
    model = original(model)
    activations: dict[str, list[Tensor]] = {name: [] for name in layers}
    outputs: dict[str, list[Tensor]] = {name: [] for name in layers}

    def record(name: str, layer: SupportedModule) -> Any:
        def hook(_module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
            try:
                activations[name].append(activation_rows(layer, arguments[0]))
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from None
            outputs[name].append(output)
            return output.clone()  # an in-place activation behind the layer leaves `output` as it is

        return layer.register_forward_hook(hook)

    with traceless(model), ExitStack() as handles, torch.enable_grad(), torch.autocast(_device(model), enabled=False):
        for name, layer in layers.items():
            handles.callback(record(name, layer).remove)
        predictions = model(*inputs, **(keywords or {}))
        if not isinstance(predictions, torch.Tensor):
            raise TypeError(f"the model must return one tensor of outputs; got {type(predictions).__name__}")
        if not torch.isfinite(predictions).all():
            raise FloatingPointError("the model's outputs are not finite: no labels can be sampled from them")
        missing = [name for name in layers if not outputs[name]]
        if missing:
            raise ValueError(f"layers that took no part in the forward pass: {', '.join(missing)}")
        flat = [output for name in layers for output in outputs[name]]
        scores = _scores(distribution, predictions, fisher, fisher_samples, targets, generator)
        passes = []
        for k, score in enumerate(scores, start=1):
            more = k < len(scores)
            gradients = iter(torch.autograd.grad(predictions, flat, score, retain_graph=more, materialize_grads=True))
            passes.append(
                {n: _joined([gradient_rows(la, next(gradients)) for _ in outputs[n]]) for n, la in layers.items()}
            )
    count = len(predictions)
    weights = torch.full((count * len(scores),), 1 / count, dtype=torch.float64) if fisher == "exact" else None
    return {
        name: LayerSamples(
            _joined(activations[name]).repeat(len(scores), *[1] * (passes[0][name].ndim - 1)),
            torch.cat([gradients[name] for gradients in passes]),
            None if weights is None else weights.to(predictions.device),
        )
        for name in layers
    }


def _scores(
    distribution: Likelihood,
    predictions: Tensor,
    fisher: FisherType,
    samples: int,
    targets: Tensor | None,
    generator: Generator,
) -> list[Tensor]:
    """Gradients of −log p by the outputs, one tensor of the outputs' shape for each backward pass."""
    outputs = predictions.detach()
    if fisher == "exact":
        return list(distribution.fisher_factors(outputs))
    if fisher == "monte_carlo":
        return [distribution.score(outputs, distribution.sample(outputs, generator)) for _ in range(samples)]
    assert targets is not None
    return [distribution.score(outputs, targets)]


def _joined(uses: list[Tensor]) -> Tensor:
    """All uses of a layer as positions: (m, d) for one use of one position, else (m, T, d)."""
    if len(uses) == 1:
        return uses[0]
    return torch.cat([use.unsqueeze(1) if use.ndim == 2 else use for use in uses], 1)


def _device(model: nn.Module) -> str:
    return next(model.parameters()).device.type


def original(model: nn.Module) -> nn.Module:
    """The module that a compiled model was made of; a plain one is its own original."""
    module: nn.Module = getattr(model, "_orig_mod", model)
    return module


@contextmanager
def traceless(model: nn.Module) -> Iterator[None]:
    """Run a model inside without its hooks; restore hooks, buffers and random number generators on the way out.

    A compiled model runs eagerly inside: its graph would not know of hooks that came after it.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    hooks = [(module, {name: getattr(module, name) for name in _HOOKS}) for module in model.modules()]
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), _eager():
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


def _eager() -> AbstractContextManager[object]:
    if not hasattr(torch.compiler, "set_stance"):  # torch before 2.6
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
