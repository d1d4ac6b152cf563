import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.plan.cells import cells
from suite.spec.grids import size
from suite.spec.reading import load_spec, yaml
from tests.suite.specs import loaded

FOLDER = Path(__file__).parents[3] / "specs"
NAMES = [
    "ablations",
    "initialisation",
    "quickstart",
    "quickstart-grid",
    "ci",
    "autoencoders",
    "autoencoders-cpu",
    "autoencoders-gpu",
    "autoencoders-as-published",
    "defaults",
    "family",
    "fisher",
    "guard",
    "seconds",
    "seconds-grid",
    "protocol",
    "protocol-mistuned",
    "compression",
]
EVERY_METHOD_OF_THE_PAPER = ["sgd", "adam", "kfac", "kpsvd", "deflation", "lanczos", "kfac_corrected"]


def test_all_shipped_specs_are_tested() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_spec_is_valid(name: str) -> None:
    spec = load_spec(FOLDER / f"{name}.yaml")
    assert spec.name == name
    assert spec.description
    assert spec.warnings == []
    assert name in ("quickstart-grid", "compression") or set(spec.targets) == set(spec.datasets)


def test_the_quickstart_holds_what_it_promises() -> None:
    spec = load_spec(FOLDER / "quickstart.yaml")
    assert list(spec.optimizers) == ["sgd", "adam", "kfac", "kpsvd"]
    assert [problem.data for problem in spec.datasets.values()] == ["digits", "curves"]
    assert len(spec.seeds) == 3
    assert spec.budget.seconds is not None, "a slow machine has an end too; that it takes two minutes is for CI to see"


def test_the_quickstart_uses_the_winners_of_its_grid_on_seeds_of_its_own() -> None:
    spec, grid = load_spec(FOLDER / "quickstart.yaml"), load_spec(FOLDER / "quickstart-grid.yaml")
    assert spec.datasets == grid.datasets
    assert not set(spec.seeds) & set(grid.seeds)
    counts = {name: sum(m.method == name for m in grid.optimizers.values()) for name in spec.optimizers}
    assert set(counts.values()) == {18}, "the same number of settings for every optimizer"
    for dataset in spec.datasets:
        for optimizer in spec.optimizers:
            assert spec.method(optimizer, dataset) in grid.optimizers.values()


@pytest.mark.parametrize(
    ("name", "seeds"),
    [("autoencoders", 5), ("autoencoders-as-published", 1), ("autoencoders-cpu", 3), ("autoencoders-gpu", 3)],
)
def test_the_autoencoders_are_the_papers(name: str, seeds: int) -> None:
    spec = load_spec(FOLDER / f"{name}.yaml")
    assert {method.method for method in spec.optimizers.values()} >= set(EVERY_METHOD_OF_THE_PAPER)
    assert len(spec.seeds) == seeds
    problems = {
        problem.data: (
            problem.network.model_dump()["encoder"],
            problem.likelihood,
            problem.batch_size,
            problem.train_examples,
        )
        for problem in spec.datasets.values()
    }
    papers = {
        "curves": ((400, 200, 100, 50, 25, 6), "bernoulli", 256, 16_000),
        "mnist": ((1000, 500, 250, 30), "bernoulli", 512, 50_000),
        "faces": ((2000, 1000, 500, 30), "gaussian", 1024, 82_800),
    }
    assert problems == {data: paper for data, paper in papers.items() if name != "autoencoders-gpu" or data != "curves"}


def test_the_main_job_is_the_papers_seven_methods_for_as_many_epochs() -> None:
    spec = load_spec(FOLDER / "autoencoders.yaml")
    assert [method.method for method in spec.optimizers.values()] == EVERY_METHOD_OF_THE_PAPER
    assert (spec.budget.epochs, spec.budgets) == (200, {})


@pytest.mark.parametrize(("name", "trials"), [("autoencoders-cpu", 8), ("autoencoders-gpu", 6)])
def test_the_full_autoencoders_are_tuned_alike(name: str, trials: int) -> None:
    spec = load_spec(FOLDER / f"{name}.yaml")
    assert spec.tuning is not None
    assert {spec.tuning.trials(optimizer) for optimizer in spec.optimizers} == {trials}
    for optimizer in EVERY_METHOD_OF_THE_PAPER[2:]:
        assert spec.tuning.spaces[optimizer] == spec.tuning.spaces["kfac"]


def test_the_fisher_errors_are_measured_on_the_papers_networks_and_batches() -> None:
    spec, autoencoders = load_spec(FOLDER / "fisher.yaml"), load_spec(FOLDER / "autoencoders.yaml")
    assert spec.datasets == autoencoders.datasets
    assert spec.optimizers == {"adam": autoencoders.optimizers["adam"]}
    assert set(EVERY_METHOD_OF_THE_PAPER) - {"sgd", "adam"} <= set(spec.measure.fisher_approximations)
    batches = {name: spec.measure.fisher_examples(problem.batch_size) for name, problem in spec.datasets.items()}
    assert batches == {"curves": 64, "mnist": 128, "faces": 256}


# Settings published for losses averaged over pixels: lr and λ, and whether λ was added to each factor as it
# is (True) or as its root.
PUBLISHED = {
    "kfac": {"curves": (0.1, 3e-3, False), "mnist": (1e-2, 1e-4, False), "faces": (0.1, 1e-3, False)},
    "kpsvd": {"curves": (0.1, 3e-3, False), "mnist": (1e-2, 1e-4, False), "faces": (0.1, 1e-3, False)},
    "deflation": {"curves": (0.1, 0.1, True), "mnist": (3e-3, 1e-3, True), "faces": (3e-3, 1e-3, True)},
    "lanczos": {"curves": (1e-3, 1e-3, True), "mnist": (3e-3, 1e-3, True), "faces": (3e-3, 1e-3, True)},
    "kfac_corrected": {"curves": (0.1, 3e-2, True), "mnist": (0.1, 1e-2, True), "faces": (0.1, 3e-2, True)},
}


@pytest.mark.parametrize("name", ["autoencoders", "autoencoders-as-published"])
def test_published_settings_are_translated_to_summed_losses(name: str) -> None:
    spec = load_spec(FOLDER / f"{name}.yaml")
    scales = {"curves": 1 / 784, "mnist": 1 / 784, "faces": 2 / 625}
    for dataset, scale in scales.items():
        assert spec.method("sgd", dataset).options()["lr"] == pytest.approx(0.3 * scale, rel=5e-3)
        assert spec.method("adam", dataset).options()["lr"] == 1e-3
        for optimizer, published in PUBLISHED.items():
            lr, damping, squared = published[dataset]
            options = spec.method(optimizer, dataset).options()
            assert options["lr"] == pytest.approx(lr / scale, rel=5e-3)
            assert options["damping"] == pytest.approx((damping**2 if squared else damping) / scale**2, rel=5e-3)
            assert (options["refresh_every"], options["curvature_batch"], options["momentum"]) == (100, 0.25, 0.9)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=8)
def test_a_shipped_spec_stays_valid_when_entries_are_removed(
    name: str, data: st.DataObject, working_folder: Path
) -> None:
    tree: Any = yaml.read(FOLDER / f"{name}.yaml").data
    for part in ("optimizers", "datasets"):
        kept = data.draw(st.lists(st.sampled_from(list(tree[part])), min_size=1, unique=True), part)
        tree[part] = {label: tree[part][label] for label in kept}
    tree["seeds"] = data.draw(st.lists(st.sampled_from(tree["seeds"]), min_size=1, unique=True), "seeds")
    spec = loaded(json.dumps(tree))
    optimizers = sum(size(options) for options in tree["optimizers"].values())
    left_out = [
        e for e in tree.get("exclude", []) if e["optimizer"] in tree["optimizers"] and e["dataset"] in tree["datasets"]
    ]
    assert len(cells(spec)) == (optimizers * len(tree["datasets"]) - len(left_out)) * len(tree["seeds"])


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_a_shipped_spec_is_explained_where_it_first_stands(name: str) -> None:
    document = yaml.read(FOLDER / f"{name}.yaml")
    lines = ["", *document.text.splitlines()]
    seen = set()
    for path, position in document.positions.items():
        key = path[-1] if path else 0
        named = (("optimizers",), ("datasets",), ("budgets",), ("targets",), ("compression", "methods"))
        chosen = path[:-1] in named
        if not isinstance(key, str) or key in seen or chosen or path[:1] == ("overrides",) != path:
            continue  # a list's item, said already, or a name that the file chooses
        seen.add(key)
        explained = " #" in lines[position.line] or lines[position.line - 1].lstrip().startswith("#")
        assert explained, f"{name}.yaml:{position.line}: {key}"
