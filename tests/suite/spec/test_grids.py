import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.spec.grids import combinations, size, spelled

SCALARS = st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.sampled_from(["a", "b"]))
OPTIONS = st.dictionaries(
    st.sampled_from(["lr", "damping", "decay"]), SCALARS | st.lists(SCALARS, max_size=4), max_size=3
)


def test_lists_are_combined_with_the_last_varying_fastest() -> None:
    found = list(combinations({"method": "kpsvd", "lr": [0.1, 1.0], "damping": [0.3, 1e-5]}))
    assert [combination.suffix for combination in found] == [
        "[lr=0.1,damping=0.3]",
        "[lr=0.1,damping=1e-5]",
        "[lr=1,damping=0.3]",
        "[lr=1,damping=1e-5]",
    ]
    assert found[1].values == {"method": "kpsvd", "lr": 0.1, "damping": 1e-5}
    assert found[1].chosen == {"lr": 0, "damping": 1}


def test_without_lists_there_is_one_combination_without_suffix() -> None:
    (only,) = combinations({"lr": 0.1})
    assert (only.suffix, only.values, only.chosen) == ("", {"lr": 0.1}, {})


@given(OPTIONS)
def test_sizes_multiply(options: dict[str, object]) -> None:
    lengths = [len(value) for value in options.values() if isinstance(value, list)]
    assert size(options) == math.prod(lengths) == len(list(combinations(options)))


@given(OPTIONS)
def test_every_combination_is_made_of_the_given_values(options: dict[str, object]) -> None:
    for combination in combinations(options):
        assert list(combination.values) == list(options)
        for name, value in combination.values.items():
            given_value = options[name]
            assert value in given_value if isinstance(given_value, list) else value == given_value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1e-5, "1e-5"),
        (1e-12, "1e-12"),
        (3.0, "3"),
        (3, "3"),
        (1e300, "1e+300"),
        (True, "true"),
        (None, "null"),
        ("exact", "exact"),
    ],
)
def test_spelling(value: object, text: str) -> None:
    assert spelled(value) == text


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_different_numbers_are_spelled_differently(a: float, b: float) -> None:
    assert (spelled(a) == spelled(b)) == (a == b)
