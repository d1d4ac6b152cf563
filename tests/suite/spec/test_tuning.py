"""What is wrong with a spec's tuning is said with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.plan.plan import load_matrix
from suite.spec.reading import SpecError, load_spec
from suite.spec.tuning import Range
from tests.suite.helpers import write_spec
from tests.suite.tuned import TUNED, spec_of

if TYPE_CHECKING:
    from pathlib import Path

CASES = [
    ("lr: [0.1, 0.3]", "lr: [0.1, -1]", ["tuning.spaces.kfac.lr[1]: must be at least 0, not -1"]),
    ("lr: [0.1, 0.3]", "lr: [-1, 0.1]", ["tuning.spaces.kfac.lr: must be at least 0, not -1"]),
    ("lr: [0.1, 0.3]", "rate: [0.1, 0.3]", ["tuning.spaces.kfac.rate: unknown option"]),
    ("lr: [0.1, 0.3]", "method: [kfac, sgd]", ["tuning.spaces.kfac.method: unknown option"]),
    ("lr: [0.1, 0.3]", "lr: 0.1", ["tuning.spaces.kfac.lr: give a list of values, or a range such as"]),
    ("lr: [0.1, 0.3]", "lr: []", ["tuning.spaces.kfac.lr: give a list of values", "not an empty list"]),
    (
        "lr: [0.1, 0.3]",
        "lr: {low: 0.1, high: 1}",
        ["a grid takes a list of values; a range is for search: random or tpe"],
    ),
    (
        "lr: [0.1, 0.3]",
        "lr: [0.1, 0.3, 1]",
        ["tuning.spaces.adam: 4 settings where 'kfac' has 6; give every optimizer as many"],
    ),
    ("search: grid", "trials: 6", ["tuning.spaces.adam: 4 settings where tuning.trials is 6"]),
    (
        "kfac: {lr",
        "kfak: {lr",
        ["optimizer 'kfac' has no space; did you mean 'kfak'?"],
    ),
    ("seeds: [7, 8]", "seeds: [7, 1]", ["tuning.seeds[1]: seed 1 is a final one too"]),
    ("seeds: [7, 8]", "seeds: [7, 7]", ["tuning.seeds[1]: 7 is listed twice"]),
    ("search: grid", "search: random", ["tuning: a random search needs trials"]),
    ("search: grid", "search: annealing", ["tuning.search: unknown value 'annealing'"]),
    ("  spaces:", "  rule: seconds_to_target\n  spaces:", ["tuning: the rule seconds_to_target needs targets"]),
    ("  spaces:", "  targets: {digits: 5}\n  spaces:", ["targets are for the rules seconds_to_target"]),
    (
        "  spaces:",
        "  rule: seconds_to_target\n  targets: {other: 5}\n  spaces:",
        ["tuning.targets: data set 'digits' has no target for seconds_to_target"],
    ),
    (
        "adam: {method: adam}",
        "adam: {method: adam, eps: [1e-8, 1e-4]}",
        ["optimizers.adam.eps: eps is a grid; under tuning"],
    ),
    (
        "seeds: [0, 1]",
        "seeds: [0, 1]\noverrides: {digits: {kfac: {lr: 0.2}}}",
        ["overrides.digits.kfac.lr: lr is tuned, which an override would undo"],
    ),
    ("budget: {iterations: 20}", "budget: {}", ["tuning.budget: needs at least one of epochs, iterations and seconds"]),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    text = TUNED.replace(old, new)
    assert text != TUNED
    with pytest.raises(SpecError) as error:
        load_spec(write_spec(tmp_path, text))
    said = str(error.value)
    for part in expected:
        assert part in said
    assert "small.yaml:" in said


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{low: 3, high: 1}", "low must be below high, not 3 and 1"),
        ("{low: 0, high: 1}", "a range from 0 needs scale: linear"),
        ("{low: 1, hi: 2}", "unknown key"),
        ("{low: -1, high: 2, scale: linear}", "lr: must be at least 0, not -1"),
    ],
)
def test_a_range_that_is_none(tmp_path: Path, given: str, expected: str) -> None:
    text = TUNED.replace("search: grid", "search: random\n  trials: 4").replace("lr: [0.1, 0.3]", f"lr: {given}")
    with pytest.raises(SpecError, match=r"tuning\.spaces\.kfac\.lr") as error:
        load_spec(write_spec(tmp_path, text))
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("given", "number"), [(Range(low=1e-3, high=10.0), 0.1), (Range(low=-2.0, high=6.0, scale="linear"), 2.0)]
)
def test_half_of_a_range_is_the_middle_of_its_scale(given: Range, number: float) -> None:
    assert given.at(0.5) == pytest.approx(number)
    assert given.share(number) == pytest.approx(0.5)


def test_an_option_that_is_required_may_stand_in_the_space_alone(tmp_path: Path) -> None:
    text = TUNED.replace("adam: {method: adam}", "adam: {method: sgd}")
    spec = spec_of(tmp_path, text)
    assert spec.tuned("adam", "digits", {"lr": 0.5}).model_dump()["lr"] == 0.5


def test_a_data_sets_own_options_stay_under_tuning(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, TUNED.replace("seeds: [0, 1]", "seeds: [0, 1]\noverrides: {digits: {kfac: {decay: 0.5}}}"))
    method = spec.tuned("kfac", "digits", {"lr": 0.2, "damping": 3.0})
    assert {"lr": 0.2, "damping": 3.0, "decay": 0.5}.items() <= method.model_dump().items()


def test_the_space_of_an_optimizer_that_was_removed_is_a_warning(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, TUNED.replace("  kfac: {method: kfac}\n", ""))
    assert list(spec.optimizers) == ["adam"]
    (warning,) = spec.warnings
    assert "tuning.spaces.kfac: no optimizer is called 'kfac'" in warning


def test_too_many_trials_are_refused_before_they_are_made(tmp_path: Path) -> None:
    many = [n / 1000 for n in range(1, 601)]
    text = TUNED.replace("adam: {lr: [0.001, 0.003, 0.01, 0.03]}", f"adam: {{lr: {many}, eps: {many}}}").replace(
        "kfac: {lr: [0.1, 0.3], damping: [0.1, 1.0]}", f"kfac: {{lr: {many}, damping: {many}}}"
    )
    with pytest.raises(SpecError, match="360000 settings × 2 seeds are too many trials: at most 10000"):
        spec_of(tmp_path, text)


SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 10**6) | st.floats(-1, 10) | st.sampled_from(["grid", "tpe", "adam"])
)
VALUES = SCALARS | st.lists(SCALARS, max_size=4) | st.dictionaries(st.sampled_from(["low", "high", "lr"]), SCALARS)


@given(value=VALUES, data=st.data())
@settings(max_examples=50)
def test_any_value_in_its_place_makes_a_matrix_or_an_error(tmp_path: Path, value: Any, data: st.DataObject) -> None:
    tree = yaml.safe_load(TUNED)
    inside = tree["tuning"]
    while True:  # walk down, and stop somewhere
        key = data.draw(st.sampled_from(sorted(inside)))
        if not isinstance(inside[key], dict) or data.draw(st.booleans()):
            inside[key] = value
            break
        inside = inside[key]
    try:
        stage = load_matrix(write_spec(tmp_path, yaml.safe_dump(tree))).stage(None)
    except SpecError:
        return
    assert stage.waiting or tree["tuning"] is None
