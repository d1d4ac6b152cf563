"""Copies and pickles of model and optimizer train on by themselves, and to the last bit alike."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from tests.kfsvd.optimizers.loops import EVERY, equal, make, network, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from kfsvd import NaturalGradient

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("name", EVERY)
def test_a_copy_of_model_and_optimizer_trains_on_alike(name: str, kind: str) -> None:
    model = network(norm=True)
    optimizer = make(name, model, statistics_every=2, inverse_every=3)
    train(model, optimizer, 4)
    other_model, other = COPIES[kind]((model, optimizer))
    assert other.model is other_model
    assert equal(model, other_model)
    before = copy.deepcopy(model)
    train(other_model, other, 5, start=4)
    assert equal(model, before), "the copy's steps reach the original"
    train(model, optimizer, 5, start=4)
    assert equal(model, other_model)


@pytest.mark.parametrize("name", ["deflation", "shampoo"])
@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_of_the_optimizer_alone_has_a_model_of_its_own(kind: str, name: str) -> None:
    model = network()
    optimizer = make(name, model)
    train(model, optimizer, 3)
    other = COPIES[kind](optimizer)
    assert other.model is not model
    train(other.model, other, 4, start=3)
    train(model, optimizer, 4, start=3)
    assert equal(model, other.model)


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_of_the_model_alone_carries_no_batch_and_no_optimizer(kind: str) -> None:
    model = network()
    optimizer = make("kpsvd", model)
    bare = len(pickle.dumps(network()))
    train(model, optimizer, 3)
    assert len(pickle.dumps(model)) < bare + 2000
    other = COPIES[kind](model)
    fresh = make("kpsvd", other)
    train(other, fresh, 2)
    train(model, optimizer, 2)


@pytest.mark.parametrize("name", ["kfac", "soap"])
def test_a_pickled_optimizer_keeps_its_clock_out(name: str) -> None:
    model = network()
    optimizer = make(name, model)
    entered: list[str] = []

    class Clock:
        def __enter__(self) -> None:
            entered.append("in")

        def __exit__(self, *_: object) -> None:
            entered.append("out")

    optimizer.phase = lambda _name: Clock()
    optimizer.register_step_pre_hook(
        lambda *_: None
    )  # a lambda cannot be pickled: it stays behind, as with torch's own
    train(model, optimizer, 1)
    assert entered
    other: NaturalGradient = pickle.loads(pickle.dumps(optimizer))
    entered.clear()
    train(other.model, other, 1)
    assert not entered
    assert isinstance(other.model, nn.Module)


@pytest.mark.parametrize("name", ["kfac", "swan"])
@pytest.mark.parametrize("kind", ["deepcopy"])
def test_a_copy_made_after_a_scheduler_steps_itself(kind: str, name: str) -> None:
    """A scheduler wraps `step` on the instance; a copy must not carry the original's."""
    model = network()
    optimizer = make(name, model)
    torch.optim.lr_scheduler.StepLR(optimizer, 10)
    train(model, optimizer, 2)
    other_model, other = COPIES[kind]((model, optimizer))
    before = copy.deepcopy(model)
    train(other_model, other, 2, start=2)
    assert equal(model, before)
    assert not equal(other_model, before)
