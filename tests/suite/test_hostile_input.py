"""Specs and stores from strangers: never a traceback, always an exit code of ours and a message, no file elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from suite.cli import main
from suite.errors import StoreError
from suite.gate.baseline import Environment, key_of
from suite.gate.outcomes import Outcome
from suite.gate.running import Outcomes
from suite.records import Records
from suite.store import open_store
from tests.suite.helpers import SMALL
from tests.suite.stores import evaluations, finished, fisher, iterations, matrix_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from suite.gate.running import Plan

pytestmark = pytest.mark.usefixtures("sketched")

SPEC: dict[str, Any] = yaml.safe_load(SMALL)
FUZZ = settings(max_examples=25)


def called(*arguments: str) -> tuple[int, str, str]:
    """A verb in this process: whatever escapes from `main` but an exit is a traceback for a user."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["kfsvd-bench", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as left,
    ):
        main()
    return int(str(left.value.code)), out.getvalue(), err.getvalue()


def said(
    code: int, out: str, err: str, allowed: tuple[int, ...] = (0, 2, 3, 4), *, of_a_damaged_store: bool = False
) -> None:
    """What every verb promises, whatever it is given.

    What a reader does not foresee of a damaged store is a message all the same, which says that the store may be it.
    """
    assert code in allowed, err
    assert (out + err).strip(), "without a word"
    assert "Traceback" not in out + err
    assert "unexpected" not in err or (of_a_damaged_store and "a damaged store" in err), "a fault that no reader knows"
    assert "\x1b" not in out + err
    if code == 2:
        assert err.startswith("kfsvd-bench: ") or "Error" in err, err


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=True)
    | st.sampled_from(
        ["", "kpsvd", "digits", "../../x", "os:system", "!!python/object/apply:os.system", "\x1b[2J", "\0"]
    )
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


@st.composite
def specs(draw: st.DrawFn) -> Any:
    """A valid spec with up to four things changed, removed or added anywhere."""
    spec = json.loads(json.dumps(SPEC))
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(places(spec)))
        if not path:
            continue
        parent = spec
        for step in path[:-1]:
            parent = parent[step]
        match draw(st.sampled_from(["change", "remove", "add"])):
            case "change":
                parent[path[-1]] = draw(values)
            case "remove":
                del parent[path[-1]]
            case "add" if isinstance(parent, dict):
                parent[draw(st.text(max_size=8))] = draw(values)
    return spec


def kept(folder: Path) -> set[str]:
    """The files below, but for those beside another test's store, which go when that is collected."""
    return {name for name in files(folder) if not name.endswith(("-wal", "-shm"))}


@FUZZ
@given(spec=specs())
def test_any_spec_is_planned_or_refused(spec: Any, working_folder: Path) -> None:
    Path("fuzz.yaml").write_text(json.dumps(spec), encoding="utf-8")
    before = kept(working_folder.parent)
    code, out, err = called("plan", "fuzz.yaml")
    said(code, out, err)
    assert code in (0, 2)
    if code == 2:
        assert "fuzz.yaml" in err, "it says where"
    assert kept(working_folder.parent) == before, "planning writes nothing"


class Sound(bytes):
    """The file of a store, said in a word where an example is printed."""

    def __repr__(self) -> str:
        return "a sound store"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store with results, as one file."""
    folder = tmp_path_factory.mktemp("sound")
    with open_store(f"sqlite:///{folder}/s.sqlite") as store:
        for cell in matrix_of(folder).cells:
            errors = [fisher("linear1", 20, 0.1, 0.2, 0.1, 0.2)]
            finished(store, cell, Records(iterations(40), evaluations([30.0, 20.0, 10.0]), errors))
    with closing(sqlite3.connect(folder / "s.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return Sound((folder / "s.sqlite").read_bytes())


FORMATS = [part for name in ("md", "html", "latex", "csv", "json") for part in ("--format", name)]
FOREIGN_SCRIPT = "<script>alert(1)</script>"


@contextlib.contextmanager
def untrained() -> Iterator[None]:
    """A gate that trains nothing, on the machine of the store: what it compares is real."""
    host = {"cpu": "a CPU", "blas": "a BLAS", "system": "Linux", "torch_build": ""}
    outcome = Outcome("done", (0, 20, 40), (30.0, 20.0, 10.0), (31.0, 21.0, 11.0), {"linear1": 0.2})

    def outcomes(plan: Plan, _: object) -> Outcomes:
        found = Outcomes()
        found.update({key_of(cell): outcome for cell in plan.cells})
        return found

    with (
        mock.patch("suite.gate.gating.Side"),
        mock.patch("suite.gate.gating.environment_of", return_value=Environment("2.13", None, host, "small")),
        mock.patch("suite.gate.gating.measure_outcomes", side_effect=outcomes),
    ):
        yield


def every_verb_answers(folder: Path, content: bytes) -> list[int]:
    """The exit codes of all that read a store, and of the one that writes."""
    codes = []
    outside = files(folder.parent) - files(folder)
    Path("small.yaml").write_text(SMALL)
    for arguments in (
        ("status", "small.yaml", "--db", "sqlite:///fuzz.sqlite"),
        ("plan", "small.yaml", "--db", "sqlite:///fuzz.sqlite"),
        ("logs", "optimizer=sgd,seed=0", "--db", "sqlite:///fuzz.sqlite"),
        ("optimizers", "sgd", "--db", "sqlite:///fuzz.sqlite"),
        ("report", "small.yaml", "--any-sources", *FORMATS, "--db", "sqlite:///fuzz.sqlite", "--out", "reports"),
        ("gate", "small.yaml", "--baseline-db", "sqlite:///fuzz.sqlite", "--rounds", "0"),
        ("export", "--db", "sqlite:///fuzz.sqlite", "--out", "export"),
        ("merge", "fuzz.sqlite", "--db", "sqlite:///merged.sqlite"),
    ):
        for name in ("fuzz.sqlite", "merged.sqlite"):
            for end in ("", "-wal", "-shm", "-journal"):
                Path(name + end).unlink(missing_ok=True)
        Path("fuzz.sqlite").write_bytes(content)
        with untrained() if arguments[0] == "gate" else contextlib.nullcontext():
            allowed = (0, 1, 2, 4, 5) if arguments[0] == "gate" else (0, 2, 3, 4)
            answer = called(*arguments)
        said(*answer, allowed=allowed, of_a_damaged_store=True)
        codes.append(answer[0])
    for page in folder.glob("reports/**/*.html"):
        assert FOREIGN_SCRIPT not in page.read_text(), "a script of the store's"
    assert all(name.startswith(folder.name) for name in files(folder.parent) - outside), "a file elsewhere"
    return codes


@settings(FUZZ, max_examples=6)
@given(
    cut=st.none() | st.integers(0, 200_000),
    holes=st.lists(st.tuples(st.integers(0, 200_000), st.binary(min_size=1, max_size=64)), max_size=6),
)
def test_a_store_with_damaged_bytes_is_read_or_refused(
    cut: int | None, holes: list[tuple[int, bytes]], sound: bytes, working_folder: Path
) -> None:
    content = bytearray(sound)
    for place, data in holes:
        start = place % len(content)
        content[start : start + len(data)] = data
    assert len(every_verb_answers(working_folder, bytes(content[:cut]))) == 8


OF_RUNS = (
    *("cell_key", "optimizer", "dataset", "seed", "definition", "status", "started_at", "ended_at", "heartbeat_at"),
    *("owner_host", "owner_pid", "error", "problem", "pixels", "wall_seconds", "device", "floor", "fingerprint"),
)
COLUMNS = [
    *(("runs", column) for column in OF_RUNS),
    ("experiments", "text"),
    ("environments", "cores"),
    ("evaluations", "train_loss"),
    ("iterations", "loss"),
    ("iterations", "seconds"),
    ("fisher_errors", "layer"),
    ("alembic_version", "version_num"),
]
FOREIGN = st.sampled_from(
    [
        None,
        "",
        "../../../x",
        FOREIGN_SCRIPT,
        "=cmd|' /C calc'!A0",
        "\x1b]0;x\x07",
        "x" * 5000,
        "'; DROP TABLE",
    ]
) | (st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary(max_size=8) | st.text(max_size=12))


@example(changes=[(("alembic_version", "version_num"), "")], dropped=False)
@example(changes=[(("experiments", "text"), b"")], dropped=False)
@example(changes=[(("evaluations", "train_loss"), 0)], dropped=False)
@settings(FUZZ, max_examples=4)
@given(changes=st.lists(st.tuples(st.sampled_from(COLUMNS), FOREIGN), min_size=1, max_size=3), dropped=st.booleans())
def test_a_store_with_foreign_values_is_read_or_refused(
    changes: list[tuple[tuple[str, str], Any]], dropped: bool, sound: bytes, working_folder: Path
) -> None:
    Path("fuzz.sqlite").write_bytes(sound)
    with closing(sqlite3.connect("fuzz.sqlite")) as connection:
        for (table, column), value in changes:
            with contextlib.suppress(sqlite3.Error, UnicodeEncodeError):  # what a column does not take
                connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
        if dropped and len(changes) > 2:
            connection.executescript(
                "DROP VIEW IF EXISTS leaderboard; DROP VIEW IF EXISTS curves; DROP TABLE evaluations"
            )
        connection.commit()
    content = Path("fuzz.sqlite").read_bytes()
    assert len(every_verb_answers(working_folder, content)) == 8


@pytest.mark.parametrize(
    ("column", "value"),
    [("runs.started_at", "../x"), ("runs.definition", "{"), ("iterations.seconds", "=cmd"), ("runs.pixels", b"x")],
)
def test_a_value_that_no_store_has_is_named(column: str, value: object, sound: bytes, working_folder: Path) -> None:
    Path("fuzz.sqlite").write_bytes(sound)
    table, _, name = column.partition(".")
    with closing(sqlite3.connect("fuzz.sqlite")) as connection:
        connection.execute(f"UPDATE {table} SET {name} = ?", (value,))
        connection.commit()
    with (
        pytest.raises(StoreError, match=rf"{column} has a value that it cannot have: restore a copy"),
        open_store("sqlite:///fuzz.sqlite"),
    ):
        raise ValueError("whatever that made of its reader")


def test_a_fault_of_the_program_on_a_sound_store_stays_one(sound: bytes, working_folder: Path) -> None:
    Path("fuzz.sqlite").write_bytes(sound)
    with pytest.raises(ValueError, match="a fault"), open_store("sqlite:///fuzz.sqlite"):
        raise ValueError("a fault")


def test_a_fault_of_the_program_is_one_line_and_its_traceback_is_to_be_had(working_folder: Path) -> None:
    Path("small.yaml").write_text(SMALL)
    broken = mock.patch("suite.commands.plan.plan", side_effect=ZeroDivisionError("a\nfault\x07"))
    with broken:
        code, out, err = called("plan", "small.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("kfsvd-bench: unexpected ZeroDivisionError: a fault\\x07; ")
    assert len(err.splitlines()) == 1
    with broken, mock.patch.dict(os.environ, {"KFSVD_TRACEBACK": "1"}), pytest.raises(ZeroDivisionError):
        called("plan", "small.yaml")
