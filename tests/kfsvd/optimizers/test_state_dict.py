"""Training goes on from a checkpoint bit for bit."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

from kfsvd.optimizers import MATRIX_OPTIMIZERS, OPTIMIZERS
from tests.kfsvd.optimizers.loops import AVERAGINGS, INPUTS, equal, loss_of, make, network, train

# Statistics and inverses are out of step, so that the inverse in use is of an older curvature than the present one.
OUT_OF_STEP = {"statistics_every": 2, "inverse_every": 3, "curvature_batch": 0.5, "decay": 0.8}


def saved(state: Any) -> Any:
    """The state through a file that holds nothing but tensors and plain data."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_continues(name: str, **options: Any) -> None:
    model, restored = network(norm=True), network(norm=True)
    optimizer = make(name, model, **options)
    train(model, optimizer, 6, start=0)
    train(model, optimizer, 1, start=6)
    state = saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    untouched = copy.deepcopy(state)
    fresh = make(name, restored, **{**options, "seed": 99})
    restored.load_state_dict(state["model"])
    fresh.load_state_dict(state["optimizer"])
    assert equal(model, restored)
    train(model, optimizer, 7, start=7)
    train(restored, fresh, 7, start=7)
    assert equal(model, restored), "the checkpoint does not continue bit for bit"
    for group, other in zip(fresh.param_groups, optimizer.param_groups, strict=True):
        assert {k: v for k, v in group.items() if k != "params"} == {k: v for k, v in other.items() if k != "params"}
    assert_same(state["optimizer"], untouched["optimizer"])


def assert_same(left: Any, right: Any) -> None:
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), "a loaded state is changed by the steps that follow"
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list | tuple):
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)
    else:
        assert left == right


@pytest.mark.parametrize(("name", "averaging"), AVERAGINGS)
def test_a_checkpoint_continues_bit_for_bit(name: str, averaging: str) -> None:
    options = {**OUT_OF_STEP, "averaging": averaging}
    assert_continues(name, **options)


def test_a_checkpoint_of_another_kind_of_device_goes_on_with_labels_of_its_own() -> None:
    model, restored = network(), network()
    optimizer, fresh = make("kfac", model), make("kfac", restored)
    train(model, optimizer, 3)
    state = optimizer.state_dict()
    state["natural_gradient"]["device_generator"] = torch.zeros(16, dtype=torch.uint8)  # a GPU's has as many bytes
    before = fresh._device_generator.get_state()
    fresh.load_state_dict(state)
    restored.load_state_dict(model.state_dict())
    drawn = fresh._device_generator.get_state()
    assert not torch.equal(drawn, before), "the labels of its start are drawn again"
    fresh.load_state_dict(state)
    assert torch.equal(fresh._device_generator.get_state(), drawn), "they depend on what was loaded before"
    train(restored, fresh, 20, start=3)
    assert fresh._iteration == 23
    assert loss_of(restored, INPUTS) < loss_of(model, INPUTS)


@pytest.mark.parametrize("coarse", ["nicolaides", "residual", "spectral", "krylov"])
def test_a_checkpoint_of_every_coarse_space_continues_bit_for_bit(coarse: str) -> None:
    assert_continues("two_level_kfac", **OUT_OF_STEP, coarse=coarse)


@pytest.mark.parametrize("options", [{}, {"step_rule": "adam_norm", "inverse_every": 3, "refresh_every": 3}])
@pytest.mark.parametrize("name", MATRIX_OPTIMIZERS)
def test_a_checkpoint_of_gradients_alone_continues_bit_for_bit(name: str, options: dict[str, Any]) -> None:
    assert_continues(name, **options)


@pytest.mark.parametrize("name", MATRIX_OPTIMIZERS)
def test_the_state_of_a_model_in_bfloat16_stays_wider(name: str) -> None:
    model, other = network(torch.bfloat16), network(torch.bfloat16)
    optimizer, fresh = make(name, model), make(name, other)
    train(model, optimizer, 3, inputs=INPUTS.bfloat16())
    other.load_state_dict(model.state_dict())
    fresh.load_state_dict(saved(optimizer.state_dict()))
    for one in ((model, optimizer), (other, fresh)):
        train(*one, 3, start=3, inputs=INPUTS.bfloat16())
    assert equal(model, other)


@pytest.mark.parametrize("name", MATRIX_OPTIMIZERS)
def test_a_state_of_another_kind_is_refused(name: str) -> None:
    optimizer, source = make(name, network()), make("swan" if name != "swan" else "soap", network())
    train(source.model, source, 1)
    with pytest.raises(ValueError, match=r"a state of (SWAN|SOAP) cannot be loaded into"):
        optimizer.load_state_dict(source.state_dict())
    with pytest.raises(ValueError, match="a state of another optimizer cannot be loaded"):
        optimizer.load_state_dict(torch.optim.Adam(network().parameters()).state_dict())


@pytest.mark.parametrize("name", ["kfac", "ekfac", "exact"])
def test_the_quadratic_model_continues_with_its_damping_and_momentum(name: str) -> None:
    assert_continues(name, **OUT_OF_STEP, step_rule="quadratic_model", damping=0.5)


def test_a_state_before_the_first_step_can_be_loaded() -> None:
    model, other = network(), network()
    optimizer, fresh = make("kpsvd", model), make("kpsvd", other, seed=3)
    fresh.load_state_dict(saved(optimizer.state_dict()))
    train(model, optimizer, 3)
    train(other, fresh, 3)
    assert equal(model, other)


def test_a_state_of_something_else_is_refused() -> None:
    model = network()
    optimizer = make("kfac", model)
    adam = torch.optim.Adam(model.parameters())
    with pytest.raises(ValueError, match="not one of a natural-gradient optimizer on the same layers"):
        optimizer.load_state_dict(adam.state_dict())
    other = make("kfac", nn.Sequential(nn.Linear(6, 6)))
    with pytest.raises(ValueError, match="not one of a natural-gradient optimizer on the same layers"):
        optimizer.load_state_dict(other.state_dict())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_of_another_approximation_is_refused(name: str) -> None:
    model = network()
    other = "ekfac" if name != "ekfac" else "kfac"
    optimizer, source = make(name, model), make(other, network())
    train(source.model, source, 1)
    with pytest.raises(ValueError, match=f"a state of {other} cannot be loaded into {name}"):
        optimizer.load_state_dict(source.state_dict())
