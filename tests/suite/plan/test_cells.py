import json
import pickle
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.cell import Cell
from suite.errors import SuiteError
from suite.plan.cells import cells
from suite.plan.select import select
from suite.spec.faults import SpecError
from tests.suite.specs import SMALL, changed, loaded

pytestmark = pytest.mark.usefixtures("working_folder")

TWO = changed(
    "seeds",
    """\
  faces:
    data: faces
    network: {kind: autoencoder, encoder: [8, 2]}
    likelihood: gaussian
    batch_size: 32
seeds""",
)
GRID = changed("kpsvd, lr: 0.1", "kpsvd, lr: [0.1, 1], damping: [0.3, 3]", TWO)


def matrix(text: str) -> list[Cell]:
    return cells(loaded(text))


def keys(text: str) -> list[str]:
    return [cell.key for cell in matrix(text)]


def labels(chosen: list[Cell]) -> list[tuple[str, str, int]]:
    return [(cell.dataset, cell.optimizer, cell.seed) for cell in chosen]


def test_the_order_is_data_set_seed_optimizer() -> None:
    assert labels(matrix(TWO)) == [
        ("digits", "sgd", 0),
        ("digits", "kpsvd", 0),
        ("digits", "sgd", 1),
        ("digits", "kpsvd", 1),
        ("faces", "sgd", 0),
        ("faces", "kpsvd", 0),
        ("faces", "sgd", 1),
        ("faces", "kpsvd", 1),
    ]


def test_a_cell_knows_what_it_needs() -> None:
    spec = loaded(SMALL)
    cell = cells(spec)[1]
    assert cell.name == "kpsvd × digits × seed 0"
    assert cell.method is spec.optimizers["kpsvd"]
    assert cell.problem is spec.datasets["digits"]
    assert (cell.budget, cell.measure) == (spec.budget, spec.measure)


def test_excluded_cells_are_left_out() -> None:
    found = matrix(
        GRID + "exclude: [{optimizer: kpsvd, dataset: faces}, {optimizer: 'kpsvd[lr=1,damping=3]'}, {seed: 0}]\n"
    )
    assert labels(found) == [
        ("digits", "sgd", 1),
        ("digits", "kpsvd[lr=0.1,damping=0.3]", 1),
        ("digits", "kpsvd[lr=0.1,damping=3]", 1),
        ("digits", "kpsvd[lr=1,damping=0.3]", 1),
        ("faces", "sgd", 1),
    ]


def test_overridden_methods_are_those_of_the_cells() -> None:
    found = matrix(TWO + "overrides: {faces: {kpsvd: {damping: 5}}}\n")
    assert {(cell.dataset, cell.method.options()["damping"]) for cell in found if cell.optimizer == "kpsvd"} == {
        ("digits", 0.1),
        ("faces", 5.0),
    }
    assert found[0].key == keys(TWO)[0]


def test_the_definition_is_plain_content_without_labels() -> None:
    definition = matrix(changed("  sgd:", "  my-label:"))[0].definition
    assert json.loads(json.dumps(definition)) == definition
    assert sorted(definition) == ["budget", "measure", "method", "problem", "seed"]
    assert definition["method"] == {"method": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0}
    assert definition["problem"]["network"]["encoder"] == [8, 2]
    assert "my-label" not in json.dumps(definition)


def test_a_key_is_pinned() -> None:
    """It names results in people's stores: a change of it makes them measure everything again."""
    assert keys(SMALL)[0] == "d17bd34dd0d6cfd7"


def test_a_group_is_all_seeds_of_one_content() -> None:
    groups: dict[str, set[tuple[str, str]]] = {}
    for cell in matrix(TWO):
        groups.setdefault(cell.group_key, set()).add((cell.dataset, cell.optimizer))
    assert sorted(map(sorted, groups.values())) == [
        [("digits", "kpsvd")],
        [("digits", "sgd")],
        [("faces", "kpsvd")],
        [("faces", "sgd")],
    ]


def test_a_key_is_the_same_in_another_process() -> None:
    program = (
        "from pathlib import Path; from suite.spec.reading import load_spec; from suite.plan.cells import cells;"
        "print(*(cell.key for cell in cells(load_spec(Path('spec.yaml')))))"
    )
    expected = keys(GRID)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == expected


def test_a_cell_survives_the_way_to_a_worker() -> None:
    cell = matrix(SMALL)[0]
    assert pickle.loads(pickle.dumps(cell)) == cell
    assert pickle.loads(pickle.dumps(cell)).key == cell.key


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: small", "name: other\ndescription: words"),
        ("  sgd:", "  renamed:"),
        ("  digits:\n", "  renamed:\n"),
        ("{method: sgd, lr: 0.1}", "{lr: 0.1, method: sgd}"),
        ("{method: sgd, lr: 0.1}", "{method: sgd, lr: 1.0e-1, momentum: 0.9}"),
        ("{iterations: 5}", "{iterations: 5, diverged_above: 10.0}"),
        ("{iterations: 5}", "{iterations: 5}\nmeasure: {loss_every: 50}"),
        ("{iterations: 5}", "{iterations: 5}\ntargets: {digits: 3}"),
        ("{iterations: 5}", "{iterations: 5}\ntargets: {digits: {best_of: sgd}}"),
        ("    likelihood: bernoulli\n    batch_size: 32\n", "    batch_size: 32\n    likelihood: bernoulli\n"),
    ],
)
def test_a_key_does_not_depend_on_labels_order_spelling_or_targets(old: str, new: str) -> None:
    assert keys(changed(old, new)) == keys(SMALL)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sgd, lr: 0.1", "sgd, lr: 0.2"),
        ("sgd, lr: 0.1", "sgd, lr: 0.1, momentum: 0"),
        ("[8, 2]", "[8, 3]"),
        ("batch_size: 32", "batch_size: 33"),
        ("batch_size: 32", "batch_size: 32\n    train_examples: 100"),
        ("data: digits", "data: mnist"),
        ("{iterations: 5}", "{iterations: 6}"),
        ("{iterations: 5}", "{epochs: 5}"),
        ("{iterations: 5}", "{iterations: 5, diverged_above: 3}"),
        ("{iterations: 5}", "{iterations: 5}\nmeasure: {fisher_every: 5}"),
        ("{iterations: 5}", "{iterations: 5}\nmeasure: {fisher_batch: 64}"),
        ("[0, 1]", "[2, 1]"),
    ],
)
def test_a_key_depends_on_all_content(old: str, new: str) -> None:
    assert keys(changed(old, new))[0] != keys(SMALL)[0]


def test_whole_numbers_are_equal_however_spelled() -> None:
    assert keys(changed("sgd, lr: 0.1", "sgd, lr: 1")) == keys(changed("sgd, lr: 0.1", "sgd, lr: 1.0"))


def test_two_optimizers_of_the_same_content_are_refused() -> None:
    text = changed("  kpsvd:", "  again: {lr: 1.0e-1, method: sgd}\n  kpsvd:", TWO)
    with pytest.raises(SpecError) as caught:
        matrix(text)
    assert str(caught.value) == (
        "spec.yaml:5: optimizers.again: 'again' is the same as 'sgd' on data set 'digits'; remove one\n"
        "spec.yaml:5: optimizers.again: 'again' is the same as 'sgd' on data set 'faces'; remove one"
    )


def test_two_data_sets_of_the_same_content_are_refused() -> None:
    same = changed("data: faces", "data: digits", changed("likelihood: gaussian", "likelihood: bernoulli", TWO))
    with pytest.raises(SpecError) as caught:
        matrix(same)
    assert str(caught.value) == "spec.yaml:12: datasets.faces: is the same as data set 'digits'; remove one"


def test_an_override_can_make_two_optimizers_one() -> None:
    text = changed("  kpsvd:", "  fast: {method: sgd, lr: 1}\n  kpsvd:")
    with pytest.raises(SpecError, match="'fast' is the same as 'sgd' on data set 'digits'"):
        matrix(text + "overrides: {digits: {fast: {lr: 0.1}}}\n")


@given(
    lr=st.lists(st.integers(1, 10**6).map(lambda n: n / 1e5), min_size=1, max_size=5, unique=True),
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5, unique=True),
)
@settings(max_examples=30)
def test_keys_are_unique_and_sizes_multiply(lr: list[float], seeds: list[int]) -> None:
    found = keys(changed("[0, 1]", str(seeds), changed("kpsvd, lr: 0.1", f"kpsvd, lr: {lr}", TWO)))
    assert len(found) == (1 + len(lr)) * 2 * len(seeds)
    assert len(set(found)) == len(found)
    assert all(len(key) == 16 and set(key) <= set("0123456789abcdef") for key in found)


@given(lr=st.permutations([0.1, 0.2, 0.3]), seeds=st.permutations([0, 1, 2]))
@settings(max_examples=20)
def test_keys_do_not_depend_on_the_order_of_lists(lr: list[float], seeds: list[int]) -> None:
    def found(lr: list[float], seeds: list[int]) -> set[str]:
        return set(keys(changed("[0, 1]", str(seeds), changed("kpsvd, lr: 0.1", f"kpsvd, lr: {lr}"))))

    assert found(lr, seeds) == found([0.1, 0.2, 0.3], [0, 1, 2])


@pytest.mark.parametrize(
    ("expression", "number"),
    [
        ("optimizer=sgd", 4),
        ("optimizer=kpsvd", 16),
        ("optimizer=kpsvd[lr=0.1,damping=0.3]", 4),
        ("optimizer=kpsvd[lr=0.1,damping=0.3]|sgd,seed=0", 4),
        ("optimizer=kpsvd|sgd", 20),
        ("seed=0|1", 20),
        (" dataset = digits , seed = 1 ", 5),
        ("dataset=digits,optimizer=sgd,seed=0", 1),
    ],
)
def test_selections(expression: str, number: int) -> None:
    everything = matrix(GRID)
    chosen = select(everything, expression)
    assert len(chosen) == number
    assert chosen == [cell for cell in everything if cell in chosen]


@given(
    optimizers=st.lists(st.sampled_from(["sgd", "kpsvd", "kpsvd[lr=1,damping=3]"]), min_size=1, max_size=3),
    datasets=st.lists(st.sampled_from(["digits", "faces"]), max_size=2),
    seeds=st.lists(st.sampled_from(["0", "1"]), max_size=2),
)
def test_a_selection_is_a_filter(optimizers: list[str], datasets: list[str], seeds: list[str]) -> None:
    parts = {"optimizer": optimizers, "dataset": datasets, "seed": seeds}
    everything = matrix(GRID)
    expression = ",".join(f"{key}={'|'.join(values)}" for key, values in parts.items() if values)
    assert select(everything, expression) == [
        cell
        for cell in everything
        if (cell.optimizer in optimizers or cell.optimizer.split("[")[0] in optimizers)
        and (not datasets or cell.dataset in datasets)
        and (not seeds or str(cell.seed) in seeds)
    ]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("", "selection '' is not of the form KEY=VALUE, such as optimizer=kpsvd,seed=0"),
        ("kpsvd", "selection 'kpsvd' is not of the form KEY=VALUE, such as optimizer=kpsvd,seed=0"),
        ("seed=", "selection 'seed=' is not of the form KEY=VALUE, such as optimizer=kpsvd,seed=0"),
        ("seed=0,", "selection '' is not of the form KEY=VALUE, such as optimizer=kpsvd,seed=0"),
        ("optimiser=sgd", "selection 'optimiser=sgd': unknown key 'optimiser'; did you mean 'optimizer'?"),
        ("seed=0,seed=1", "selection 'seed=1': seed is given twice; join its values with |"),
        ("optimizer=kspvd", "selection: no cell has optimizer 'kspvd'; did you mean 'kpsvd'?"),
        ("dataset=digit", "selection: no cell has dataset 'digit'; did you mean 'digits'?"),
        ("seed=7", "selection: no cell has seed '7'; choose from 0, 1"),
        ("seed=0|", "selection: no cell has seed ''; choose from 0, 1"),
        ("optimizer=kpsvd[lr=9,damping=9]", "selection: no cell has optimizer 'kpsvd[lr=9,damping=9]'; did you mean "),
    ],
)
def test_what_is_wrong_with_a_selection(expression: str, text: str) -> None:
    with pytest.raises(SuiteError) as caught:
        select(matrix(GRID), expression)
    assert str(caught.value).startswith(text)
    assert str(caught.value) == text or text.endswith("did you mean ")


def test_a_valid_selection_that_nothing_matches_is_empty() -> None:
    assert select(matrix(SMALL + "exclude: [{optimizer: sgd, seed: 0}]\n"), "optimizer=sgd,seed=0") == []


def test_a_spec_of_which_everything_is_excluded_has_no_cells() -> None:
    assert matrix(SMALL + "exclude: [{optimizer: sgd}, {optimizer: kpsvd}]\n") == []


def test_an_option_that_came_later_leaves_older_cells_what_they_were() -> None:
    before, plain, nesterov = (
        matrix(changed("sgd, lr: 0.1", f"sgd, lr: 0.1{option}"))[0]
        for option in ("", ", nesterov: false", ", nesterov: true")
    )
    assert before.definition["method"] == {"method": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0}
    assert before.key == plain.key != nesterov.key


def test_a_data_set_may_have_a_budget_of_its_own() -> None:
    before, after = matrix(TWO), matrix(TWO + "budgets: {faces: {epochs: 3}}\n")
    assert {cell.dataset: cell.budget.epochs for cell in after} == {"digits": None, "faces": 3}
    assert {a.dataset for a, b in zip(before, after, strict=True) if a.key != b.key} == {"faces"}
    (warning,) = loaded(TWO + "budgets: {face: {epochs: 3}}\n").warnings
    assert "budgets.face: no data set is called 'face'; did you mean 'faces'?" in warning
