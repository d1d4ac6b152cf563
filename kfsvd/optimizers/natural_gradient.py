"""The natural-gradient optimizer that all Kronecker approximations share.

The model it steps on. With F the Fisher matrix of the loss h (nats per example) at the weights θ, one step minimises

    h(θ) + ∇hᵀδ + ½ δᵀ(F̂ + λI)δ        F̂   block diagonal, one Kronecker sum per layer (kfsvd.approximations)
                                        λ   damping (kfsvd.inverse says how it enters)
    Δ = (F̂ + λI)⁻¹ ∇h                   the natural gradient
    ν = min(1, √(c / Σ|∇h ∘ Δ|))        the KL clip: keeps the step's own KL divergence near c (step_rule="kl_clip")
    v ← μ v + ν Δ,   θ ← (1 − η w) θ − η v      heavy ball μ, learning rate η, decoupled weight decay w

F̂ is refreshed on a random part of the inputs that the model saw last, with labels sampled from the model itself (the
true Fisher matrix, not the empirical one), and averaged with its past: F̂ ← ρ F̂ + (1 − ρ) F̂_new factor by factor,
ρ = min(1 − 1/k, decay) at the k-th refresh.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch.optim import Optimizer
from torch.optim.adam import adam

from kfsvd.approximations import fit
from kfsvd.capture import capture, has_trained_bias, supported_layers
from kfsvd.inverse import DampedInverse, DampingRule, Guard
from kfsvd.kronecker import KroneckerSum
from kfsvd.likelihoods import likelihood_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from kfsvd.samples import LayerSamples

StepRule = Literal["kl_clip", "none"]


@dataclass(eq=False)
class _Layer:
    """A layer's curvature: the running approximation, and its inverse as last prepared."""

    module: nn.Linear
    samples: LayerSamples | None = None
    approximation: KroneckerSum | None = None
    inverse: DampedInverse | None = None
    momentum: Tensor | None = field(default=None)

    @property
    def parameters(self) -> list[Tensor]:
        bias = [self.module.bias] if has_trained_bias(self.module) else []
        return [self.module.weight, *bias]

    def gradient(self) -> Tensor:
        """[∇W ∇b], (d_out, d_in); zero where no gradient has arrived."""
        columns = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        return torch.cat([columns[0], *(c.unsqueeze(1) for c in columns[1:])], 1)

    def add(self, step: Tensor, scale: float) -> None:
        """[W b] += scale · step."""
        weight, *bias = self.parameters
        weight.add_(step[:, : weight.shape[1]], alpha=scale)
        for parameter in bias:
            parameter.add_(step[:, -1], alpha=scale)


class NaturalGradient(Optimizer):
    """Natural gradient with a Kronecker approximation of the Fisher matrix; drop-in for a torch training loop.

    Linear layers are preconditioned. Every other trainable parameter is updated by Adam (`fallback_lr`), as a second
    parameter group; a warning names them once.

    Args:
        model: the network that the training loop calls; its inputs are observed by a forward hook.
        likelihood: what the outputs mean: "bernoulli" (logits), "gaussian" (means), "categorical" (logits). The loss
            that is minimised must be its negative log-likelihood, summed over outputs and averaged over the batch.
        lr: η, the step size.
        momentum: μ, heavy ball.
        weight_decay: w, decoupled.
        damping: λ of F + λI.
        damping_rule: how λ enters the Kronecker factors: "factored_pi", "factored" or "exact".
        refresh_every: iterations between curvature refreshes.
        statistics_every: iterations between new curvature batches; `refresh_every` if None.
        inverse_every: iterations between new inverses; `refresh_every` if None.
        curvature_batch: examples of a curvature batch, as a share of the last batch up to 1, else as a number.
        decay: the largest weight ρ of the past in the running average; 0 keeps the newest batch alone.
        guard: what is done where a rank-2 sum is not positive definite: "floor", "absolute" or "raise".
        step_rule: "kl_clip" or "none".
        kl_clip: c, in nats.
        fallback_lr: Adam's step size on parameters outside supported layers.
        seed: of the curvature batches and sampled labels.

    Raises:
        ValueError: an option out of range, or a model without any supported layer.

    Source: Koroko et al. 2022 (arXiv 2201.10285); Martens & Grosse 2015.

    """

    approximation: ClassVar[str]
    """The name in `kfsvd.approximations.APPROXIMATIONS`."""

    def __init__(
        self,
        model: nn.Module,
        likelihood: str,
        *,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        damping: float = 0.1,
        damping_rule: DampingRule = "factored_pi",
        refresh_every: int = 10,
        statistics_every: int | None = None,
        inverse_every: int | None = None,
        curvature_batch: float = 0.25,
        decay: float = 0.95,
        guard: Guard = "floor",
        step_rule: StepRule = "kl_clip",
        kl_clip: float = 0.01,
        fallback_lr: float = 1e-3,
        seed: int = 0,
    ) -> None:
        likelihood_named(likelihood)
        _require("lr", lr, lr >= 0)
        _require("momentum", momentum, 0 <= momentum < 1)
        _require("weight_decay", weight_decay, weight_decay >= 0)
        _require("damping", damping, damping > 0)
        _require("curvature_batch", curvature_batch, curvature_batch > 0)
        _require("decay", decay, 0 <= decay < 1)
        _require("kl_clip", kl_clip, kl_clip > 0)
        _require("fallback_lr", fallback_lr, fallback_lr >= 0)
        for name, every in (
            ("refresh_every", refresh_every),
            ("statistics_every", statistics_every),
            ("inverse_every", inverse_every),
        ):
            _require(name, every, every is None or every >= 1)
        _choose("damping_rule", damping_rule, get_args(DampingRule))
        _choose("guard", guard, get_args(Guard))
        _choose("step_rule", step_rule, get_args(StepRule))
        self._layers = {name: _Layer(module) for name, module in supported_layers(model).items()}
        if not self._layers:
            raise ValueError("the model has no Linear layer with a trainable weight: nothing to precondition")
        self.model, self.likelihood = model, likelihood
        self.damping_rule, self.guard, self.step_rule, self.kl_clip = damping_rule, guard, step_rule, kl_clip
        self.statistics_every = statistics_every or refresh_every
        self.inverse_every = inverse_every or refresh_every
        self.curvature_batch, self.decay = curvature_batch, decay
        self.phase: Callable[[str], AbstractContextManager[object]] = lambda _name: nullcontext()
        """Entered with "curvature", "inversion" or "update" around that part of a step; for clocks."""
        self._iteration = self._refreshes = 0
        self._inputs: tuple[Any, ...] | None = None
        self._cpu_generator = torch.Generator().manual_seed(seed)
        device = next(model.parameters()).device
        self._device_generator = torch.Generator(device).manual_seed(seed + 1)
        preconditioned = [p for layer in self._layers.values() for p in layer.parameters]
        known = {id(p) for p in preconditioned}
        others = {n: p for n, p in model.named_parameters() if p.requires_grad and id(p) not in known}
        groups: list[dict[str, Any]] = [{"params": preconditioned, "lr": lr}]
        if others:
            warnings.warn(
                f"{type(self).__name__}: updated by Adam with lr={fallback_lr}, not by natural gradient: "
                f"{', '.join(others)}",
                stacklevel=2,
            )
            groups.append({"params": list(others.values()), "lr": fallback_lr})
        self.fallback_parameters = tuple(others)
        super().__init__(groups, {"momentum": momentum, "weight_decay": weight_decay, "damping": damping})
        self._observer = model.register_forward_pre_hook(self._observe)

    def layers(self) -> dict[str, nn.Linear]:
        """The layers that are preconditioned, by their names in the model."""
        return {name: layer.module for name, layer in self._layers.items()}

    def approximations(self) -> dict[str, KroneckerSum]:
        """Every layer's current F̂, undamped; empty before the first step."""
        return {n: la.approximation for n, la in self._layers.items() if la.approximation is not None}

    def samples(self) -> dict[str, LayerSamples]:
        """Every layer's samples of the last curvature batch; empty before the first step."""
        return {n: la.samples for n, la in self._layers.items() if la.samples is not None}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step on the gradients at hand, refreshing the curvature when that is due.

        Args:
            closure: recomputes the loss and its gradients, as in `torch.optim.Optimizer.step`.

        Raises:
            RuntimeError: a refresh is due and the model has not been called in training mode.
            IndefiniteError: the guard is "raise" and a damped sum is not positive definite.

        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._iteration % self.statistics_every == 0:
            with self.phase("curvature"):
                self._refresh_statistics()
        if self._iteration % self.inverse_every == 0:
            with self.phase("inversion"):
                self._refresh_inverses()
        with self.phase("update"):
            self._update()
            self._fallback_update()
        self._iteration += 1
        return loss

    def _observe(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled() and module.training:
            self._inputs = arguments

    def _curvature_inputs(self) -> list[Any]:
        """A random part of the last batch, without replacement."""
        if self._inputs is None:
            raise RuntimeError(
                "a curvature refresh is due, but the model has not been called with gradients in training mode"
            )
        n = next(len(x) for x in self._inputs if isinstance(x, torch.Tensor))
        share = self.curvature_batch * n if self.curvature_batch <= 1 else self.curvature_batch
        size = min(n, max(1, round(share)))
        chosen = torch.randperm(n, generator=self._cpu_generator)[:size]
        return [
            x.detach()[chosen.to(x.device)] if isinstance(x, torch.Tensor) and len(x) == n else x for x in self._inputs
        ]

    def _refresh_statistics(self) -> None:
        inputs = self._curvature_inputs()
        taken = capture(self.model, inputs, self.likelihood, self._device_generator, self.layers())
        self._refreshes += 1
        rho = min(1 - 1 / self._refreshes, self.decay)
        for name, layer in self._layers.items():
            layer.samples = taken[name]
            layer.approximation = _average(layer.approximation, fit(self.approximation, taken[name]), rho)

    def _refresh_inverses(self) -> None:
        damping = self.param_groups[0]["damping"]
        for layer in self._layers.values():
            assert layer.approximation is not None, "statistics are refreshed first, at iteration 0"
            layer.inverse = layer.approximation.inverse(damping, rule=self.damping_rule, guard=self.guard)

    def _update(self) -> None:
        group = self.param_groups[0]
        gradients = [layer.gradient() for layer in self._layers.values()]
        steps = [
            layer.inverse(gradient)
            for layer, gradient in zip(self._layers.values(), gradients, strict=True)
            if layer.inverse is not None
        ]
        if self.step_rule == "kl_clip":
            total = torch.stack([(g * s).sum().abs() for g, s in zip(gradients, steps, strict=True)]).sum()
            torch._foreach_mul_(steps, (self.kl_clip / (total + 1e-30)).sqrt().clamp(max=1))
        for layer, step in zip(self._layers.values(), steps, strict=True):
            if layer.momentum is None:
                layer.momentum = step
            else:
                layer.momentum.mul_(group["momentum"]).add_(step)
            if group["weight_decay"]:
                for parameter in layer.parameters:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
            layer.add(layer.momentum, -group["lr"])

    def _fallback_update(self) -> None:
        for group in self.param_groups[1:]:
            parameters = [p for p in group["params"] if p.grad is not None]
            states = [self.state[p] for p in parameters]
            for parameter, state in zip(parameters, states, strict=True):
                if not state:
                    state["step"] = torch.zeros(())
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
            adam(
                parameters,
                [p.grad for p in parameters if p.grad is not None],
                [s["exp_avg"] for s in states],
                [s["exp_avg_sq"] for s in states],
                [],
                [s["step"] for s in states],
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=1e-8,
                maximize=False,
                decoupled_weight_decay=True,
            )


def _average(past: KroneckerSum | None, new: KroneckerSum, rho: float) -> KroneckerSum:
    """ρ·past + (1 − ρ)·new, factor by factor; a later term's sign is first aligned with its past."""
    if past is None:
        return new
    terms = []
    for index, ((a, b), (new_a, new_b)) in enumerate(zip(past.terms, new.terms, strict=True)):
        sign = 1.0
        if index and (torch.sum(a * new_a) + torch.sum(b * new_b)) < 0:
            sign = -1.0
        terms.append((a.lerp(sign * new_a, 1 - rho), b.lerp(sign * new_b, 1 - rho)))
    return KroneckerSum(tuple(terms))


def _require(name: str, value: float | None, holds: bool) -> None:
    if not holds:
        raise ValueError(f"invalid {name}: {value}")


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
