from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from suite.errors import shown
from suite.model import Model
from suite.spec.faults import Fault, faults_of, key_path


class Inner(Model):
    width: int = Field(default=1, ge=1)
    name: str = "a"


class Round(Model):
    kind: Literal["round"]
    radius: float = Field(gt=0)


class Square(Model):
    kind: Literal["square"]


class Outer(Model):
    rate: float = Field(default=0.5, gt=0, lt=1)
    flag: bool = False
    limit: int | None = Field(default=None, le=5)
    choice: Literal["fast", "slow"] = "fast"
    inner: Inner | None = None
    shape: Annotated[Round | Square, Field(discriminator="kind")] | None = None
    parts: dict[str, Inner] = Field(default_factory=dict)
    items: list[int] = Field(default=[1], min_length=1)
    pair: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 2), min_length=2, strict=False)


def faults(data: Any) -> list[Fault]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(data)
    return faults_of(caught.value, data, Outer)


@pytest.mark.parametrize(
    ("data", "path", "text"),
    [
        ({"rate": 0}, ("rate",), "must be greater than 0, not 0"),
        ({"rate": 1.5}, ("rate",), "must be less than 1, not 1.5"),
        ({"rate": "x"}, ("rate",), "must be a number, not 'x'"),
        ({"rate": "1e-3"}, ("rate",), "must be a number, not '1e-3'; write it without quotes"),
        ({"rate": None}, ("rate",), "must be a number, not null"),
        ({"rate": float("nan")}, ("rate",), "must be a finite number, not nan"),
        ({"flag": 1}, ("flag",), "must be true or false, not 1"),
        ({"limit": 6}, ("limit",), "must be at most 5, not 6"),
        ({"limit": True}, ("limit",), "must be a whole number, not true"),
        ({"limit": 2.0}, ("limit",), "must be a whole number, not 2.0"),
        ({"choice": "fats"}, ("choice",), "unknown value 'fats'; did you mean 'fast'?"),
        ({"choice": 3}, ("choice",), "unknown value 3; choose from fast, slow"),
        ({"inner": 3}, ("inner",), "must be a mapping of keys to values, not 3"),
        ({"inner": {"wdth": 3}}, ("inner", "wdth"), "unknown key; did you mean 'width'?"),
        ({"inner": {"name": 3}}, ("inner", "name"), "must be text, not 3"),
        ({"parts": {"a": {"width": 0}}}, ("parts", "a", "width"), "must be at least 1, not 0"),
        ({"parts": {"a": {"wdth": 0}}}, ("parts", "a", "wdth"), "unknown key; did you mean 'width'?"),
        ({"parts": []}, ("parts",), "must be a mapping of keys to values, not an empty list"),
        ({"items": []}, ("items",), "must not be empty"),
        ({"pair": [1]}, ("pair",), "must hold at least 2, not a list"),
        ({"pair": [1, 0]}, ("pair", 1), "must be at least 1, not 0"),
        ({"items": {}}, ("items",), "must be a list, not an empty mapping"),
        ({"items": [1, "b"]}, ("items", 1), "must be a whole number, not 'b'"),
        ({"shape": {"kind": "round"}}, ("shape", "radius"), "is missing"),
        ({"shape": {"kind": "round", "radius": -1}}, ("shape", "radius"), "must be greater than 0, not -1"),
    ],
)
def test_faults_are_located_and_put_in_plain_words(data: Any, path: tuple[str | int, ...], text: str) -> None:
    assert faults(data) == [Fault(path, text)]


def test_every_fault_is_found() -> None:
    assert [fault.path for fault in faults({"rate": 2, "flag": 2, "nothing": 2})] == [
        ("rate",),
        ("flag",),
        ("nothing",),
    ]


def test_a_key_path_reads_as_in_a_spec() -> None:
    assert key_path(("optimizers", "kpsvd", "lr", 1)) == "optimizers.kpsvd.lr[1]"
    assert key_path(("a\nb", "")) == "'a\\nb'.''"


def test_long_values_are_cut() -> None:
    text = shown("x" * 1000)
    assert text == f"'{'x' * 57}…'"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0.1, "0.1"),
        ("a", "'a'"),
        ([1], "a list"),
        ({"a": 1}, "a mapping"),
    ],
)
def test_values_are_shown_as_a_spec_holds_them(value: object, text: str) -> None:
    assert shown(value) == text
