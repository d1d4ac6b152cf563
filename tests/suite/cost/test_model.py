"""The cost model by its parts: operations held against those that the code does, and arithmetic with made-up rates."""

from __future__ import annotations

import math
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from kfsvd import negative_log_likelihood
from kfsvd.inverse import low_rank_bounds as sides
from kfsvd.optimizers import MATRIX_OPTIMIZERS, OPTIMIZERS
from suite.cost import Cost, Rates, Term, calibrate, inverting, operations, step_cost
from suite.cost.model import known_methods
from suite.cost.operations import Operation
from suite.cost.shapes import network_shape

CALLS = {"forward_backward": 0.06, "curvature": 0.2, "inversion": 0.15, "update": 0.2}
"""How far the calls of a phase are from those that the code makes."""

KINDS = (
    *(f"product thin in {dimension}" for dimension in ("rows", "inner", "columns")),
    "product in bfloat16",
    *("pass", "symmetrised", "function", "draws", "cholesky", "cholesky inverse", "triangular solve", "eigh", "qr"),
)


def rates(call: float = 0.0, **units: float) -> Rates:
    """Seconds of a call, and of a unit of work of the kinds that are named; nothing for the others."""

    class Made(Rates):
        def seconds(self, operation: Operation) -> float:
            return call * operation.calls + operation.work * units.get(operation.kind.split(" ")[0], 0.0)

    return Made(call, {})


def autoencoder(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    modules = [m for i, o in pairwise(widths) for m in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*modules[:-1])


class Counted(TorchDispatchMode):
    """Counts calls, and the operations of products among them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.products = 0, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.calls += 1
        name = function.overloadpacket.__name__
        if name in ("mm", "addmm", "addmm_", "bmm"):
            *_, left, right = args[:3] if name.startswith("addmm") else args[:2]
            self.products += 2 * left.numel() * right.shape[-1]
        return result


def counted(method: str, network: nn.Module, data: torch.Tensor, refreshes: int = 6, **options: Any) -> Any:
    """What a training iteration with a refresh does: calls and operations of products by phase, and the optimizer."""
    if method in MATRIX_OPTIMIZERS:
        optimizer: Any = MATRIX_OPTIMIZERS[method](network, "bernoulli", **options)
    else:
        optimizer = OPTIMIZERS[method](network, "bernoulli", **{"damping": 0.3, "refresh_every": 1} | options)
    found = {phase: Counted() for phase in ("forward_backward", "curvature", "inversion")}

    def backward() -> None:
        optimizer.zero_grad()
        negative_log_likelihood("bernoulli", network(data), data).mean().backward()

    for _ in range(refreshes):
        backward()
        optimizer.step()
    optimizer.phase = lambda name: found.get(name, nullcontext())
    with found["forward_backward"]:
        backward()
    with Counted() as step:
        optimizer.step()
    within = found["curvature"], found["inversion"]
    step.calls -= sum(phase.calls for phase in within)
    step.products -= sum(phase.products for phase in within)
    return {**found, "update": step}, optimizer


def foretold(network: nn.Module, method: str, batch: int, **options: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Calls, and operations of products, by phase."""
    if method in OPTIMIZERS:
        options = {"refresh_every": 1} | options
    calls, products = (
        step_cost(network, method, batch, rates=each, **options) for each in (rates(call=1.0), rates(product=1.0))
    )
    return calls.phases, products.phases


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("kfac", {}),
        ("kfac", {"damping_rule": "exact"}),
        ("kfac", {"step_rule": "adam_norm"}),
        ("kfac", {"fisher": "exact", "curvature_batch": 3}),
        ("kfac", {"fisher_samples": 2}),
        ("kpsvd", {}),
        ("deflation", {}),
        ("deflation", {"averaging": "stream"}),
        ("kfac_corrected", {}),
        ("lanczos", {}),
        ("tkfac", {}),
        ("ekfac", {}),
        ("ekfac", {"basis": "kpsvd"}),
        ("exact", {}),
        ("exact", {"blocks": "layers"}),
        ("foof", {}),
        ("tnt", {}),
        ("eva", {}),
        ("kbfgs", {}),
        ("kbfgs", {"curvature_batch": 0.5}),
        ("two_level_kfac", {}),
        ("two_level_kfac", {"coarse": "nicolaides", "decay": 0.0}),
        ("two_level_kfac", {"coarse": "residual"}),
        ("two_level_kfac", {"coarse": "spectral", "coarse_vectors": 3}),
        ("two_level_kfac", {"coarse": "krylov", "coarse_vectors": 3}),
        ("shampoo", {"inverse_every": 1}),
        ("shampoo", {"inverse_every": 1, "step_rule": "adam_norm", "weight_decay": 0.1}),
        ("shampoo", {"inverse_every": 1, "step_rule": "sgd_norm"}),
        ("shampoo_squared", {"inverse_every": 1}),
        ("swan", {}),
        ("soap", {"refresh_every": 1}),
        ("muon", {}),
        ("muon", {"nesterov": False, "iterations": 3, "hidden_only": True}),
    ],
)
def test_operations_are_those_that_the_code_does(method: str, options: dict[str, Any]) -> None:
    network, data = autoencoder(40, 24, 12, 24, 40), torch.rand(32, 40)
    found, _ = counted(method, network, data, **options)
    calls, products = foretold(network, method, 32, **options)
    for phase, actual in found.items():
        assert calls[phase] == pytest.approx(actual.calls, rel=CALLS[phase]), phase
        assert products[phase] == pytest.approx(actual.products, rel=0.02), phase


def test_operations_of_a_low_rank_inverse_are_those_that_the_code_does() -> None:
    network, data = autoencoder(300, 200, 300), torch.rand(64, 300)
    found, optimizer = counted("kfac", network, data, refreshes=20, inverse="low_rank")
    kept = {name: inverse.ranks for name, inverse in optimizer.inverses().items()}
    calls, products = foretold(network, "kfac", 64, inverse="low_rank", kept=kept)
    for phase, actual in found.items():
        assert calls[phase] == pytest.approx(actual.calls, rel=CALLS[phase]), phase
        assert products[phase] == pytest.approx(actual.products, rel=0.2 if phase == "inversion" else 0.03), phase


def test_a_correction_of_low_rank_steps_makes_matrices_of_them() -> None:
    """The inverses are KFAC's; a step with them is not."""
    network, data = autoencoder(300, 200, 300), torch.rand(64, 300)
    options = {"inverse": "low_rank", "coarse_vectors": 2, "step_rule": "sgd_norm"}
    found, optimizer = counted("two_level_kfac", network, data, **options)
    kept = {name: inverse.ranks for name, inverse in optimizer.inverses().items()}
    calls, products = foretold(network, "two_level_kfac", 64, kept=kept, **options)
    assert calls["update"] == pytest.approx(found["update"].calls, rel=CALLS["update"])
    assert products["update"] == pytest.approx(found["update"].products, rel=1e-6)


def test_operations_of_a_second_product_are_those_that_the_code_does() -> None:
    """How often its bound has to be tightened, the data decide; what it costs, they do not."""
    generator = torch.Generator().manual_seed(0)
    width, kept = 300, 24
    first, second = (m @ m.mT for m in torch.randn(2, width, kept, generator=generator))
    side = sides.damped_side(first, shift=1.0, tolerance=5.0, start=None)
    assert side.vectors.shape == (width, kept)
    with Counted() as whitened:
        found = sides._second(second, side)
    with Counted() as tightened:
        sides._tightened(found, second, side)
    for actual, known in (
        (whitened, inverting._second(width, kept)),
        (tightened, inverting._tightened(width, kept)),
    ):
        work = sum(op.work for op in known if op.kind.startswith("product"))
        assert work == pytest.approx(actual.products, rel=0.03)
        assert sum(op.calls for op in known) == pytest.approx(actual.calls, rel=0.35)


def test_first_order_counts_by_hand() -> None:
    """Linear(3, 2) with 5 examples: 5·3·2 products forward, as many for the weight's gradient, none for the inputs'."""
    network = nn.Linear(3, 2)
    assert step_cost(network, "sgd", 5, rates=rates(product=1.0)).total == 2 * 2 * 5 * 3 * 2
    assert step_cost(nn.Sequential(network, nn.Linear(2, 2)), "sgd", 5, rates=rates(product=1.0)).total == (
        2 * 2 * 5 * 3 * 2 + 3 * 2 * 5 * 2 * 2
    )
    sgd, adam = (step_cost(network, name, 5, rates=rates(**{"pass": 1.0})).phases["update"] for name in ("sgd", "adam"))
    assert (sgd, adam) == (3 * 8, 20 * 8)


def test_natural_gradient_counts_by_hand() -> None:
    """One layer with d_in = 4 (bias included), d_out = 2, every second example of 8."""
    cost = step_cost(nn.Linear(3, 2), "kfac", 8, rates=rates(product=1.0), refresh_every=1, curvature_batch=0.5)
    captured, fitted = 2 * 4 * 3 * 2, 2 * 4 * 4 * 4 + 2 * 2 * 4 * 2
    assert cost.phases["curvature"] == captured + fitted
    assert cost.phases["inversion"] == 0
    assert cost.phases["update"] == 2 * 2 * 2 * 4 + 2 * 2 * 4 * 4
    inverted = step_cost(nn.Linear(3, 2), "kfac", 8, rates=rates(cholesky=3.0), refresh_every=1)
    assert inverted.phases["inversion"] == pytest.approx(3 * (4**3 + 2**3))


def test_other_natural_gradients_count_by_hand() -> None:
    """The same layer and 4 of its examples: a product of (p, q) with (q, r) is 2pqr operations."""
    forward, two_sides = 2 * 4 * 3 * 2, 2 * 2 * 2 * 4 + 2 * 2 * 4 * 4

    def phases(method: str, **options: Any) -> dict[str, float]:
        batch = {"refresh_every": 1, "curvature_batch": 0.5}
        return step_cost(nn.Linear(3, 2), method, 8, rates=rates(product=1.0), **batch, **options).phases

    inputs, means = 2 * 4 * 4 * 4, 2 * 4 * 4 + 2 * 4 * 2
    foof, tnt, eva, kbfgs = (phases(method) for method in ("foof", "tnt", "eva", "kbfgs"))
    assert (foof["curvature"], foof["update"]) == (forward + inputs, 2 * 2 * 4 * 4)
    gradient, both = 2 * 2 * 4 * 4, 2 * 4 * 2 * 4 + 2 * 2 * 4 * 2
    assert (tnt["curvature"], tnt["update"]) == (forward + gradient + both, two_sides)
    assert (eva["curvature"], eva["update"]) == (forward + means, 2 * 2 * 4)
    assert (kbfgs["curvature"], kbfgs["update"]) == (2 * forward + inputs + 2 * means, two_sides)
    two_level = phases("two_level_kfac", coarse="residual", decay=0.0)
    fisher, coarse = 2 * (2 * 4 * 4 * 2), 2 * 4 * 4 * 2 + 2 * 8 + 2 * 4 + 2 * 8  # images, Gram, system, combination
    assert two_level["update"] == two_sides + 2 * fisher + coarse
    inversions = {
        method: step_cost(nn.Linear(3, 2), method, 8, rates=rates(cholesky=3.0, eigh=1.0), refresh_every=1).phases
        for method in ("foof", "tnt", "eva", "kbfgs")
    }
    expected = {"foof": 3 * 4**3, "tnt": 3 * (4**3 + 2**3), "eva": 0, "kbfgs": 0}
    assert {method: found["inversion"] for method, found in inversions.items()} == pytest.approx(expected)


def test_matrix_methods_count_by_hand() -> None:
    """One layer (2, 3), or (2, 4) where the bias is a column of it; nothing depends on the number of examples."""

    def phases(method: str, **options: Any) -> dict[str, float]:
        kinds = {"product": 1.0, "eigh": 100.0, "qr": 1000.0}
        return step_cost(nn.Linear(3, 2), method, 8, rates=rates(**kinds), **options).phases

    roots = 100 * (2**3 + 4**3) + 2 * 2**3 + 2 * 4**3
    moments, both = 2 * 2 * 4 * 2 + 2 * 4 * 2 * 4, 2 * 2 * 2 * 4 + 2 * 2 * 4 * 4
    for method in ("shampoo", "shampoo_squared"):
        shampoo = phases(method)
        found = shampoo["curvature"], shampoo["inversion"], shampoo["update"]
        assert found == pytest.approx((moments, roots / 10, both)), "the last stage of inverse_every is 10"
    soap = phases("soap", refresh_every=1)
    assert soap["curvature"] == 2 * 2 * 3 * 2 + 2 * 3 * 2 * 3
    assert soap["inversion"] == 2 * 2**3 + 2 * 3**3 + 1000 * 4 * (2**3 + 3**3)
    assert soap["update"] == 3 * (2 * 2 * 2 * 3 + 2 * 2 * 3 * 3)
    gram, square, applied = 2 * 2 * 3 * 2, 2 * 2**3, 2 * 2 * 2 * 3
    assert phases("swan", whitening_steps=7)["update"] == gram + 7 * 3 * square + applied
    assert phases("muon", iterations=4)["update"] == pytest.approx(4 * (gram + square + applied))
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 5), nn.Linear(5, 1))
    for options, numbers in (({}, 2 + 5 + 1), ({"hidden_only": True}, 2 + 5 + 1 + 3 * 2 + 5)):
        terms = step_cost(network, "muon", 8, rates=rates(**{"pass": 1.0}), **options).terms
        assert [t.seconds for t in terms if t.name.startswith("AdamW")] == [20 * numbers], "biases, and outer weights"


@pytest.mark.parametrize(("every", "last"), [(10, 10), ("10, 100 from 500", 100)])
def test_a_refresh_is_spread_over_the_iterations_of_the_last_interval(every: int | str, last: int) -> None:
    network = autoencoder(8, 4, 8)
    once = step_cost(network, "kfac", 16, rates=rates(call=1.0), refresh_every=1).phases
    spread = step_cost(network, "kfac", 16, rates=rates(call=1.0), refresh_every=every).phases
    for phase in ("curvature", "inversion"):
        assert spread[phase] == pytest.approx(once[phase] / last)
    assert spread["update"] == once["update"]
    apart = step_cost(network, "kfac", 16, rates=rates(call=1.0), statistics_every=5, inverse_every=20).phases
    assert apart["curvature"] == pytest.approx(once["curvature"] / 5)
    assert apart["inversion"] == pytest.approx(once["inversion"] / 20)


def test_more_of_anything_costs_more() -> None:
    machine = Rates(1e-6, {kind: {(): 1e-9} for kind in KINDS})
    small, wide, flat = autoencoder(300, 200, 300), autoencoder(300, 250, 300), _flat(machine)
    for method in known_methods():
        total = step_cost(small, method, 64, rates=flat).total
        assert step_cost(small, method, 128, rates=flat).total >= total, method
        assert step_cost(wide, method, 64, rates=flat).total > total, method
    totals = [step_cost(small, "kfac", 64, rates=flat, inverse="low_rank", kept=k).total for k in (5, 10, 0.1, 40)]
    assert totals == sorted(totals)
    assert (
        step_cost(small, "kfac", 64, rates=flat, inverse="low_rank").total
        < step_cost(small, "kfac", 64, rates=flat, inverse="low_rank", kept=300).total
    )


def _flat(machine: Rates) -> Rates:
    units = {kind.split(" ")[0]: next(iter(table.values())) for kind, table in machine.tables.items()}
    return rates(machine.call, **units)


def test_kept_ranks_are_numbers_shares_or_by_layer() -> None:
    network, flat = autoencoder(300, 200, 300), rates(product=1.0)

    def total(kept: Any) -> float:
        return step_cost(network, "kfac", 64, rates=flat, inverse="low_rank", kept=kept).total

    assert total(None) == total(30) == total({"0": (30, 30), "2": (30, 30)})
    assert total(0.1) == total({"0": (30, 20), "2": (20, 30)})
    with pytest.raises(ValueError, match="kept names no ranks of layer '2'"):
        total({"0": (30, 30)})
    with pytest.raises(ValueError, match="kept must not be negative"):
        total(-1)


def test_it_says_what_it_assumes_and_names_the_largest_term() -> None:
    network = autoencoder(300, 20, 300)
    cost = step_cost(network, "kfac", 4, rates=rates(product=1.0), inverse="low_rank")
    assert cost.assumptions == (
        "low-rank inverses keep 30 directions a side, and find them in one step from the past ones",
    )
    dense = step_cost(network, "kfac", 4, rates=rates(product=1.0), refresh_every=1000)
    assert dense.assumptions == ()
    assert dense.dominant == "preconditioning products of layer 2, 300×21"
    assert dense.total == pytest.approx(sum(dense.phases.values()))


def test_costs_add_up_by_phase() -> None:
    cost = Cost((Term("update", "a", 1.0), Term("update", "b", 3.0), Term("inversion", "c", 2.0)))
    assert cost.total == 6
    assert cost.phases == {"forward_backward": 0, "curvature": 0, "inversion": 2, "update": 4}
    assert cost.dominant == "b"


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("kfca", {}, "no cost is known of kfca; it is of sgd, adam, kfac, .*, muon"),
        ("singd", {}, "no cost is known of singd; it is of sgd, adam, kfac"),
        ("kfac", {"refresh_every": 0}, "refresh_every must be"),
        ("kfac", {"averaging": "stream"}, "kfac takes averaging"),
        ("ekfac", {"inverse": "low_rank"}, "inverse must be one of dense"),
        ("eva", {"damping_rule": "factored"}, "damping_rule must be one of exact"),
        ("kbfgs", {"fisher": "exact"}, "kbfgs takes fisher='empirical'"),
        ("two_level_kfac", {"coarse": "residual", "coarse_vectors": 2}, "coarse_vectors must be 1 unless"),
        ("swan", {"whitening_steps": 0}, "whitening_steps must be at least 1; got 0"),
        ("muon", {"hidden_only": True}, "hidden_only needs a layer between the first and the last"),
        ("kfac", {"step_rule": "quadratic_model"}, "no cost is known of step_rule='quadratic_model'"),
    ],
)
def test_what_is_not_known_is_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        step_cost(nn.Linear(3, 2), method, 4, rates=rates(), **options)


@pytest.mark.parametrize(("method", "option"), [("kfac", "rnak"), ("adam", "momentum"), ("swan", "momentum")])
def test_an_option_that_the_method_does_not_have_is_refused(method: str, option: str) -> None:
    with pytest.raises(TypeError, match=f"{method} has no option '{option}'"):
        step_cost(nn.Linear(3, 2), method, 4, rates=rates(), **{option: 0.9})


def test_the_cost_of_every_method_of_the_library_is_known() -> None:
    assert {*OPTIMIZERS, *MATRIX_OPTIMIZERS} <= {*known_methods()}


def test_models_that_cannot_be_measured_are_refused() -> None:
    with pytest.raises(ValueError, match="batch must be at least 1"):
        step_cost(nn.Linear(3, 2), "sgd", 0, rates=rates())
    with pytest.raises(ValueError, match="no Linear or Conv2d layer"):
        step_cost(nn.ReLU(), "sgd", 4, rates=rates())
    with pytest.raises(ValueError, match="`example`, the shape of an example"):
        step_cost(nn.Conv2d(1, 2, 3), "sgd", 4, rates=rates())
    with pytest.raises(ValueError, match=r"does not take examples of shape \(4,\)"):
        step_cost(nn.Linear(3, 2), "sgd", 4, example=(4,), rates=rates())
    with pytest.raises(ValueError, match="one tensor"):
        step_cost(_Pair(), "sgd", 4, rates=rates())


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(inputs), inputs


def test_shapes_of_a_convolutional_network() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)
    )
    state = {name: value.clone() for name, value in network.state_dict().items()}
    shape = network_shape(network, (1, 8, 8))
    first, last = shape.layers
    assert (first.d_in, first.d_out, first.positions, first.bias, first.propagates) == (9, 4, 36, False, False)
    assert (last.d_in, last.d_out, last.positions, last.bias, last.propagates) == (145, 10, 1, True, True)
    assert (shape.inputs, shape.outputs, shape.activations, shape.others) == (64, 10, (144, 144), (4, 4))
    assert sorted(shape.parameters) == sorted(p.numel() for p in network.parameters())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    for method in known_methods():
        assert step_cost(network, method, 16, example=(1, 8, 8), rates=rates(call=1.0)).total > 0


def test_a_model_without_weights_costs_the_same() -> None:
    with torch.device("meta"):
        bare = autoencoder(8, 4, 8)
    for method in ("adam", "kpsvd"):
        costs = [step_cost(m, method, 16, rates=rates(call=1.0)) for m in (bare, autoencoder(8, 4, 8))]
        assert costs[0] == costs[1]


def test_rates_between_sizes_are_interpolated_and_beyond_them_held() -> None:
    machine = Rates(0.5, {"eigh": {(10,): 1.0, (1000,): 100.0}, "draws": {(): 2.0}}, {"eigh": 3.0})
    assert machine.seconds(Operation("eigh", 1, (10,))) == pytest.approx(0.5 + 1)
    assert machine.seconds(Operation("eigh", 2, (100,))) == pytest.approx(0.5 + 2 * 10)
    assert machine.seconds(Operation("eigh", 1, (5,))) == pytest.approx(0.5 + 1)
    assert machine.seconds(Operation("eigh", 1, (5000,), double=True)) == pytest.approx(0.5 + 3 * 100)
    assert machine.seconds(operations.draws(4)) == pytest.approx(0.5 + 8)
    assert machine.seconds(operations.calls(4)) == pytest.approx(2)
    table = {(1.0, 1.0): 1.0, (1.0, 100.0): 100.0, (100.0, 1.0): 10_000.0, (100.0, 100.0): 10_000.0}
    both = Rates(0.0, {"product thin in rows": table})
    middle = Operation("product thin in rows", 1, (10.0, 10.0))
    assert both.seconds(middle) == pytest.approx(math.sqrt(10 * 10_000))


def test_a_product_is_rated_by_its_thinnest_dimension() -> None:
    assert operations.product(2, 50, 200) == Operation("product thin in rows", 2 * 2 * 50 * 200, (100.0, 2))
    assert operations.product(50, 2, 200).kind == "product thin in inner"
    assert operations.product(50, 200, 2).kind == "product thin in columns"
    assert operations.product(50, 0, 2).work == 0


def test_a_calibration_knows_every_kind_and_leaves_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    measured = calibrate(seconds=0.01)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(measured.tables) == set(KINDS)
    assert measured.call > 0
    assert all(unit > 0 for table in measured.tables.values() for unit in table.values())
    assert set(measured.double) == {"product", "cholesky", "eigh"}
    for method in known_methods():
        assert step_cost(autoencoder(8, 4, 8), method, 16, rates=measured).total > 0
