"""The natural-gradient optimizer that all curvature approximations share.

The model it steps on. With F the Fisher matrix of the loss h (nats per example) at the weights θ, one step minimises

    h(θ) + ∇hᵀδ + ½ δᵀ(F̂ + λI)δ        F̂   block diagonal, one approximation per layer (kfsvd.approximations)
                                        λ   damping (kfsvd.inverse.damped says how it enters)
    Δ = (F̂ + λI)⁻¹ ∇h                   the natural gradient

and steps by one of the rules

    kl_clip           v ← μ v + ν Δ,  ν = min(1, √(c / Σ_l |⟨∇h_l, Δ_l⟩|)): keeps the step's own KL divergence near c
    adam_norm         v_l ← μ v_l + (‖Adam's step_l‖/‖Δ_l‖) Δ_l    Adam's length in every layer ("grafting")
    sgd_norm          v_l ← μ v_l + (‖∇h_l‖/‖Δ_l‖) Δ_l              the gradient's
    none              v ← μ v + Δ
    quadratic_model   v ← α Δ + μ v,  α and μ from the quadratic model with the exact F (kfsvd.optimizers.quadratic)
    θ ← (1 − η w) θ − η v             learning rate η, decoupled weight decay w

F̂ is refreshed on a random part of the inputs that the model saw last, with labels sampled from the model itself (the
true Fisher matrix, unless another `fisher` is asked for), and averaged with its past (kfsvd.averaging).
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack

import torch
from torch import nn

from kfsvd.approximations import Approximation, approximation
from kfsvd.averaging import RunningCurvature
from kfsvd.curvature.kronecker_sum import KroneckerSum, damped_inverses
from kfsvd.linalg.finite import all_finite
from kfsvd.network.capture import capture, original
from kfsvd.network.layers import has_trained_bias, supported_layers
from kfsvd.network.likelihoods import likelihood_named
from kfsvd.optimizers.base import LayerOptimizer
from kfsvd.optimizers.checkpoint import plain, restored
from kfsvd.optimizers.checks import refuse_parallel
from kfsvd.optimizers.fallback import adam_step
from kfsvd.optimizers.layer import PreconditionedLayer, by_name
from kfsvd.optimizers.quadratic import LM_EVERY, QuadraticModel, damping_after
from kfsvd.optimizers.scaling import AdamMoments, clipped, grafted
from kfsvd.options.choices import Averaging, DampingRule, StepRule
from kfsvd.options.declare import completed
from kfsvd.options.natural_gradient import Options
from kfsvd.options.objects import CurvatureBatch, Damping, KLClip, LearningRate, LowRank, Refresh

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from kfsvd.curvature.base import Curvature
    from kfsvd.inverse.damped import DampedInverse, Direction
    from kfsvd.network.layers import SupportedModule
    from kfsvd.network.samples import LayerSamples
    from kfsvd.optimizers.observer import Call
    from kfsvd.options.choices import Averaging, DampingRule, StepRule

_APART = 1_000_003
"""Between the seeds of labels of one iteration and the next, where a checkpoint comes from another kind of device."""


class NaturalGradient(LayerOptimizer):
    """Natural gradient with an approximation of the Fisher matrix; drop-in for a torch training loop.

    `Linear` and `Conv2d` layers are preconditioned. Every other trainable parameter is updated by Adam
    (`fallback_lr`), as a second parameter group; a warning names them once, and why.

    Args:
        model: the network that the training loop calls; its inputs are observed by a forward hook.
        likelihood: what the outputs mean: "bernoulli" (logits), "gaussian" (means), "categorical" (logits). The loss
            that is minimised must be its negative log-likelihood, summed over outputs and averaged over the batch.
        approximation: how the Fisher matrix is approximated: a name in `kfsvd.APPROXIMATIONS`, or an `Approximation`.
        options: those below. Where few need more than a plain value, a small object takes its place, such as
            `damping=kfsvd.Damping(0.1, rule="exact")`; the object's parts may also be given by their flat names, as in
            specifications: `damping_rule="exact"`.

    Raises:
        ValueError: an option out of range or that the approximation does not take, or a model without any supported
            layer.
        TypeError: a model in DataParallel or DistributedDataParallel.

    Source: Koroko et al. 2022 (arXiv 2201.10285); Martens & Grosse 2015 (arXiv 1503.05671).

    """

    declares: ClassVar[type[Any]] = Options
    keep_samples = False
    """Whether the samples of the last curvature batch are kept for `samples()`: memory that no step needs."""

    def __init__(
        self,
        model: nn.Module,
        likelihood: str,
        *,
        approximation: str | Approximation,
        **options: Unpack[Options],
    ) -> None:
        refuse_parallel(model)
        self.approximation = _approximation(approximation)
        self.options = completed(type(self).__name__, self.declares, options, self.published)
        """Every option of the optimizer, as it was made."""
        rates: LearningRate = self.options["lr"]
        refresh: Refresh = self.options["refresh_every"]
        self.damping: Damping = self.options["damping"]
        self.inverse: Literal["dense"] | LowRank = self.options["inverse"]
        self.curvature_batch: CurvatureBatch = self.options["curvature_batch"]
        self.step_rule: StepRule | KLClip = self.options["step_rule"]
        self.averaging: Averaging = self.options["averaging"]
        self.decay: float = self.options["decay"]
        check_forms(self.approximation, self.damping, self.inverse)
        layers = supported_layers(original(model))
        if not layers:
            raise ValueError("the model has no Linear or Conv2d layer that is supported: nothing to precondition")
        self._layers = {
            name: PreconditionedLayer(module, RunningCurvature(self.approximation, self.averaging, self.decay))
            for name, module in layers.items()
        }
        self.likelihood = likelihood
        self.damping_rule: DampingRule = self.damping.rule or self.approximation.damping_rules[0]
        self.refresh_tolerance = refresh.tolerance
        self.statistics_every, self.inverse_every = refresh.statistics_every, refresh.inverse_every
        self._samples: Mapping[str, LayerSamples] = {}
        self._inverse_damping = self.damping.value  # λ that the inverses were last prepared with
        self._seed: int = self.options["seed"]
        self._cpu_generator = torch.Generator().manual_seed(self._seed)
        self._device_generator = torch.Generator(next(model.parameters()).device).manual_seed(self._seed + 1)
        own = [p for layer in self._layers.values() for p in layer.parameters]
        super().__init__(
            model,
            own,
            (),
            f"updated by Adam with lr={rates.fallback}, not by natural gradient",
            lr=self._default_lr() if rates.own is None else rates.own,
            fallback_lr=rates.fallback,
            defaults={
                "momentum": self.options["momentum"],
                "weight_decay": self.options["weight_decay"],
                "damping": self.damping.value,
            },
        )
        # here, for it imports torch's compiler, which torch's own optimizers load when one is made: a second or more
        from kfsvd.optimizers.observer import Observer

        needs_labels = self.curvature_batch.fisher == "empirical" or self.step_rule == "quadratic_model"
        self._observer = Observer(model, likelihood_named(likelihood) if needs_labels else None)

    def _default_lr(self) -> float:
        """The step size where none is given."""
        if isinstance(self.step_rule, KLClip):
            return 0.3
        return {"quadratic_model": 1.0, "adam_norm": 1e-3, "sgd_norm": 1e-3}.get(self.step_rule, 0.3)

    def layers(self) -> dict[str, SupportedModule]:
        """The layers that are preconditioned, by their names in the model."""
        return {name: layer.module for name, layer in self._layers.items()}

    def approximations(self) -> dict[str, Curvature]:
        """Every layer's current F̂, undamped; empty before the first step."""
        return {n: la.running.curvature for n, la in self._layers.items() if la.running.curvature is not None}

    def samples(self) -> dict[str, LayerSamples]:
        """Every layer's samples of the last curvature batch; empty before the first, and again once a state is loaded.

        Raises:
            RuntimeError: they are not kept; see `keep_samples`.

        """
        if not self.keep_samples:
            raise RuntimeError("samples are not kept: set optimizer.keep_samples = True before the first step")
        return dict(self._samples)

    def inverses(self) -> dict[str, DampedInverse]:
        """Every layer's damped inverse, as last prepared; empty before the first step."""
        return {n: la.inverse for n, la in self._layers.items() if la.inverse is not None}

    def precondition(self) -> dict[str, Tensor]:
        """Δ = (F̂ + λI)⁻¹ ∇h of the gradients at hand, (d_out, d_in) by layer, with the inverses as last prepared.

        Layers without a gradient are left out.

        Raises:
            RuntimeError: before the first step.

        """
        if self._iteration == 0:
            raise RuntimeError("no curvature is at hand before the first step")
        layers = {name: layer for name, layer in self._layers.items() if layer.active}
        gradients = [layer.gradient() for layer in layers.values()]
        directions = self._directions(list(layers.values()), gradients)
        return {name: direction.matrix() for name, direction in zip(layers, directions, strict=True)}

    def detach(self) -> None:
        """Take the optimizer's hooks from the model; it can make no further step."""
        self._observer.remove()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step on the gradients at hand, refreshing the curvature when that is due.

        Args:
            closure: recomputes the loss and its gradients, as in `torch.optim.Optimizer.step`.

        Raises:
            RuntimeError: a refresh is due and the model has not been called in training mode; a bias was frozen; or
                after `detach`.
            FloatingPointError: gradients or outputs that are not finite; the weights are left as they are. On a GPU
                gradients are waited for at refreshes alone, and count as zero until then where they are not finite.
            IndefiniteError: the guard is "raise" and a damped sum is not positive definite.

        """
        if self._observer.removed:
            raise RuntimeError("the optimizer has been detached from its model and can make no further step")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._check_biases()
        with torch.autocast(self._device_generator.device.type, enabled=False):
            new_statistics, new_inverses = (e.due(self._iteration) for e in (self.statistics_every, self.inverse_every))
            finite = self._look_at_gradients(now=self._synchronous or new_statistics or new_inverses)
            if new_statistics:
                with self.phase("curvature"):
                    self._refresh_statistics()
            if new_inverses:
                with self.phase("inversion"):
                    self._refresh_inverses()
            with self.phase("update"):
                self._update(finite)
            self._after_update()
        self._iteration += 1
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Torch's own, and under "natural_gradient" all curvature, momenta, counters and generators.

        Loaded into an optimizer that was made with the same options on the same model, training goes on bit for bit.
        """
        layers = {
            name: {
                "running": layer.running.state(),
                "inverse": self._inverse_state(layer),
                "inverted": layer.inverted,
                "momentum": layer.momentum,
                "moments": plain(layer.moments),
            }
            for name, layer in self._layers.items()
        }
        own = {
            "approximation": self.approximation.name,
            "iteration": self._iteration,
            "inverse_damping": self._inverse_damping,
            "cpu_generator": self._cpu_generator.get_state(),
            "device_generator": self._device_generator.get_state(),
            "layers": layers,
        }
        return {**super().state_dict(), "natural_gradient": own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`; one from another kind of device goes on with other sampled labels.

        Raises:
            ValueError: the state is of another kind of optimizer, or of other layers.

        """
        own = state_dict.get("natural_gradient")
        if own is None or own["layers"].keys() != self._layers.keys():
            raise ValueError("the state is not one of a natural-gradient optimizer on the same layers")
        if own["approximation"] != self.approximation.name:
            raise ValueError(f"a state of {own['approximation']} cannot be loaded into {self.approximation.name}")
        torchs = {name: value for name, value in state_dict.items() if name != "natural_gradient"}
        super().load_state_dict(deepcopy(torchs))  # torch keeps tensors of the dict, and would step on them
        self._iteration, self._inverse_damping = own["iteration"], own["inverse_damping"]
        self._cpu_generator.set_state(own["cpu_generator"].cpu())
        drawn = own["device_generator"].cpu()
        if drawn.shape == self._device_generator.get_state().shape:
            self._device_generator.set_state(drawn)
        else:  # a CPU's generator and a GPU's know nothing of each other's state
            self._device_generator.manual_seed((self._seed + 1 + _APART * (self._iteration + 1)) % 2**63)
        for name, layer in self._layers.items():
            state = restored(own["layers"][name], layer.module.weight.device)
            layer.running.load(state["running"])
            layer.inverse, layer.inverted = state["inverse"], state["inverted"]
            layer.momentum, layer.moments = state["momentum"], state["moments"]
        self._samples = {}

    def _check_biases(self) -> None:
        for name, layer in self._layers.items():
            if has_trained_bias(layer.module) != layer.with_bias and not layer.frozen:
                raise RuntimeError(
                    f"the bias of layer {name!r} was frozen or released since the optimizer was made, which changes "
                    "the size of its curvature: make a new optimizer"
                )

    def _refresh_statistics(self) -> Mapping[str, LayerSamples]:
        """Take a new curvature batch into every layer's average, and return its samples."""
        layers = {name: layer for name, layer in self._layers.items() if not layer.frozen}
        for layer in self._layers.values():
            if layer.frozen:
                layer.running.forget()
        taken = self._captured(self._drawn_call(), layers) if layers else {}
        for name, layer in layers.items():
            layer.running.refresh(taken[name])
        self._samples = taken if self.keep_samples else {}
        return taken

    def _drawn_call(self) -> Call:
        """The part of the model's last call that a curvature batch is made of, drawn anew."""
        call = self._observer.call
        return call.part(self.curvature_batch.of(len(call)), self._cpu_generator)

    def _captured(self, call: Call, layers: Mapping[str, PreconditionedLayer]) -> dict[str, LayerSamples]:
        """Samples of some layers at the weights as they are."""
        return capture(
            self.model,
            call.arguments,
            self.likelihood,
            self._device_generator,
            {name: layer.module for name, layer in layers.items()},
            keywords=call.keywords,
            fisher=self.curvature_batch.fisher,
            fisher_samples=self.curvature_batch.labels,
            targets=call.targets,
        )

    def _after_update(self) -> None:
        """For methods that learn from the step itself."""

    def _refresh_inverses(self) -> None:
        damping = self.param_groups[0]["damping"]
        same_damping, self._inverse_damping = damping == self._inverse_damping, damping
        due: list[tuple[PreconditionedLayer, Curvature]] = []
        for layer in self._layers.values():
            if layer.running.curvature is None:
                layer.inverse = layer.inverted = None
            elif not (same_damping and layer.moved() <= self.refresh_tolerance):
                due.append((layer, layer.running.curvature))
        for (layer, curvature), inverse in zip(due, self._prepared(due), strict=True):
            layer.inverse = inverse
            layer.inverted = curvature.tensors() if self.refresh_tolerance else None

    def _prepared(self, due: Sequence[tuple[PreconditionedLayer, Curvature]]) -> list[DampedInverse]:
        """The damped inverses of some layers' F̂; those of low rank are looked for from the past ones on."""
        damping, rule, guard, pi = self._inverse_damping, self.damping_rule, self.damping.guard, self.damping.pi
        if not isinstance(self.inverse, LowRank):
            return damped_inverses([curvature for _, curvature in due], damping, rule=rule, guard=guard, pi=pi)
        found = []
        for layer, curvature in due:
            assert isinstance(curvature, KroneckerSum)
            tolerance, past = self.inverse.tolerance, layer.inverse
            found.append(
                curvature.low_rank_inverse(damping, rule=rule, guard=guard, pi=pi, tolerance=tolerance, start=past)
            )
        return found

    def _inverse_state(self, layer: PreconditionedLayer) -> Any:
        return plain(layer.inverse)

    def _directions(self, layers: Sequence[PreconditionedLayer], gradients: Sequence[Tensor]) -> list[Direction]:
        """(F̂ + λI)⁻¹ ∇h of some layers."""
        return [
            layer.inverse.direction(gradient)
            for layer, gradient in zip(layers, gradients, strict=True)
            if layer.inverse is not None
        ]

    def _look_at_gradients(self, *, now: bool) -> Tensor | None:
        """Raise if one is not finite; see `_look`."""
        finite = all_finite(p.grad for g in self.param_groups for p in g["params"] if p.grad is not None)
        return self._look(finite, now=now, complaint="a gradient is not finite")

    def _update(self, finite: Tensor | None = None) -> None:
        """A step; where `finite` is given and false, on gradients of zero."""
        layers = [layer for layer in self._layers.values() if layer.active]
        gradients = [layer.gradient() for layer in layers]
        if finite is not None:
            gradients = [torch.where(finite, gradient, 0) for gradient in gradients]
        if layers:
            directions = self._directions(layers, gradients)
            if self.step_rule == "quadratic_model":
                self._quadratic_step(layers, gradients, [direction.matrix() for direction in directions])
            else:
                self._momentum_step(layers, gradients, directions)
        for group in self.param_groups[1:]:
            adam_step(group, self.state, finite)

    def _momentum_step(
        self, layers: list[PreconditionedLayer], gradients: list[Tensor], directions: list[Direction]
    ) -> None:
        """Heavy ball: v ← μ v + ν Δ, ν by the step rule."""
        if isinstance(self.step_rule, KLClip):
            scales = [clipped(directions, self.step_rule.limit)] * len(layers)
        elif self.step_rule == "none":
            scales = [gradients[0].new_ones(())] * len(layers)
        else:
            parts = zip(layers, gradients, directions, strict=True)
            scales = [grafted(direction, self._reference(layer, gradient)) for layer, gradient, direction in parts]
        for layer, direction, scale in zip(layers, directions, scales, strict=True):
            if layer.momentum is None:
                layer.momentum = torch.zeros_like(layer.gradient())
            direction.add_to(layer.momentum, self.param_groups[0]["momentum"], scale)
        self._move(layers)

    def _reference(self, layer: PreconditionedLayer, gradient: Tensor) -> Tensor:
        """The length that a layer's direction is given: of Adam's step, or of the gradient."""
        if self.step_rule == "sgd_norm":
            length: Tensor = torch.linalg.vector_norm(gradient)
            return length
        if layer.moments is None:
            layer.moments = AdamMoments.zeros(gradient)
        return layer.moments.length(gradient)

    def _quadratic_step(self, layers: list[PreconditionedLayer], gradients: list[Tensor], steps: list[Tensor]) -> None:
        """The step v ← α Δ + μ v at the quadratic model's least point; at times λ by how well it predicted."""
        group = self.param_groups[0]
        model = QuadraticModel(original(self.model), likelihood_named(self.likelihood), self._observer.call)
        names = self._parameter_names(layers)
        directions = [by_name(names, layers, steps)]
        if group["momentum"] and all(layer.momentum is not None for layer in layers):
            past = [layer.momentum for layer in layers if layer.momentum is not None]
            directions.append(by_name(names, layers, past))
        minimum = model.minimum(by_name(names, layers, gradients), directions, group["damping"])
        alpha, mu = [*minimum.coefficients.tolist(), 0.0][:2]
        for layer, step in zip(layers, steps, strict=True):
            past_part = 0 if layer.momentum is None else mu * layer.momentum
            layer.momentum = alpha * step + past_part
        self._move(layers)
        if (self._iteration + 1) % LM_EVERY == 0:
            group["damping"] = damping_after(group["damping"], minimum, model.loss(), self.damping.floor)

    def _move(self, layers: Sequence[PreconditionedLayer]) -> None:
        """θ ← (1 − η w) θ − η v."""
        group = self.param_groups[0]
        parameters = [parameter for layer in layers for parameter in layer.parameters]
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, [part for layer in layers for part in layer.velocity()], alpha=-group["lr"])

    def _parameter_names(self, layers: Sequence[PreconditionedLayer]) -> list[list[str]]:
        names = {id(p): name for name, p in original(self.model).named_parameters()}
        return [[names[id(p)] for p in layer.parameters] for layer in layers]


def _approximation(choice: str | Approximation) -> Approximation:
    return choice if isinstance(choice, Approximation) else approximation(choice)


def check_forms(approximation: Approximation, damping: Damping, inverse: Literal["dense"] | LowRank) -> None:
    """Raise a ValueError if the approximation has no such damping rule, or no such inverse."""
    low_rank = isinstance(inverse, LowRank)
    for name, value, choices in (
        ("damping_rule", damping.rule, approximation.damping_rules),
        ("inverse", "low_rank" if low_rank else "dense", approximation.inverses),
    ):
        if value is not None and value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
    if low_rank and damping.rule == "exact":
        raise ValueError("a low-rank inverse takes a factored damping_rule; got 'exact'")
