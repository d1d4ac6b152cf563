"""The track `compression:` of a spec: what it may say, and the cells that it makes."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from kfsvd.approximations import APPROXIMATIONS, sums
from kfsvd.compression import LOW_RANKS, PRUNINGS, FisherWeighted, Surgeon
from suite.errors import SuiteError
from suite.methods.compression import COMPRESSORS
from suite.plan.cells import cells, compressions
from suite.plan.plan import Matrix
from suite.plan.select import select
from tests.suite.compressing import COMPRESSING, METHODS, labels
from tests.suite.helpers import SMALL
from tests.suite.specs import changed, faults, loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from suite.cell import Cell

pytestmark = pytest.mark.usefixtures("working_folder")


def made(text: str) -> list[Cell]:
    spec = loaded(text)
    return compressions(spec, cells(spec))


def keys(text: str) -> list[str]:
    return [cell.key for cell in made(text)]


def test_every_method_is_a_cell_of_every_network_of_the_optimizer() -> None:
    matrix = made(COMPRESSING)
    assert [(c.optimizer, c.dataset, c.seed) for c in matrix[:: len(METHODS)]] == [
        ("adam", "digits", s) for s in (0, 1)
    ]
    assert labels(matrix) == METHODS
    assert len(matrix) == 2 * len(METHODS)
    assert matrix[0].name == "magnitude of adam × digits × seed 0"
    assert all(pickle.loads(pickle.dumps(cell)).key == cell.key for cell in matrix)


def test_other_cells_are_what_they_were() -> None:
    assert [cell.key for cell in cells(loaded(COMPRESSING))] == [cell.key for cell in cells(loaded(SMALL))]
    assert compressions(loaded(SMALL), cells(loaded(SMALL))) == []
    assert len({*keys(COMPRESSING), *(cell.key for cell in cells(loaded(SMALL)))}) == 8 + 2 * len(METHODS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ratios: [1.0, 0.4]", "ratios: [1.0, 0.3]"),
        ("fine_tuning: 10", "fine_tuning: 11"),
        ("examples: 64", "examples: 65\n  fisher: monte_carlo"),
        ("examples: 64", "examples: 64\n  fisher: exact"),
        ("adam: {method: adam, lr: 0.003}", "adam: {method: adam, lr: 0.004}"),
        ("iterations: 60", "iterations: 61"),
    ],
)
def test_a_cell_is_all_that_its_losses_depend_on(old: str, new: str) -> None:
    assert not set(keys(COMPRESSING)) & set(keys(changed(old, new, COMPRESSING)))


def test_a_cell_is_not_its_labels_nor_the_other_methods() -> None:
    without = changed("    svd: {method: svd}\n", "", COMPRESSING)
    assert set(keys(COMPRESSING)) - set(keys(without)) == {c.key for c in made(COMPRESSING) if labels([c]) == ["svd"]}
    relabelled = changed("    svd: {method: svd}", "    plain: {method: svd}", COMPRESSING)
    assert keys(relabelled) == keys(COMPRESSING)
    one = changed("shots: 2}\n    rows", "shots: 3}\n    rows", COMPRESSING)
    assert len(set(keys(COMPRESSING)) - set(keys(one))) == 2


def test_two_names_for_one_method_are_a_fault() -> None:
    spec = loaded(changed("    fwsvd: {method: fwsvd}", "    again: {method: svd}", COMPRESSING))
    with pytest.raises(
        SuiteError, match=r"^spec.yaml:\d+: compression.methods.again: is the same as 'svd'; remove one$"
    ):
        compressions(spec, cells(spec))


def test_cells_are_selected_by_method() -> None:
    matrix = Matrix(loaded(COMPRESSING), "compression=svd|magnitude,seed=1", None)
    assert [cell.name for cell in matrix.cells] == [
        f"{name} of adam × digits × seed 1" for name in ("magnitude", "svd")
    ]
    assert len(Matrix(loaded(COMPRESSING), "optimizer=adam", None).cells) == 2 + 2 * len(METHODS)
    with pytest.raises(SuiteError, match="no cell has compression 'svdd'; did you mean 'svd'"):
        select(made(COMPRESSING), "compression=svdd")


def test_a_tuned_optimizers_networks_are_compressed_at_its_best_setting() -> None:
    tuning = "tuning: {trials: 2, seeds: [7], budget: {iterations: 5}, spaces: {adam: {lr: [0.001, 0.01]}}}\n"
    only = "\n".join(line for line in COMPRESSING.splitlines() if not line.startswith(("  sgd", "  kfac", "  kpsvd")))
    stage = Matrix(loaded(only + "\n" + tuning), None, None).stage(None)
    assert stage.compressions == []
    assert labels(stage.waiting) == METHODS
    assert all(cell.compression is None for cell in stage.trials)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("  trained_by: adam\n", "", "compression.trained_by: is missing"),
        ("ratios: [1.0, 0.4]", "ratio: 0.5\n  ratios: [0.4]", "ratio: unknown key; did you mean 'ratios'?"),
        ("[1.0, 0.4]", "[]", "compression.ratios: must not be empty"),
        ("[1.0, 0.4]", "[0.4, 0.0]", "compression.ratios[1]: must be greater than 0, not 0.0"),
        ("[1.0, 0.4]", "[1.5]", "compression.ratios[0]: must be at most 1, not 1.5"),
        ("[1.0, 0.4]", "[0.4, 0.4]", "compression.ratios: 0.4 is listed twice"),
        ("{method: svd}", "{method: sdv}", "methods.svd.method: unknown value 'sdv'; did you mean 'svd'?"),
        ("{method: svd}", "{rank: 3}", "methods.svd.method: is missing"),
        ("{method: svd}", "{method: svd, shots: 2}", "methods.svd.shots: unknown key"),
        ("structure: row", "structure: rows", "methods.rows.structure: unknown value 'rows'; did you mean 'row'?"),
        ("structure: row", "approximation: ekfac", "rows.approximation: unknown value 'ekfac'; did you mean 'kfac'?"),
        ("structure: row", "exclude: [lst]", "methods.rows.exclude[0]: unknown value 'lst'; did you mean 'last'?"),
        ("structure: row", "damping: 0", "methods.rows.damping: must be greater than 0, not 0"),
        (
            "{method: gfwsvd}",
            "{method: gfwsvd, approximation: lanczos}",
            "gfwsvd.approximation: unknown value 'lanczos'",
        ),
        ("{method: fwsvd}", "2", "compression.methods.fwsvd: "),
        ("fine_tuning: 10", "fine_tuning: 10.5", "compression.fine_tuning: must be a whole number, not 10.5"),
        (
            "fine_tuning: 10",
            "fisher: emprical",
            "compression.fisher: unknown value 'emprical'; did you mean 'empirical'?",
        ),
        ("iterations: 60", "seconds: 5", "budget.seconds: a network that is compressed must be the same in every cell"),
    ],
)
def test_faults_are_named_where_they_stand(old: str, new: str, fault: str) -> None:
    (found,) = faults(changed(old, new, COMPRESSING))
    assert fault in found
    assert found.startswith("spec.yaml:")


def test_an_optimizer_that_is_not_there_is_a_warning() -> None:
    """As everywhere: entries of `optimizers` may be removed."""
    spec = loaded(changed("trained_by: adam", "trained_by: adm", COMPRESSING))
    assert [w.partition(": ")[2] for w in spec.warnings] == [
        "compression.trained_by: no optimizer is called 'adm'; did you mean 'adam'?"
    ]
    assert compressions(spec, cells(spec)) == []


def test_the_methods_are_those_of_the_library() -> None:
    assert set(COMPRESSORS) == {*PRUNINGS, *LOW_RANKS}
    for name, model in COMPRESSORS.items():
        ours = model.model_validate({"method": name}).options()
        theirs = {**PRUNINGS, **LOW_RANKS}[name]()
        of_prune = ("method", "structure", "shots", "exclude")
        assert vars(theirs) == {option: value for option, value in ours.items() if option not in of_prune}


def test_the_approximations_are_those_that_the_library_takes() -> None:
    """Sums of at most two products for pruning, single products for low rank; all others are refused by both."""
    for name in APPROXIMATIONS:
        for method, library, most in (("surgeon", Surgeon, 2), ("gfwsvd", FisherWeighted, 1)):
            accepted = name in sums(most)
            assert _accepts(lambda library=library, name=name: library(approximation=name)) is accepted
            options = {"method": method, "approximation": name}
            assert _accepts(lambda m=method, o=options: COMPRESSORS[m].model_validate(o)) is accepted
    assert set(sums(1)) < set(sums(2)) < set(APPROXIMATIONS)


def _accepts(made: Callable[[], object]) -> bool:
    try:
        made()
    except ValueError:
        return False
    return True
