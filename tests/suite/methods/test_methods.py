"""Options of a spec and options of the library are the same."""

from __future__ import annotations

import sys

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from kfsvd.approximations import APPROXIMATIONS
from kfsvd.optimizers import MATRIX_OPTIMIZERS, OPTIMIZERS
from suite.errors import SuiteError
from suite.methods import METHODS

MATRICES = list(MATRIX_OPTIMIZERS)
KRONECKER = list(OPTIMIZERS)


@pytest.mark.parametrize("name", [*KRONECKER, *MATRICES])
def test_an_optimizer_of_a_spec_is_the_librarys_with_the_same_options(name: str) -> None:
    """What a spec builds without an option has the options of the class that is made without one."""
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3))
    library = {**OPTIMIZERS, **MATRIX_OPTIMIZERS}[name]
    by_name = METHODS[name](method=name).build(network, "gaussian", 0)
    by_hand = library(network, "gaussian")
    assert type(by_name) is library
    assert by_name.options == by_hand.options
    assert by_name.param_groups[0]["lr"] == by_hand.param_groups[0]["lr"]


def test_every_optimizer_of_the_library_can_be_named() -> None:
    assert {*OPTIMIZERS, *MATRIX_OPTIMIZERS} == set(METHODS) - {"sgd", "adam", "singd"}
    assert set(APPROXIMATIONS) <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_every_option_that_has_to_be_tuned_is_one(name: str) -> None:
    assert set(METHODS[name].essential) <= set(METHODS[name].model_fields)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_builds_an_optimizer_of_all_parameters(name: str) -> None:
    if name == "singd":
        pytest.importorskip("singd", reason="needs tests/crosscheck/requirements.txt")
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3))
    optimizer = METHODS[name](method=name, lr=0.5).build(network, "gaussian", 0)
    assert isinstance(optimizer, torch.optim.Optimizer)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in network.parameters()}
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_adam_decouples_its_weight_decay() -> None:
    network = nn.Linear(2, 2)
    assert type(METHODS["adam"](method="adam").build(network, "gaussian", 0)) is torch.optim.Adam
    assert type(METHODS["adam"](method="adam", weight_decay=0.1).build(network, "gaussian", 0)) is torch.optim.AdamW


@pytest.mark.parametrize("name", METHODS)
def test_every_option_says_what_it_means(name: str) -> None:
    assert METHODS[name].__doc__
    for option, field in METHODS[name].model_fields.items():
        assert option == "method" or field.description


@pytest.mark.parametrize("name", KRONECKER)
def test_a_spec_takes_the_forms_of_inverse_that_the_library_takes(name: str) -> None:
    model = nn.Linear(3, 2)
    for inverse in ("dense", "low_rank"):
        options = {"method": name, "inverse": inverse}
        try:
            METHODS[name].model_validate(options).build(model, "gaussian", 0)
        except ValidationError:
            with pytest.raises(ValueError, match="inverse"):
                OPTIMIZERS[name](model, "gaussian", inverse=inverse)


def test_a_method_whose_package_is_missing_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("singd", "singd.optim", "singd.optim.optimizer"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SuiteError, match=r"needs the package singd: pip install 'kfsvd-bench\[family\]'"):
        METHODS["singd"](method="singd").build(nn.Linear(2, 2), "gaussian", 0)
