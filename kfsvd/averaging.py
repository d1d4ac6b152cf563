"""The running average of a layer's curvature over refreshes.

`factors`  F̂ ← ρ F̂ + (1 − ρ) F̂_new, factor by factor, a later pair's sign aligned with its past: the published rule.
           The average of factors is not the fit of the averaged Fisher block.
`stream`   one warm power step of each singular pair folded into the average (`SingularPairs.stream`).
`samples`  the curvature batches of the last refreshes are kept as weighted samples, weights decaying by ρ, and F̂ is
           fitted to the averaged Fisher block itself: as many whole batches as make 1,500 samples, at least one.

ρ = min(1 − 1/k, decay) at the k-th refresh, so that the first is taken as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from kfsvd.linalg.finite import all_finite
from kfsvd.network.samples import LayerSamples, merged
from kfsvd.options.choices import Averaging

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.approximations.base import Approximation
    from kfsvd.curvature.base import Curvature


WINDOW = 1500
"""Samples that `averaging="samples"` keeps at most, beyond the newest batch: the Gram form's solve stays cheap."""


class RunningCurvature:
    """One layer's F̂ and all that its average needs.

    Args:
        approximation: the method that fits F̂.
        averaging: "factors", "stream" or "samples".
        decay: the largest weight ρ of the past.

    Raises:
        ValueError: no averaging has that name, or the method is not made for it.

    """

    def __init__(self, approximation: Approximation, averaging: Averaging, decay: float) -> None:
        if averaging not in get_args(Averaging):
            raise ValueError(f"averaging must be one of {', '.join(get_args(Averaging))}; got {averaging!r}")
        if averaging not in approximation.averagings:
            raise ValueError(
                f"{approximation.name} takes averaging {' or '.join(approximation.averagings)}; got {averaging!r}"
            )
        self.approximation, self.averaging, self.decay = approximation, averaging, decay
        self.curvature: Curvature | None = None
        self.forget()

    def forget(self) -> None:
        """Start anew."""
        self.refreshes = 0
        self.curvature = None
        self._window: list[LayerSamples] = []  # newest last

    def refresh(self, samples: LayerSamples) -> None:
        """Take a new curvature batch into the average.

        Raises:
            FloatingPointError: the samples or the new average are not finite; the old one stays.

        """
        _require_finite(samples.activations, samples.gradients)
        window = self._window
        rho = min(1 - 1 / (self.refreshes + 1), self.decay)
        if self.averaging == "samples":
            kept = max(1, WINDOW // len(samples)) if self.decay > 0 else 1
            window = [*window, samples][-kept:]
            curvature = self.approximation.fit(self._pooled(window))
        elif self.curvature is None:
            curvature = self.approximation.fit(samples)
        elif self.averaging == "factors":
            curvature = self.approximation.average(self.curvature, samples, rho)
        else:
            curvature = self.approximation.stream(self.curvature, samples, rho)
        _require_finite(*curvature.tensors().values())
        self.refreshes += 1
        self.curvature, self._window = curvature, window

    def _pooled(self, window: list[LayerSamples]) -> LayerSamples:
        """The window's samples with weights ∝ decay^age."""
        if len(window) == 1:
            return window[0]
        ages = range(len(window) - 1, -1, -1)
        total = sum(self.decay**age for age in ages)
        return merged(window, [self.decay**age / total for age in ages])

    def state(self) -> dict[str, Any]:
        """Everything that the average goes on from, as plain tensors and numbers."""
        return {
            "refreshes": self.refreshes,
            "curvature": None if self.curvature is None else self.curvature.tensors(),
            "window": [
                {"activations": s.activations, "gradients": s.gradients, "weights": s.weights} for s in self._window
            ],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.refreshes = state["refreshes"]
        tensors = state["curvature"]
        self.curvature = None if tensors is None else self.approximation.curvature.from_tensors(tensors)
        self._window = [LayerSamples(**samples) for samples in state["window"]]


def _require_finite(*tensors: Tensor) -> None:
    if not all_finite(tensors):
        raise FloatingPointError("the curvature of a layer is not finite: activations or gradients are out of range")
