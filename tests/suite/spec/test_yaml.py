import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.spec.faults import Fault, SpecError
from suite.spec.yaml import DEEPEST_NESTING, LARGEST_FILE, Position, parse, read, resolve

NAME = Path("some.yaml")


def faults(text: str) -> list[str]:
    """What is noted about a text that can still be read."""
    document = parse(text, NAME)
    return [document.located(fault) for fault in document.faults]


def error(text: str) -> str:
    """What is said about a text that cannot be read."""
    with pytest.raises(SpecError) as caught:
        parse(text, NAME)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-12", -12),
        ("+3", 3),
        ("0", 0),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-0.5e+2", -50.0),
        (".inf", float("inf")),
        ("-.inf", -float("inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("9223372036854775807", 2**63 - 1),
        # text, whatever YAML 1.1 makes of it
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("010", "010"),
        ("0o10", "0o10"),
        ("0x10", "0x10"),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1:30:00", "1:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
        ("e3", "e3"),
        (".", "."),
        ("-", "-"),
        ("=", "="),
        ("<<", "<<"),
        ("٣", "٣"),  # a digit, though not one of ours
    ],
)
def test_unquoted_values(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number() -> None:
    found = resolve(".nan")
    assert isinstance(found, float)
    assert found != found


def test_quoted_and_block_values_are_text() -> None:
    assert parse("a: '1'\nb: \"true\"\nc: |\n  1\nd: >-\n  null\n", NAME).data == {
        "a": "1",
        "b": "true",
        "c": "1\n",
        "d": "null",
    }


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_writes_is_read_back(number: float) -> None:
    assert resolve(repr(number)) == number


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_every_integer_that_python_writes_is_read_back(number: int) -> None:
    assert resolve(repr(number)) == number


def test_positions_are_those_of_keys_and_items() -> None:
    text = "a: 1\nb:\n  c: [x, y]\n  d:\n    - {e: 1}\n"
    assert parse(text, NAME).positions == {
        (): Position(1, 1),
        ("a",): Position(1, 1),
        ("b",): Position(2, 1),
        ("b", "c"): Position(3, 3),
        ("b", "c", 0): Position(3, 7),
        ("b", "c", 1): Position(3, 10),
        ("b", "d"): Position(4, 3),
        ("b", "d", 0): Position(5, 7),
        ("b", "d", 0, "e"): Position(5, 8),
    }


def test_what_is_not_there_is_located_at_what_holds_it() -> None:
    document = parse("a: 1\nb:\n  c: 1\n", NAME)
    assert document.position(("b", "missing", 3)) == Position(2, 1)
    assert document.position(("missing",)) == Position(1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", ["some.yaml:3: a: duplicate key; it is also on line 1"]),
        ("a: {b: 1, b: 2}", ["some.yaml:1: a.b: duplicate key; it is also on line 1"]),
        (
            "a: &x 1\nb: *x",
            [
                "some.yaml:1: a: anchors (&x) are not allowed",
                "some.yaml:2: b: aliases (*x) are not allowed; repeat the value",
            ],
        ),
        ("a: *nowhere", ["some.yaml:1: a: aliases (*nowhere) are not allowed; repeat the value"]),
        (
            "a: !!python/object/apply:os.system [ls]",
            ["some.yaml:1: a: tags (tag:yaml.org,2002:python/object/apply:os.system) are not allowed"],
        ),
        ("a: !!int '3'", ["some.yaml:1: a: tags (tag:yaml.org,2002:int) are not allowed"]),
        ("a: !mine {b: 1}", ["some.yaml:1: a: tags (!mine) are not allowed"]),
        ("1: a", ["some.yaml:1: a key must be text; put quotes around 1"]),
        ("b:\n  true: a", ["some.yaml:2: b: a key must be text; put quotes around true"]),
        ("?\n: a", ["some.yaml:1: a key must be text; put quotes around it"]),
        ("? [a, b]\n: 1", ["some.yaml:1: a key must be text, not a list, a mapping or an alias"]),
        ("&k a: 1", ["some.yaml:1: a key can have no anchor and no tag: 'a'"]),
        (
            "a: 9223372036854775808",
            ["some.yaml:1: a: '9223372036854775808' is beyond the largest whole number, 9223372036854775807"],
        ),
        ('a: "\\uD800"', ["some.yaml:1: a: holds half a character: '\\ud800'"]),
        ('"\\uD800": 1', ["some.yaml:1: holds half a character: '\\ud800'"]),
        ("", ["some.yaml:1: is empty"]),
        ("# only a comment\n", ["some.yaml:1: is empty"]),
    ],
)
def test_faults_that_leave_the_rest_readable(text: str, expected: list[str]) -> None:
    assert faults(text) == expected


def test_a_duplicate_mapping_is_one_fault() -> None:
    assert faults("a: {b: 1, c: 2}\na: {b: 1, c: 2}") == ["some.yaml:2: a: duplicate key; it is also on line 1"]


def test_all_faults_are_noted_and_the_rest_is_read() -> None:
    document = parse("a: &x 1\nb: *x\nb: 2\nc: 3", NAME)
    assert len(document.faults) == 3
    assert document.data == {"a": 1, "b": None, "c": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: [1, 2",
            "some.yaml:1: not valid YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'",
        ),
        (
            "a: 1\n\tb: 2",
            "some.yaml:2: not valid YAML: while scanning for the next token found character '\\t' "
            "that cannot start any token",
        ),
        ("a: b: c", "some.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2", "some.yaml:2: not valid YAML: a second document begins; a spec is one"),
        ("a: \x07", "some.yaml:1: not valid YAML: unprintable character U+0007"),
        ('a: 1\nb: "\\UFFFFFFFF"', "some.yaml:2: not valid YAML: "),
    ],
)
def test_what_is_not_yaml(text: str, expected: str) -> None:
    assert error(text).startswith(expected)
    assert "\n" not in error(text)


def test_nesting_is_limited() -> None:
    deep = "[" * DEEPEST_NESTING + "]" * DEEPEST_NESTING
    assert faults(deep) == []
    assert error(f"[{deep}]") == f"some.yaml:1: not valid YAML: nested more than {DEEPEST_NESTING} deep"
    assert error("[" * 100_000) == f"some.yaml:1: not valid YAML: nested more than {DEEPEST_NESTING} deep"


def test_an_alias_bomb_is_read_in_no_time() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 15))]
    assert len(faults("\n".join(lines))) == 15 + 14 * 9


def reading(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        read(path)
    return str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert reading(missing) == f"{missing}: cannot be read: no such file or directory"
    assert reading(tmp_path) == f"{tmp_path}: cannot be read: is a directory"
    assert reading(Path("a\0b")) == "'a\\x00b': cannot be read: embedded null byte"


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (LARGEST_FILE + 1))
    assert reading(path) == f"{path}: is larger than 256 KiB, the most that a spec may have"


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"a: 1\nb: \xff\xfe")
    assert reading(path) == f"{path}:2: is not UTF-8 text (byte 0xff)"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "marked.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(path).data == {"a": 1}
    assert read(path).text == "a: 1\n"


PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text("abc", min_size=1), items, max_size=3),
    max_leaves=10,
)


@given(PLAIN)
def test_json_is_read_as_what_it_says(data: Any) -> None:
    assert parse(json.dumps(data), NAME).data == data


@given(st.text("ab:-[]{}&*!?|>'\"#%@,\n\t 0.\\", max_size=60) | st.text(max_size=40))
def test_any_text_is_a_document_or_an_error_that_says_where(text: str) -> None:
    try:
        found = parse(text, NAME)
    except SpecError as error:
        said = str(error)
    else:
        said = found.located(Fault((), ""))
    assert said.startswith("some.yaml:")


@given(st.binary(max_size=60))
def test_any_file_is_a_document_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        said = str(read(path).path)
    except SpecError as error:
        said = str(error)
    assert said.startswith(str(path))
