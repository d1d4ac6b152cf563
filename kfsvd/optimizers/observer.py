"""What the model saw last in training, by hooks on its call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Generator, Tensor, nn

    from kfsvd.network.likelihoods import Likelihood


class Call(NamedTuple):
    """A call of the model: its arguments, and the labels of its examples where they could be had."""

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    targets: Tensor | None

    def __len__(self) -> int:
        """The number of examples: the length of the first tensor with rows among the arguments."""
        given = (*self.arguments, *self.keywords.values())
        return next(len(x) for x in given if isinstance(x, torch.Tensor) and x.ndim)

    def part(self, size: int, generator: Generator) -> Call:
        """`size` of the examples, drawn without replacement; whatever has no row for each example stays whole."""
        n = len(self)
        chosen = torch.randperm(n, generator=generator)[:size]

        def taken(x: Any) -> Any:
            return x[chosen.to(x.device)] if isinstance(x, torch.Tensor) and x.ndim and len(x) == n else x

        arguments = tuple(taken(x) for x in self.arguments)
        return Call(arguments, {name: taken(x) for name, x in self.keywords.items()}, taken(self.targets))


class Observer:
    """Remembers the last call of a model in training mode with gradients.

    The labels are not seen by an optimizer. But for these likelihoods ∂(−log p)/∂f = E[y|f] − y, and the training loss
    is a mean over the batch; so the gradient that reaches the model's outputs gives them away: y = E[y|f] − m ∂h/∂f.

    Args:
        model: the network.
        likelihood: of its outputs, if the labels are wanted; None if not.

    """

    def __init__(self, model: nn.Module, likelihood: Likelihood | None) -> None:
        self._likelihood = likelihood
        self._handles = [model.register_forward_pre_hook(self._before, with_kwargs=True)]
        if likelihood is not None:
            self._handles.append(model.register_forward_hook(self._after))
        self.forget()

    def forget(self) -> None:
        """Let go of the last call."""
        self._arguments: tuple[Any, ...] | None = None
        self._keywords: dict[str, Any] = {}
        self._outputs: Tensor | None = None
        self._gradient: Tensor | None = None

    def remove(self) -> None:
        """Take the hooks from the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.forget()

    @property
    def removed(self) -> bool:
        """Whether `remove` was called."""
        return not self._handles

    @property
    def call(self) -> Call:
        """The last call.

        Raises:
            RuntimeError: there is none, or its labels are wanted and the loss has not been propagated backward.

        """
        if self._arguments is None:
            raise RuntimeError(
                "the curvature needs the model's inputs, but the model has not been called with gradients in training "
                "mode since the optimizer was made"
            )
        if self._likelihood is None:
            return Call(self._arguments, self._keywords, None)
        if self._outputs is None or self._gradient is None:
            raise RuntimeError("the loss of the model's last call has not been propagated backward to its outputs")
        targets = self._likelihood.mean(self._outputs) - len(self._outputs) * self._gradient
        return Call(self._arguments, self._keywords, targets)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _before(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if torch.is_grad_enabled() and module.training:
            self._arguments = tuple(_detached(x) for x in arguments)
            self._keywords = {name: _detached(x) for name, x in keywords.items()}

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _after(self, module: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        if torch.is_grad_enabled() and module.training and isinstance(output, torch.Tensor) and output.requires_grad:
            self._outputs, self._gradient = output.detach(), None
            output.register_hook(self._receive)  # type: ignore[no-untyped-call]

    def _receive(self, gradient: Tensor) -> None:
        self._gradient = gradient.detach()

    def __getstate__(self) -> dict[str, Any]:
        """Without the last call: a copy of a model or optimizer does not carry a batch with it."""
        return {"_likelihood": self._likelihood, "_handles": self._handles}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.forget()


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value
