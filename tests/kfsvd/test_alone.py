"""The library needs torch alone: without every other package that is installed it trains, and fits."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement

SCRIPT = """
import sys

BLOCKED = {blocked!r}


FINDERS = sys.meta_path[:]


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in BLOCKED:
            return next((found for each in FINDERS if (found := each.find_spec(name, path, target))), None)


sys.meta_path[:] = [Absent()]

import kfsvd

kfsvd.KFAC  # the first name that is asked for loads the library

assert "torch._dynamo" not in sys.modules, "the compiler takes as long to import as torch itself"

import torch
from kfsvd.optimizers import MATRIX_OPTIMIZERS, OPTIMIZERS

inputs = torch.rand(24, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
for name, kind in {{**OPTIMIZERS, **MATRIX_OPTIMIZERS}}.items():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 6)).double()
    optimizer = kind(model, "bernoulli")
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = kfsvd.negative_log_likelihood("bernoulli", model(inputs), inputs).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], (name, losses)

samples = kfsvd.LayerSamples(inputs, inputs[:, :5] - 0.5)
for name in kfsvd.APPROXIMATIONS:
    assert kfsvd.fit(name, samples).dense().isfinite().all(), name

print(*sorted({{name.partition(".")[0] for name in sys.modules}} & BLOCKED))
"""


def normal(name: str) -> str:
    """The name of a distribution as packaging compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(name: str, found: set[str]) -> set[str]:
    """A distribution, and all that it requires here."""
    if normal(name) not in found:
        found.add(normal(name))
        try:
            required = requires(name) or []
        except PackageNotFoundError:
            return found
        for requirement in map(Requirement, required):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed(requirement.name, found)
    return found


def test_with_torch_alone_everything_trains_and_fits() -> None:
    allowed = needed("torch", set())
    owned = packages_distributions().items()
    blocked = {module for module, owners in owned if not allowed & {*map(normal, owners)}} - {"kfsvd"} | {"suite"}
    assert {"numpy", "scipy", "sklearn", "threadpoolctl", "pydantic"} <= blocked
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(blocked=blocked)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
