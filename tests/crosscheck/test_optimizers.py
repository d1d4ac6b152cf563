"""Optimizers of the family, step by step against other libraries' where there are any."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest
import torch
from torch import nn

import kfsvd
from suite.methods import METHODS
from tests.kfsvd.optimizers.loops import INPUTS, equal, network, train


def library(name: str) -> Any:
    """The library of that name, without which a test is skipped."""
    if os.environ.get("KFSVD_REQUIRE_CROSSCHECK") == "1":  # CI: a missing library is a failure
        return importlib.import_module(name)
    return pytest.importorskip(name, reason="needs tests/crosscheck/requirements.txt")


def test_soap_is_that_of_pytorch_optimizer() -> None:
    """Biases apart, which it updates by Adam without our fallback's constants; in float32, as its QR is."""
    theirs = library("pytorch_optimizer").SOAP
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(nn.Sequential(nn.Linear(6, 5, bias=False), nn.Tanh(), nn.Linear(5, 6, bias=False)))
    model, reference = models
    ours = kfsvd.SOAP(model, lr=0.01, refresh_every=3)
    other = theirs(reference.parameters(), lr=0.01, precondition_frequency=3, weight_decay=0.0)
    for step in range(12):
        train(model, ours, 1, start=step, inputs=INPUTS.float())
        train(reference, other, 1, start=step, inputs=INPUTS.float())
        for p, q in zip(model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"kfac_like": True}, {"structure": "diagonal", "normalize_lr_cov": True}])
def test_singd_is_that_of_its_authors(options: dict[str, Any]) -> None:
    theirs = library("singd.optim.optimizer").SINGD
    model, reference = network(torch.float32), network(torch.float32)
    given = {"lr": 0.05, "damping": 0.1, "weight_decay": 0.01, **options}
    ours = METHODS["singd"].model_validate({"method": "singd", "refresh_every": 2, **given})
    structure = given.pop("structure", "dense")
    alpha1 = {"alpha1": 0.0} if "kfac_like" in options else {}
    other = theirs(reference, T=2, structures=(structure, structure), **given, **alpha1)
    train(model, ours.build(model, "bernoulli", 0), 8, inputs=INPUTS.float())
    train(reference, other, 8, inputs=INPUTS.float())
    assert equal(model, reference)
    assert not equal(model, network(torch.float32))
