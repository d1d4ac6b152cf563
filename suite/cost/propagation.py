"""Operations of the forward and backward pass, and of taking samples of the Fisher matrix (`kfsvd.capture`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.cost.operations import calls, draws, elementwise, function, product, repeated

if TYPE_CHECKING:
    from suite.cost.operations import Operation
    from suite.cost.shapes import LayerShape, NetworkShape


def forward_backward(layer: LayerShape, batch: int) -> list[Operation]:
    """Of one layer: outputs, and gradients of weight, bias and inputs."""
    rows, d_in, d_out = batch * layer.positions, layer.d_in - layer.bias, layer.d_out
    operations = [product(rows, d_in, d_out), product(d_out, rows, d_in), calls(10)]
    if layer.propagates:
        operations.append(product(rows, d_out, d_in))
    if layer.bias:
        operations.append(elementwise(rows * d_out))
    return operations


def activations_and_loss(shape: NetworkShape, batch: int) -> list[Operation]:
    """Of everything else: 3 numbers are moved for an activation's output, 4 for its gradient, 16 for the loss."""
    operations = [op for n in shape.activations for op in _activation(n * batch)]
    return [*operations, elementwise(16 * shape.outputs * batch, 8), function(3 * shape.outputs * batch)]


def capture(layer: LayerShape, examples: int, labels: int) -> list[Operation]:
    """Samples of one layer: a pass forward, the 1 appended, and the pre-activations' gradients of so many labels."""
    rows, d_in, d_out = examples * layer.positions, layer.d_in, layer.d_out
    operations = [
        product(rows, d_in - layer.bias, d_out),
        elementwise(3 * rows * d_in, 2),  # cat
        elementwise(3 * rows * d_out),  # output.clone()
        elementwise(3 * rows * labels * (d_in + d_out), 2),  # repeat, cat
        elementwise(rows * labels * (d_in + d_out), 2),  # a sum that is finite
        calls(24),
    ]
    if layer.propagates:
        operations += repeated([product(rows, d_out, d_in - layer.bias)], labels)
    return operations


def sampling(shape: NetworkShape, examples: int, labels: int, *, drawn: bool) -> list[Operation]:
    """What is not of one layer: examples chosen, activations, and labels drawn from the outputs."""
    outputs = shape.outputs * examples
    operations = [elementwise(3 * shape.inputs * examples), calls(10)]
    for n in shape.activations:
        operations += _activation(n * examples, labels)
    operations += [function(2 * outputs * labels), elementwise(6 * outputs * labels, 3 * labels)]
    return [*operations, draws(outputs * labels)] if drawn else operations


def _activation(numbers: int, backward: int = 1) -> list[Operation]:
    return [elementwise(3 * numbers), *repeated([elementwise(4 * numbers)], backward)]
