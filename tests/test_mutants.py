"""The mutants that are listed, and the tool that plants them, on a tree of one module and one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mutants import ROOT, Mutant, checked, judged, main, mutants

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12

SOUND = "def double(x):\n    return 2 * x\n\n\nTHREE = 3\n"


def mutant(old: str, new: str, tests: str = "test_double.py") -> Mutant:
    return Mutant("made-up", "double.py", old, new, "a fault", (tests,))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "double.py").write_text(SOUND)
    (tmp_path / "test_double.py").write_text(
        "from double import double\n\n\ndef test_it():\n    assert double(2) == 4\n"
    )
    (tmp_path / "test_wrong.py").write_text("def test_wrong():\n    assert False\n")
    return tmp_path


def test_no_mutant_is_stale() -> None:
    """Every old text occurs exactly once in its file, and every module of tests is there."""
    assert [given.name for given in mutants() if given.planted(ROOT) is None] == []
    assert {test for given in mutants() for test in given.tests if not (ROOT / test).is_file()} == set()


def test_names_differ() -> None:
    names = [given.name for given in mutants()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (mutant("2 * x", "x"), "killed"),
        (mutant("THREE = 3", "THREE = 4"), "survived"),
        (mutant("x", "y"), "stale"),
        (mutant("2 * x", "x", "test_nowhere.py"), "broken"),
        (mutant("THREE = 3", "THREE = 4", "test_wrong.py"), "broken"),
    ],
    ids=["killed", "survived", "stale", "without tests", "tests that fail anyway"],
)
def test_a_fault_is_planted_judged_and_taken_out_again(tree: Path, given: Mutant, word: str) -> None:
    (verdict,) = checked([judged(given, tree)], tree)
    assert verdict.word == word
    assert (tree / "double.py").read_text() == SOUND


def test_tests_that_do_not_end_are_ended(tree: Path) -> None:
    assert judged(mutant("return 2 * x", "while True: pass"), tree, 0.5).word == "timeout"


def test_they_are_listed_with_their_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--only", "target-early"]) == 0
    assert "suite/analysis/summary.py: a target is reached 1 % early" in capsys.readouterr().out
