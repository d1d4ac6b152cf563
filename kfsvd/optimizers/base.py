"""What all optimizers here share: a model's supported layers are their own, and Adam updates all else."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

from torch.optim import Optimizer

from kfsvd.network.capture import original
from kfsvd.network.layers import why_unsupported
from kfsvd.optimizers.checks import no_phase, user_level
from kfsvd.options.declare import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from inspect import Signature

    from torch import Tensor, nn


class LayerOptimizer(Optimizer):
    """An optimizer of a model: its own parameters are the first parameter group, all others the second.

    A warning names the others once, and why they are not among its own.

    Args:
        model: the network.
        own: the parameters that the method updates.
        declared: identities of those that it leaves to Adam by its nature, of which nothing is said.
        instead: of the others, "updated by … , not by …".
        lr: of its own.
        fallback_lr: of the others.
        defaults: further options of the parameter groups.

    """

    declares: ClassVar[type[Any]]
    """What declares its options."""
    published: ClassVar[Mapping[str, Any]] = {}
    """Defaults of its method, where they differ from the declared ones."""

    __signature__: ClassVar[Signature]

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Let `inspect.signature`, and so `help` and editors, name every option."""
        super().__init_subclass__(**keywords)
        cls.__signature__ = expanded(cls.__init__, cls.declares, cls.published)

    def __init__(
        self,
        model: nn.Module,
        own: Sequence[Tensor],
        declared: Collection[int],
        instead: str,
        *,
        lr: float,
        fallback_lr: float,
        defaults: dict[str, Any],
    ) -> None:
        self.model = model
        self.phase: Callable[[str], AbstractContextManager[object]] = no_phase
        """Entered with "curvature", "inversion" or "update" around that part of a step; for clocks."""
        self._synchronous = next(model.parameters()).device.type == "cpu"  # a look at a number waits for nothing there
        self._finite: Tensor | None = None  # whether the gradients were that nobody has looked at yet
        self._iteration = 0
        self._complete = False
        known = {id(p) for p in own}
        others = {n: p for n, p in original(model).named_parameters() if p.requires_grad and id(p) not in known}
        self.fallback_parameters = tuple(others)
        if reasons := self._reasons([n for n, p in others.items() if id(p) not in declared]):
            warnings.warn(f"{type(self).__name__}: {instead}: {reasons}", stacklevel=user_level())
        groups: list[dict[str, Any]] = [{"params": list(own), "lr": lr}]
        if others:
            groups.append({"params": list(others.values()), "lr": fallback_lr})
        super().__init__(groups, defaults)
        self._complete = True

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused after construction: what is the method's own follows from the model.

        Raises:
            ValueError: always, once the optimizer is made.

        """
        if self._complete:
            raise ValueError("parameters cannot be added to this optimizer: make a new one of the model")
        super().add_param_group(param_group)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but hooks on the optimizer itself, a clock's `phase`, and a scheduler's wrapper around `step`."""
        return {
            k: v for k, v in self.__dict__.items() if not k.startswith("_optimizer_") and k not in ("phase", "step")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("phase", no_phase)

    def _reasons(self, names: Sequence[str]) -> str:
        """Why parameters are not the method's own: "1.weight, 1.bias (LayerNorm is neither …); …"."""
        model = original(self.model)
        modules = dict(model.named_modules())
        reasons: dict[str, list[str]] = {}
        for name in names:
            reason = why_unsupported(modules[name.rpartition(".")[0]], model)
            reasons.setdefault(reason or "not a weight or bias of its layer", []).append(name)
        return "; ".join(f"{', '.join(group)} ({reason})" for reason, group in reasons.items())

    def _look(self, finite: Tensor, *, now: bool, complaint: str) -> Tensor | None:
        """Raise if the gradients are not finite: their NaN would stay in the weights and the state.

        A look waits for the device. Where it is put off, the answer is given as a scalar that nobody has waited for.

        Args:
            finite: whether they are.
            now: whether to look.
            complaint: what is wrong where they are not.

        """
        so_far = finite if self._finite is None else finite & self._finite
        if not now:
            self._finite = so_far
            return finite
        self._finite = None
        if not so_far:
            raise FloatingPointError(f"{complaint}: no step is made, and the weights are as they were")
        return None
