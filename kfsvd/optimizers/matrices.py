"""What the optimizers made of gradients alone share: layers seen as matrices, and AdamW for all else.

    θ ← (1 − η w) θ − η v        v   the method's step for a matrix, from its gradient and state
                                 η   learning rate;  w   decoupled weight decay

Every `Linear` and `Conv2d` layer is a matrix G (d_out, d_in), a kernel flattened to (C_out, C·k·k). Nothing is
captured: no second pass over the batch, no likelihood, no sampled labels.
"""

from __future__ import annotations

from abc import abstractmethod
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from kfsvd.linalg.finite import all_finite
from kfsvd.network.capture import original
from kfsvd.network.layers import (
    as_matrix,
    as_parameters,
    has_trained_bias,
    supported_layers,
    trained_parameters,
)
from kfsvd.network.likelihoods import likelihood_named
from kfsvd.optimizers.base import LayerOptimizer
from kfsvd.optimizers.checks import refuse_parallel
from kfsvd.optimizers.fallback import adam_step
from kfsvd.options.declare import completed
from kfsvd.options.matrices import MatrixOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from kfsvd.network.layers import SupportedModule

_LOOK_EVERY = 10
"""Steps between looks at whether gradients were finite, where a look waits for the device."""


class MatrixOptimizer(LayerOptimizer):
    """An optimizer that treats a layer's gradient as a matrix; drop-in for a torch training loop.

    Parameters outside supported layers are updated by AdamW (`fallback_lr`), as a second parameter group; a warning
    names them once, and why. So are, where a method is one of matrices alone, the layers' biases.

    Args:
        model: the network.
        likelihood: taken, and held against the known names, so that one line changes between optimizers; not used.
        options: those that `declares` declares, of all matrix optimizers: `lr`, `weight_decay` and `fallback_lr`.

    Raises:
        ValueError: an option out of range, an unknown likelihood, or a model without any supported layer.
        TypeError: a model in DataParallel or DistributedDataParallel.

    """

    with_bias: ClassVar[bool] = False
    """Whether a layer's bias is the last column of its matrix."""

    declares: ClassVar[type[Any]] = MatrixOptions
    in_group: ClassVar[tuple[str, ...]] = ()
    """Options of the method that are kept in the matrices' parameter group, where a scheduler reaches them."""

    def __init__(self, model: nn.Module, likelihood: str | None = None, **options: Any) -> None:
        refuse_parallel(model)
        if likelihood is not None:
            likelihood_named(likelihood)
        self.options = completed(type(self).__name__, self.declares, options, self.published)
        """Every option of the optimizer, as it was made."""
        fallback_lr = self.options["fallback_lr"]
        self._modules = self._matrices(original(model))
        if not self._modules:
            raise ValueError("the model has no Linear or Conv2d layer that is supported: nothing to precondition")
        self._biased = {name for name, module in self._modules.items() if self.with_bias and has_trained_bias(module)}
        super().__init__(
            model,
            [p for name, module in self._modules.items() for p in self._parts(name, module)],
            {id(p) for module in supported_layers(original(model)).values() for p in module.parameters()},
            f"updated by AdamW with lr={fallback_lr}, not as matrices",
            lr=self.options["lr"],
            fallback_lr=fallback_lr,
            defaults={name: self.options[name] for name in ("weight_decay", *self.in_group)},
        )

    def layers(self) -> dict[str, SupportedModule]:
        """The layers that are treated as matrices, by their names in the model."""
        return dict(self._modules)

    def _matrices(self, model: nn.Module) -> dict[str, SupportedModule]:
        """The layers whose weight is treated as a matrix, by name."""
        return supported_layers(model)

    @abstractmethod
    def _step_of(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        """The step v for one matrix, (d_out, d_in).

        Args:
            gradient: G (d_out, d_in), in float32 or float64.
            state: the matrix's own, empty before its first gradient; tensors and numbers.

        """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step on the gradients at hand.

        Args:
            closure: recomputes the loss and its gradients, as in `torch.optim.Optimizer.step`.

        Raises:
            FloatingPointError: gradients that are not finite, or whose squares are not; the weights are left as they
                are. On a GPU gradients are waited for every tenth step alone, and count as zero until then where they
                are not finite.
            RuntimeError: a bias was frozen or released that is part of a matrix.

        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.autocast(next(iter(self._modules.values())).weight.device.type, enabled=False):
            gradients = {
                n: self._gradient(n, module) for n, module in self._modules.items() if self._is_active(n, module)
            }
            finite = self._look_at_gradients(list(gradients.values()))
            if finite is not None:
                gradients = {name: torch.where(finite, gradient, 0) for name, gradient in gradients.items()}
            states = [self.state[self._modules[name].weight] for name in gradients]
            steps = [self._step_of(g, state) for g, state in zip(gradients.values(), states, strict=True)]
            self._move(dict(zip(gradients, steps, strict=True)))
            for group in self.param_groups[1:]:
                adam_step(group, self.state, finite)
        self._iteration += 1
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Torch's own, with the kind of the optimizer and the number of its steps."""
        return {**super().state_dict(), "kind": type(self).__name__, "iteration": self._iteration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`, bit for bit.

        Raises:
            ValueError: the state is of another kind of optimizer, or of other parameters.

        """
        if state_dict.get("kind") != type(self).__name__:
            kind = state_dict.get("kind", "another optimizer")
            raise ValueError(f"a state of {kind} cannot be loaded into {type(self).__name__}")
        state = deepcopy(state_dict)  # torch keeps tensors of the dict, and would step on them
        super().load_state_dict(state)
        self._iteration = state["iteration"]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for index, saved in state["state"].items():  # torch casts to the parameter's dtype; these are often wider
            p = parameters[index]
            self.state[p] = {
                name: value.to(p.device) if isinstance(value, torch.Tensor) and name != "step" else value
                for name, value in saved.items()
            }

    def _parts(self, name: str, module: SupportedModule) -> list[Tensor]:
        return trained_parameters(module) if name in self._biased else [module.weight]

    def _is_active(self, name: str, module: SupportedModule) -> bool:
        if not module.weight.requires_grad:
            return False
        if self.with_bias and has_trained_bias(module) != (name in self._biased):
            raise RuntimeError(
                f"the bias of layer {name!r} was frozen or released since the optimizer was made, which changes the "
                "size of its matrix: make a new optimizer"
            )
        return any(p.grad is not None for p in self._parts(name, module))

    def _gradient(self, name: str, module: SupportedModule) -> Tensor:
        parts = self._parts(name, module)
        return as_matrix(module, [torch.zeros_like(p) if p.grad is None else p.grad for p in parts])

    def _look_at_gradients(self, gradients: list[Tensor]) -> Tensor | None:
        """Raise if one has no finite norm; see `_look`."""
        others = [p.grad for group in self.param_groups[1:] for p in group["params"] if p.grad is not None]
        looked_at = [*gradients, *others]
        norms = torch._foreach_norm(looked_at) if looked_at else ()
        finite = all_finite(norm.square() for norm in norms)  # so that the entries of G Gᵀ are
        now = self._synchronous or self._iteration % _LOOK_EVERY == 0
        return self._look(finite, now=now, complaint="a gradient is not finite, or its square is not")

    def _move(self, steps: dict[str, Tensor]) -> None:
        """θ ← (1 − η w) θ − η v."""
        group = self.param_groups[0]
        parameters, parts = [], []
        for name, step in steps.items():
            module = self._modules[name]
            own = self._parts(name, module)
            shaped = as_parameters(module, step) if name in self._biased else [step.reshape(module.weight.shape)]
            parameters += own
            parts += [part.to(p.dtype) for part, p in zip(shaped, own, strict=True)]
        if not parameters:
            return
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, parts, alpha=-group["lr"])
