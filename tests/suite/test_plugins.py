"""Optimizers, data sets and networks from outside: by import path where that is allowed, and by entry point."""

from __future__ import annotations

import importlib
import json
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from suite import plugins
from suite.methods.foreign import foreign_method
from suite.plan.cells import cells
from suite.problems.spec import problem_with
from suite.spec.faults import SpecError
from suite.spec.reading import load_spec
from tests.suite import helpers
from tests.suite.helpers import process
from tests.suite.specs import SMALL, changed, faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

PAGE = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text().partition("## Your own optimizer")[2]
PYTHON, YAML = (re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) for language in ("python", "yaml"))
assert PYTHON
assert YAML

PROBLEM = """
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import nn

from suite.problems.data import DataSet
from suite.problems.data.images import DataInfo, Images
from suite.problems.networks import Network


class Stripes(DataSet):
    INFO = DataInfo("stripes", 40, 8, "made up", classes=2, unit_interval=True, shape=(4, 4))

    def load(self, folders):
        labels = np.arange(48) % 2
        images = np.zeros((48, 4, 4), dtype=np.uint8)
        images[labels == 1, ::2] = 255
        return Images("stripes", images[:40], images[40:], 1 / 255, labels[:40], labels[40:])


class Narrow(Network):
    reconstructs: ClassVar[bool] = False
    kind: Literal["parts:Narrow"]
    width: int = Field(ge=1, description="hidden units")

    def layers(self, inputs, outputs):
        return {"in": nn.Linear(inputs[0], self.width), "act": nn.Tanh(), "out": nn.Linear(self.width, outputs)}
"""
OWN_PROBLEM = """
version: 1
name: parts
optimizers: {adam: {method: adam, lr: 0.01}}
datasets:
  stripes: {data: "parts:Stripes", network: {kind: "parts:Narrow", width: 3}, likelihood: categorical, batch_size: 8}
seeds: [0]
budget: {iterations: 60}
"""


@contextmanager
def imports_of(folder: Path) -> Iterator[None]:
    """What is imported from a folder is imported anew, and forgotten, as with a process that ends."""
    place, caches = str(folder.resolve()), (plugins.installed, plugins.sources, foreign_method, problem_with)
    importlib.invalidate_caches()
    for each in caches:
        each.cache_clear()
    try:
        with mock.patch.object(sys, "path", [place, *sys.path]):
            yield
    finally:
        for each in caches:
            each.cache_clear()
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(place):
                del sys.modules[name]


def bench(folder: Path, *arguments: str) -> CompletedProcess[str]:
    with imports_of(folder):
        return helpers.bench(folder, *arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PYTHON[1])
    (tmp_path / "mine.yaml").write_text(YAML[1])
    (tmp_path / "parts.py").write_text(PROBLEM)
    (tmp_path / "parts.yaml").write_text(OWN_PROBLEM)
    return tmp_path


def test_the_page_s_example_runs(folder: Path) -> None:
    done = process(folder, "run", "mine.yaml", "--allow-import")  # its workers import it too
    assert done.returncode == 0, done.stderr
    assert "signs" in done.stdout
    again = bench(folder, "run", "mine.yaml", "--allow-import")
    assert "6 of 6 cells are measured already" in again.stdout
    (folder / "mine.py").write_text(PYTHON[1].replace("sign()", "sign().neg()"))
    planned = json.loads(bench(folder, "plan", "mine.yaml", "--allow-import", "--json").stdout)
    assert (planned["cells"], planned["measured"]) == (6, 2), "its results belong to the file as it was"


@pytest.mark.parametrize("verb", ["run", "report"])
@pytest.mark.parametrize("spec", ["mine", "parts"])
def test_without_leave_nothing_is_imported(folder: Path, verb: str, spec: str) -> None:
    module = folder / f"{spec}.py"
    module.write_text(module.read_text() + "\nimport pathlib; pathlib.Path('trace').touch()\n")
    done = bench(folder, verb, f"{spec}.yaml")
    assert done.returncode == 2
    where = {"mine": "5: optimizers.signs.method: 'mine:Signs'", "parts": "6: datasets.stripes.data: 'parts:Stripes'"}
    assert f"{spec}.yaml:{where[spec]} is code to import, which --allow-import must allow" in done.stderr
    assert not (folder / "trace").exists()
    assert "Traceback" not in done.stderr


def test_data_and_network_of_ones_own_are_trained(folder: Path) -> None:
    done = bench(folder, "run", "parts.yaml", "--allow-import")
    assert done.returncode == 0, done.stderr
    exported = bench(folder, "status", "parts.yaml", "--allow-import", "--json")
    assert json.loads(exported.stdout)["states"] == {"done": 1}
    report = bench(folder, "report", "parts.yaml", "--allow-import")
    assert report.returncode == 0, report.stderr
    text = (folder / "results" / "parts" / "README.md").read_text()
    assert "kfsvd-bench run parts.yaml --allow-import" in text
    assert "stripes" in text


def said(text: str) -> list[str]:
    path = Path("spec.yaml")
    path.write_text(text)
    with pytest.raises(SpecError) as caught, imports_of(path.parent):
        load_spec(path, allow_import=True)
    return list(caught.value.faults)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ('"mine:Sings"', "cannot import 'mine:Sings': AttributeError: module 'mine' has no attribute 'Sings'"),
        ('"thine:Signs"', "cannot import 'thine:Signs': ModuleNotFoundError: No module named 'thine'"),
        ('"broken:Signs"', "cannot import 'broken:Signs': ZeroDivisionError: division by zero"),
        ('"mine:torch"', "'mine:torch' is no torch.optim.Optimizer, nor a suite.methods.Method"),
        ('"mine:"', "an import path is of the form package.module:object, not 'mine:'"),
        ('"mine:Signs", dekay: 0.1', "unknown key; did you mean 'decay'?"),
        ('"mine:Signs", decay: "much"', "must be a number, not 'much'"),
        ('"torch.optim:LBFGS", lr: true', "must be a number, not true"),
        ('"torch.optim:AdamW", betas: [{a: 1}]', "must be a number, true, false, text, or a list of them"),
        ('"greedy:Greedy"', "'greedy:Greedy' takes an argument 'method', which means something else in a spec"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    method: str, expected: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "broken.py").write_text("1 / 0")
    greedy = "import torch\nclass Greedy(torch.optim.SGD):\n    def __init__(self, params, method='x'): pass\n"
    (folder / "greedy.py").write_text(greedy)
    (line,) = said(changed("method: sgd, lr: 0.1", f"method: {method}"))
    assert line.startswith("spec.yaml:4: optimizers.sgd")
    assert expected in line


def test_options_are_those_of_the_constructor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's own classes, which are imported here anyway."""
    import pickle

    import torch
    from torch import nn

    monkeypatch.chdir(tmp_path)
    given = 'method: "torch.optim:AdamW", lr: 1, betas: [[0.8, 0.9]], amsgrad: true, batch_size: 8'
    kfac = 'method: "kfsvd:ExactNaturalGradient", blocks: layers'
    text = changed("method: kpsvd, lr: 0.1", kfac, changed("method: sgd, lr: 0.1", given))
    Path("spec.yaml").write_text(text)
    spec = load_spec(Path("spec.yaml"), allow_import=True)
    adam, exact = spec.optimizers.values()
    assert adam.batch_size == 8
    network = nn.Linear(3, 2)
    for method in (adam, pickle.loads(pickle.dumps(adam))):
        (group,) = method.build(network, "gaussian", 0).param_groups
        assert (group["lr"], group["betas"], group["amsgrad"]) == (1.0, (0.8, 0.9), True)
        assert group["eps"] == torch.optim.AdamW([torch.zeros(1)]).param_groups[0]["eps"]
    built = exact.build(network, "gaussian", 7)
    assert (built.model, built.likelihood, built.blocks) == (network, "gaussian", "layers")
    definition = cells(spec)[0].definition
    assert definition["method"] == {
        "method": "torch.optim:AdamW", "lr": 1, "betas": [0.8, 0.9], "amsgrad": True, "batch_size": 8
    }  # fmt: skip
    assert set(definition["sources"]) == {"method"}


def test_an_unknown_name_without_a_colon_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = faults(changed("method: sgd", "method: sdg"))
    assert line.endswith("unknown method 'sdg'; did you mean 'sgd'?")
    (line,) = faults(changed("method: sgd, lr: 0.1", 'method: "torch.optim:SGD"'))
    assert "--allow-import must allow" in line


INSTALLED = """\
[kfsvd_bench.optimizers]
signs = mine:Signs
[kfsvd_bench.datasets]
stripes = parts:Stripes
[kfsvd_bench.networks]
parts:Narrow = parts:Narrow
"""


def test_installed_entry_points_need_no_leave(folder: Path) -> None:
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(INSTALLED)
    text = changed("method: sgd", "method: signs", SMALL).replace("data: digits", "data: stripes")
    (folder / "spec.yaml").write_text(text)
    done = bench(folder, "run", "spec.yaml", "--select", "optimizer=sgd,seed=0")
    assert done.returncode == 0, done.stderr
    listed = json.loads(bench(folder, "optimizers", "--json").stdout)
    assert [option["option"] for option in listed["signs"]] == ["batch_size", "lr", "decay"]
    assert "signs" in bench(folder, "optimizers", "signs").stdout
    assert "stripes" in [row["name"] for row in json.loads(bench(folder, "datasets", "list", "--json").stdout)]
    hint = bench(folder, "optimizers", "signss")
    assert "did you mean 'signs'" in hint.stderr


def test_an_entry_point_may_be_a_method_with_typed_options(folder: Path) -> None:
    (folder / "typed.py").write_text(
        "from typing import Literal\n\nfrom pydantic import Field\n\nfrom suite.methods import Method\n\n\n"
        'class Plain(Method):\n    """Gradient descent, nothing else."""\n\n    method: Literal["plain"]\n'
        "    lr: float = Field(gt=0, description='step size')\n\n"
        "    def build(self, network, likelihood, seed):\n        import torch\n\n"
        "        return torch.optim.SGD(network.parameters(), lr=self.lr)\n"
    )
    info = folder / "typed-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: typed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kfsvd_bench.optimizers]\nplain = typed:Plain\n")
    (folder / "spec.yaml").write_text(changed("method: sgd, lr: 0.1", "method: plain, lr: -1"))
    done = bench(folder, "plan", "spec.yaml")
    assert "spec.yaml:4: optimizers.sgd.lr: must be greater than 0, not -1" in done.stderr
    (folder / "spec.yaml").write_text(changed("method: sgd, lr: 0.1", "method: plain, lr: 0.1"))
    done = bench(folder, "run", "spec.yaml", "--select", "optimizer=sgd,seed=0")
    assert done.returncode == 0, done.stderr
    assert "Gradient descent, nothing else." in bench(folder, "optimizers").stdout
