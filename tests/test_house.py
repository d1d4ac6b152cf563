"""The layout: who may import whom. Every room stands on a floor, and every import leads to a lower one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

FLOORS = (  # from the top down; a room is a module or a package right below `kfsvd` or `suite`
    "suite.cli",
    "suite.commands",
    "suite suite.gate",
    "suite.report suite.results",
    "suite.plan suite.scheduling",
    "suite.store suite.training",
    "suite.cell suite.environment",
    "suite.spec kfsvd",
    "kfsvd._public suite.methods suite.cost",
    "kfsvd.optimizers",
    "kfsvd.averaging kfsvd.compression",
    "kfsvd.approximations kfsvd.measures",
    "kfsvd.curvature kfsvd.rearrangement suite.problems",
    "kfsvd.inverse kfsvd.network suite.plugins",
    "kfsvd._lazy kfsvd.linalg kfsvd.options suite.analysis suite.errors suite.model suite.records",
)
FLOOR = {room: floor for floor, rooms in enumerate(reversed(FLOORS)) for room in rooms.split()}


def modules(root: Path = ROOT) -> dict[str, Path]:
    """All modules of both packages, by name."""
    files = [path for package in ("kfsvd", "suite") for path in (root / package).rglob("*.py")]
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imported(source: str, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a source imports, at its top, within functions or for types alone."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in known or node.module in known:
                    yield name if name in known else node.module


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


@cache
def arrows() -> dict[str, frozenset[str]]:
    known = modules()
    return {name: frozenset(imported(path.read_text(), known)) - {name} for name, path in known.items()}


def planted(module: str, other: str) -> dict[str, frozenset[str]]:
    """The same with an import that is not there."""
    return {**arrows(), module: arrows()[module] | {other}}


def circle(graph: dict[str, frozenset[str]]) -> list[str]:
    """Modules that import each other in a loop; empty where none do."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name not in done:
            for other in sorted(graph[name]):
                if found := visit(other, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def upward(graph: dict[str, frozenset[str]]) -> list[str]:
    """Imports that do not lead to a lower floor."""
    return [
        f"{name} -> {other}"
        for name, others in sorted(graph.items())
        for other in sorted(others)
        if room(name) != room(other) and FLOOR[room(name)] <= FLOOR[room(other)]
    ]


def test_every_import_leads_to_a_lower_floor() -> None:
    assert upward(arrows()) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(arrows()) == []


def test_every_room_has_a_floor() -> None:
    assert {room(name) for name in modules()} == set(FLOOR)


def test_the_map_shows_the_floors() -> None:
    (drawn,) = re.findall(r"```text\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert [" ".join(re.findall(r"^\S+", floor, re.MULTILINE)) for floor in drawn.split("\n\n")] == list(FLOORS)


def test_the_folders_of_the_tests_are_rooms() -> None:
    tests = ROOT / "tests"
    folders = {path.parent.relative_to(tests).parts[:2] for path in tests.glob("*/*/**/test_*.py")}
    assert {".".join(parts) for parts in folders} <= set(FLOOR)


def test_the_library_knows_nothing_of_the_suite() -> None:
    assert [
        name
        for name, others in arrows().items()
        if name.startswith("kfsvd") and any(o.startswith("suite") for o in others)
    ] == []


@pytest.mark.parametrize("above", ["suite.report.model", "suite.cli"])
def test_an_upward_import_would_be_found(above: str) -> None:
    assert upward(planted("suite.store.store", above)) == [f"suite.store.store -> {above}"]


def test_a_circle_would_be_found() -> None:
    graph = planted("suite.store.tables", "suite.store.store")
    assert {"suite.store.tables", "suite.store.store"} <= set(circle(graph))


def test_imports_within_functions_and_for_types_count() -> None:
    source = "if TYPE_CHECKING:\n    from suite.cell import Cell\ndef f():\n    import suite.cli\n"
    assert set(imported(source, modules())) == {"suite.cell", "suite.cli"}
