"""KFAC's cost beside every peer that pip can install, on the MNIST autoencoder: ratios within one process alone.

    pip install --no-deps --requirement tests/benchmarks/peers.txt
    pytest tests/benchmarks/test_peers.py -s

Whole iterations: forward and backward pass, preconditioning, heavy ball, and at every tenth new statistics and
inverses. Ours has the peer's settings: batch, share of it for the curvature, kind of Fisher matrix, damping, and a
running average only where the peer has one. What a peer cannot match, its class says.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import statistics
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from torch import nn

from kfsvd import KFAC, negative_log_likelihood
from kfsvd.options.natural_gradient import Options
from tests.benchmarks.networks import DAMPING, NETWORKS, seconds

if TYPE_CHECKING:
    from torch import Tensor

BAR = 0.7
NETWORK = NETWORKS["mnist"]
REFRESH_EVERY = 10
ROUNDS = 9
COLUMNS = ("step", "plain", "refresh")
"""An iteration with a tenth of a refresh; one without; one with."""
NEVER = 10**9

OURS: dict[str, dict[str, Any]] = {"default": {}, "low rank": {"inverse": "low_rank"}}
"""Our variants: options over the settings that are the peer's. One that KFAC does not take is left out."""

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.cholesky is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning"),
    pytest.mark.filterwarnings("ignore:This model contains ReLU:UserWarning"),
]


class Loop(ABC):
    """A training loop, to be run an iteration at a time; the first, with a refresh, is made at once."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.model, self.data = NETWORK.model(), NETWORK.data()
        self.parameters = list(self.model.parameters())
        self.prepare()
        self.iterate(refresh=True)

    @abstractmethod
    def prepare(self) -> None: ...

    @abstractmethod
    def iterate(self, *, refresh: bool) -> None: ...

    def backward(self) -> None:
        NETWORK.backward(self.model, self.data)

    def costs(self) -> dict[str, float]:
        """Seconds by column."""
        plain = min(seconds(partial(self.iterate, refresh=False)) for _ in range(3))
        refresh = seconds(partial(self.iterate, refresh=True))
        return {"step": plain + (refresh - plain) / REFRESH_EVERY, "plain": plain, "refresh": refresh}


class Peer(Loop):
    """Of another library; `settings` are ours that match it."""

    distribution: ClassVar[str]
    module: ClassVar[str]
    shares: ClassVar[tuple[float, ...]] = (1.0,)
    settings: ClassVar[dict[str, Any]] = {"fisher": "monte_carlo", "decay": 0.0}

    def __init__(self, share: float) -> None:
        self.package: Any = importlib.import_module(self.module)
        super().__init__(share)

    def part(self) -> Tensor:
        """The examples that curvature is taken of."""
        count = len(self.data)
        return self.data[torch.randperm(count)[: round(self.share * count)]]


class SteppedPeer(Peer):
    """One that preconditions gradients and leaves the step to torch."""

    loss_scale = 1.0
    """Its loss over the mean over examples of the summed one."""

    def prepare(self) -> None:
        self.sgd = torch.optim.SGD(self.parameters, lr=1e-5 * self.loss_scale, momentum=0.9)

    def step(self, directions: list[Tensor]) -> None:
        for parameter, direction in zip(self.parameters, directions, strict=True):
            parameter.grad = direction
        self.sgd.step()


class Singd(Peer):
    """Inverse-free: K Kᵀ ≈ A⁻¹ is moved along. Four products to precondition; of the empirical Fisher matrix alone."""

    distribution, module = "singd", "singd.optim.optimizer"
    settings: ClassVar = {"fisher": "empirical"}

    def prepare(self) -> None:
        own = {"lr": 1e-5, "momentum": 0.9, "damping": DAMPING}
        self.optimizer = self.package.SINGD(self.model, **own, kfac_like=True, alpha1=0.0, lr_cov=1e-4)

    def iterate(self, *, refresh: bool) -> None:
        for group in self.optimizer.param_groups:
            group["T"] = 1 if refresh else NEVER
        self.backward()
        self.optimizer.step()


class Asdl(SteppedPeer):
    """Without its running average, which needs torch for CUDA. Biases apart; Gaussian labels, for want of Bernoulli."""

    distribution, module = "asdfghjkl", "asdl"
    swift: ClassVar[bool] = False

    def prepare(self) -> None:
        super().prepare()
        self.config = self.package.PreconditioningConfig(data_size=len(self.data), damping=DAMPING)
        kind = {"monte_carlo": "fisher_mc", "empirical": "fisher_emp"}[self.settings["fisher"]]
        options = {"fisher_type": kind, "loss_type": "mse", "swift": self.swift}
        self.maker = self.package.KfacGradientMaker(self.model, self.config, **options)

    def iterate(self, *, refresh: bool) -> None:
        self.config.preconditioner_upd_interval = 1 if refresh else NEVER
        self.sgd.zero_grad()
        outputs = self.maker.setup_model_call(self.model, self.data)
        self.maker.setup_loss_call(bernoulli_loss, outputs, self.data)
        self.maker.forward_and_backward()
        self.sgd.step()


def bernoulli_loss(outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    losses = negative_log_likelihood("bernoulli", outputs, targets)
    return losses.sum() if reduction == "sum" else losses.mean()


class AsdlEmpirical(Asdl):
    """Its statistics cost no backward pass of their own."""

    settings: ClassVar = {"fisher": "empirical", "decay": 0.0}


class AsdlSwift(Asdl):
    """With Woodbury's identity where a layer is wider than the batch."""

    swift = True


class AsdlSwiftEmpirical(AsdlEmpirical):
    """Both."""

    swift = True


class Curvlinops(SteppedPeer):
    """Linear operators, made into a step here."""

    distribution, module = "curvlinops-for-pytorch", "curvlinops"
    shares = (1.0, 0.25)
    loss_scale = 1 / NETWORK.encoder[0]  # a mean over outputs, too

    def iterate(self, *, refresh: bool) -> None:
        self.backward()
        if refresh:
            part = self.part()
            factors = self.package.KFACLinearOperator(
                self.model,
                nn.BCEWithLogitsLoss(),
                self.parameters,
                [(part, part)],
                check_deterministic=False,
                num_per_example_loss_terms=1,
                separate_weight_and_bias=False,
                num_data=len(part),
            )
            damping = DAMPING * self.loss_scale
            self.inverse = self.package.KFACInverseLinearOperator(factors, damping, use_heuristic_damping=True)
        self.step(self.inverse @ [p.grad for p in self.parameters])


class NNGeometry(SteppedPeer):
    """Matrices of any function of the outputs, made into a step here."""

    distribution, module = "nngeometry", "nngeometry"
    shares = (1.0, 0.25)

    def prepare(self) -> None:
        super().prepare()
        objects, backend, collection = (
            importlib.import_module(f"nngeometry.{name}") for name in ("object", "backend", "layercollection")
        )
        self.matrix, self.vector = objects.PMatKFAC, objects.PVector
        layers = collection.LayerCollection.from_model(self.model)
        self.generator = backend.TorchHooksJacobianBackend(self.model, self.sampled_loss, layer_collection=layers)

    def sampled_loss(self, inputs: Tensor) -> Tensor:
        """Of labels from the model's own predictions."""
        outputs = self.model(inputs)
        return negative_log_likelihood("bernoulli", outputs, torch.bernoulli(outputs.detach().sigmoid()))

    def iterate(self, *, refresh: bool) -> None:
        self.backward()
        if refresh:
            self.inverse = self.matrix(self.generator, examples=(self.part(),)).inverse(regul=DAMPING)
        directions = self.inverse.mv(self.vector.from_model_grad(self.model)).to_dict()
        self.step([part for layer in directions.values() for part in layer])


class ApproxNGD(Peer):
    """Inverts at every step; only the statistics, of the empirical Fisher matrix, wait for a refresh."""

    distribution, module = "approxngd", "approxngd"
    settings: ClassVar = {"fisher": "empirical"}

    def prepare(self) -> None:
        self.optimizer = self.package.KFAC(self.model, 1e-5, DAMPING, update_cov_manually=True)

    def iterate(self, *, refresh: bool) -> None:
        self.model.zero_grad(set_to_none=True)
        if refresh:
            with self.optimizer.track_forward(), self.optimizer.track_backward():
                self.backward()
            self.optimizer.update_cov()
        else:
            self.backward()
        self.optimizer.step()


class Ours(Loop):
    def __init__(self, share: float, options: dict[str, Any]) -> None:
        self.options: dict[str, Any] = {"lr": 1e-5, "damping": DAMPING, "curvature_batch": share, **options}
        super().__init__(share)

    def prepare(self) -> None:
        self.optimizer = KFAC(self.model, NETWORK.likelihood, refresh_every=REFRESH_EVERY, **self.options)

    def iterate(self, *, refresh: bool) -> None:
        self.optimizer._iteration = 0 if refresh else 1
        self.backward()
        self.optimizer.step()


PEERS: tuple[type[Peer], ...] = (
    Singd,
    Asdl,
    AsdlEmpirical,
    AsdlSwift,
    AsdlSwiftEmpirical,
    Curvlinops,
    NNGeometry,
    ApproxNGD,
)


@pytest.mark.parametrize(
    ("peer", "share"), [pytest.param(p, s, id=f"{p.__name__}-{s}") for p in PEERS for s in p.shares]
)
def test_a_step_costs_at_most_seven_tenths_of_a_peers(peer: type[Peer], share: float) -> None:
    """Of every peer's, and so of the fastest's; by the cheapest of our variants."""
    pytest.importorskip(peer.module, reason=f"{peer.distribution} is not installed: see tests/benchmarks/peers.txt")
    known = Options.__required_keys__ | Options.__optional_keys__
    variants = {name: options for name, options in OURS.items() if options.keys() <= known}
    theirs = peer(share)
    ours = {name: Ours(share, peer.settings | options) for name, options in variants.items()}
    rounds: list[dict[str, dict[str, float]]] = []
    loops = {"theirs": theirs, **ours}
    for number in range(ROUNDS):
        names = list(loops) if number % 2 else list(reversed(loops))
        rounds.append({name: loops[name].costs() for name in names})
    assert all(bool(torch.isfinite(p).all()) for loop in loops.values() for p in loop.parameters)
    version = importlib.metadata.version(peer.distribution)
    milliseconds = "".join(f"{1e3 * statistics.median(r['theirs'][c] for r in rounds):9.0f}" for c in COLUMNS)
    print(f"\n{peer.__name__} ({peer.distribution} {version}), {peer.settings['fisher']} on {share:g} of the batch")
    print(f"{'':16}" + "".join(f"{column:>9}" for column in COLUMNS))
    print(f"{'theirs, ms':16}{milliseconds}")
    steps: dict[str, float] = {}
    for name in ours:
        quotients = {c: statistics.median(r[name][c] / r["theirs"][c] for r in rounds) for c in COLUMNS}
        steps[name] = quotients["step"]
        print(f"{name:16}" + "".join(f"{quotients[c]:9.2f}" for c in COLUMNS))
    assert min(steps.values()) <= BAR
