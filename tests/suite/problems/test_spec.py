from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from suite.problems import DATASETS, Folders, ProblemSpec
from suite.problems.data import dataset
from suite.problems.problem import load_problem

AUTOENCODER = {"kind": "autoencoder", "encoder": [8, 2]}
MLP = {"kind": "mlp", "hidden": [8]}
CONVNET = {"kind": "convnet", "channels": [4]}
GOOD: dict[str, Any] = {"data": "digits", "network": AUTOENCODER, "likelihood": "bernoulli", "batch_size": 32}


@pytest.mark.parametrize(
    ("data", "network", "likelihood"),
    [
        ("digits", AUTOENCODER, "bernoulli"),
        ("digits", AUTOENCODER, "gaussian"),
        ("curves", AUTOENCODER, "bernoulli"),
        ("faces", AUTOENCODER, "gaussian"),
        ("digits", MLP, "categorical"),
        ("mnist", CONVNET, "categorical"),
    ],
)
def test_what_suits_is_accepted(data: str, network: dict[str, Any], likelihood: str) -> None:
    spec = ProblemSpec.model_validate(GOOD | {"data": data, "network": network, "likelihood": likelihood})
    assert (spec.data, spec.network.kind, spec.likelihood) == (data, network["kind"], likelihood)
    assert spec.train_examples is None


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ({"data": "digit"}, "data", "unknown data set 'digit'; did you mean 'digits'?"),
        ({"likelihood": "categorical"}, "likelihood", "must be bernoulli or gaussian, not 'categorical'"),
        ({"network": MLP}, "likelihood", "must be categorical, not 'bernoulli'"),
        ({"network": CONVNET, "likelihood": "gaussian"}, "likelihood", "must be categorical, not 'gaussian'"),
        (
            {"network": MLP, "likelihood": "categorical", "data": "curves"},
            "likelihood",
            "the data set 'curves' has no labels",
        ),
        ({"data": "faces"}, "likelihood", "the pixels of 'faces' are not between 0 and 1"),
        ({"train_examples": 1438}, "train_examples", "must be at most 1437, the size of 'digits', not 1438"),
    ],
)
def test_what_does_not_suit_is_said_where_it_stands(change: dict[str, Any], place: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ProblemSpec.model_validate(GOOD | change)
    (error,) = caught.value.errors()
    assert error["loc"] == (place,)
    assert message in error["msg"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "32"}, "batch_size"),
        ({"train_examples": 0}, "train_examples"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"network": {"kind": "transformer"}}, "network"),
        ({"network": {"encoder": [3]}}, "network"),
        ({"preprocessing": "none"}, "preprocessing"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ProblemSpec.model_validate(GOOD | change)
    assert [error["loc"][0] for error in caught.value.errors()] == [place]


def test_all_examples_can_be_asked_for() -> None:
    assert ProblemSpec.model_validate(GOOD | {"train_examples": 1437}).train_examples == 1437


def test_a_spec_loads_its_problem(folders: Folders) -> None:
    problem = load_problem(ProblemSpec.model_validate(GOOD | {"train_examples": 100}), folders)
    assert (problem.name, problem.batch_size, problem.likelihood) == ("digits", 32, "bernoulli")
    assert (len(problem.train), len(problem.test)) == (100, 360)


HEAVY = ("torch", "numpy", "scipy", "sklearn")


def test_a_spec_is_read_without_heavy_imports() -> None:
    code = (
        "import sys\n"
        "from suite.problems import DATASETS, ProblemSpec\n"
        f"for data in DATASETS: ProblemSpec.model_validate({GOOD!r} | "
        "{'data': data, 'likelihood': 'gaussian', 'train_examples': 5})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", DATASETS)
def test_sizes_are_known_before_loading(name: str) -> None:
    sizes = {"digits": (1437, 360), "curves": (20_000, 10_000), "mnist": (60_000, 10_000), "faces": (103_500, 41_400)}
    info = dataset(name).INFO
    assert (info.train, info.test) == sizes[name]
