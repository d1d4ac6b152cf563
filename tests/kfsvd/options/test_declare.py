"""Options are declared once: checks, flat names, objects and signatures follow from the declaration."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypedDict

import pytest
from torch import nn

import kfsvd
from kfsvd.optimizers import MATRIX_OPTIMIZERS, OPTIMIZERS
from kfsvd.options.choices import Schedule
from kfsvd.options.declare import REQUIRED, Grouped, Option, completed, declared, flattened


@dataclass(frozen=True)
class Ice(Grouped):
    tag: ClassVar[str] = "ice"

    scoops: Annotated[int, Option("how many", ge=1, flat="ice_scoops")] = 2


@dataclass(frozen=True)
class Heat(Grouped):
    degrees: Annotated[float, Option("of the plate", gt=0, flat="heat")] = 180.0
    fan: Annotated[bool, Option("whether it runs", flat="heat_fan")] = False


class Menu(TypedDict, total=False):
    name: Annotated[str, Option("of the dish")]
    heat: Annotated[float | Heat, Option("how hot", default=180.0)]
    extra: Annotated[str | Ice, Option("with it", default="none")]
    every: Annotated[Schedule | None, Option("days between", default=None)]


def test_an_object_and_its_flat_names_are_the_same() -> None:
    by_object = completed("Dish", Menu, {"name": "pie", "heat": Heat(200, fan=True), "extra": Ice(3)}, {})
    by_name = completed(
        "Dish", Menu, {"name": "pie", "heat": 200, "heat_fan": True, "extra": "ice", "ice_scoops": 3}, {}
    )
    assert by_object == by_name == {"name": "pie", "heat": Heat(200, fan=True), "extra": Ice(3), "every": None}


def test_a_plain_value_alone_leaves_the_other_parts_at_their_defaults() -> None:
    assert completed("Dish", Menu, {"name": "pie", "heat": 90}, {})["heat"] == Heat(90.0)
    assert completed("Dish", Menu, {"name": "pie"}, {})["extra"] == "none", "no object without its tag"


def test_defaults_of_an_owner_come_before_the_declared_ones() -> None:
    made = completed("Dish", Menu, {"name": "pie", "heat_fan": True}, {"heat": Heat(70), "extra": "ice"})
    assert made == {"name": "pie", "heat": Heat(70, fan=True), "extra": Ice(2), "every": None}


def test_flat_options_have_names_defaults_and_sentences() -> None:
    flat = flattened(Menu, {"heat": Heat(70)})
    assert {name: each.default for name, each in flat.items()} == {
        "name": REQUIRED,
        "heat": 70,
        "heat_fan": False,
        "extra": "none",
        "ice_scoops": 2,
        "every": None,
    }
    assert flat["heat"].option.says == "of the plate"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, TypeError, "Dish needs the option 'name'"),
        ({"name": "pie", "haet": 1}, TypeError, "Dish has no option 'haet'; did you mean 'heat'"),
        ({"name": "pie", "zzz": 1}, TypeError, "no option 'zzz'; it has name, heat, extra, every"),
        ({"name": 3}, ValueError, "name must be text; got 3"),
        ({"name": "pie", "heat": 0}, ValueError, "heat must be above 0; got 0"),
        ({"name": "pie", "heat": float("nan")}, ValueError, "heat must be a number; got nan"),
        ({"name": "pie", "heat": float("inf")}, ValueError, "heat must be finite; got inf"),
        ({"name": "pie", "heat": "hot"}, ValueError, "heat must be a number; got 'hot'"),
        ({"name": "pie", "heat_fan": 1}, ValueError, "heat_fan must be true or false; got 1"),
        ({"name": "pie", "ice_scoops": 1.5}, ValueError, "ice_scoops must be a whole number; got 1.5"),
        ({"name": "pie", "ice_scoops": 0}, ValueError, "ice_scoops must be at least 1; got 0"),
        ({"name": "pie", "every": 0}, ValueError, "every must be a number of at least 1, or a schedule"),
        ({"name": "pie", "every": 2.5}, ValueError, "every must be a number of at least 1, or a schedule"),
        ({"name": "pie", "heat": Ice(1)}, ValueError, "heat accepts no Ice"),
        ({"name": "pie", "heat": Heat(90), "heat_fan": True}, ValueError, "heat_fan is given twice"),
    ],
)
def test_what_is_wrong_is_said_with_what_was_given(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        completed("Dish", Menu, given, {})


def test_an_object_checks_its_own_parts() -> None:
    with pytest.raises(ValueError, match="damping must be above 0; got -1"):
        kfsvd.Damping(-1)
    with pytest.raises(ValueError, match="guard must be one of floor, absolute, raise; got 'none'"):
        kfsvd.Damping(guard="none")  # type: ignore[arg-type]


def test_a_field_keeps_its_declaration_where_a_subclass_changes_the_default_alone() -> None:
    assert declared(kfsvd.APPROXIMATIONS["deflation"])["rank"].option.ge == 1
    assert declared(kfsvd.APPROXIMATIONS["deflation"])["rank"].default == 2


@pytest.mark.parametrize("name", [*OPTIMIZERS, *MATRIX_OPTIMIZERS])
def test_a_constructor_shows_every_option_and_has_at_most_fifteen_arguments(name: str) -> None:
    kind: Any = {**OPTIMIZERS, **MATRIX_OPTIMIZERS}[name]
    shown = inspect.signature(kind).parameters
    assert len(shown) <= 15
    assert set(declared(kind.declares)) <= set(shown)
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in shown.values())
    made = kind(nn.Linear(3, 2), "gaussian")
    for option, value in made.options.items():
        default = shown[option].default
        assert value == default or isinstance(value, Grouped), option


def test_the_front_of_the_library_is_small() -> None:
    assert len(dir(kfsvd)) <= 45
    assert not any(name.startswith("_") for name in dir(kfsvd))
    assert all(hasattr(kfsvd, name) for name in dir(kfsvd))
