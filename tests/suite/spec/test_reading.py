import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kfsvd.approximations import APPROXIMATIONS
from suite.errors import ExitCode
from suite.methods.first_order import SGD
from suite.spec.faults import SpecError
from suite.spec.reading import Exclusion, Spec, base_label, load_spec, same_label
from suite.spec.schema import BestOf, Between, Measure
from tests.suite.specs import SMALL, changed, faults, loaded

pytestmark = pytest.mark.usefixtures("working_folder")


def test_a_small_spec_is_read() -> None:
    spec = loaded(SMALL)
    assert (spec.name, spec.description, spec.seeds) == ("small", "", (0, 1))
    assert list(spec.optimizers) == ["sgd", "kpsvd"]
    assert spec.optimizers["sgd"] == SGD(method="sgd", lr=0.1)
    assert spec.datasets["digits"].batch_size == 32
    assert (spec.budget.epochs, spec.budget.iterations, spec.budget.seconds) == (None, 5, None)
    assert spec.budget.diverged_above == 10
    assert (spec.measure.loss_every, spec.measure.evaluation_examples) == (50, None)
    assert (spec.measure.fisher_every, spec.measure.fisher_samples) == (None, 256)
    assert (spec.measure.fisher_approximations, spec.measure.fisher_batch) == ((), 0.25)
    assert (spec.targets, spec.exclude, spec.overrides, spec.warnings) == ({}, (), {}, [])
    assert (spec.text, spec.path) == (SMALL, Path("spec.yaml"))


def test_a_list_is_a_grid() -> None:
    spec = loaded(changed("{method: kpsvd, lr: 0.1}", "{damping: [0.3, 1.0e-5], method: kpsvd, lr: [0.1, 1]}"))
    assert list(spec.optimizers) == [
        "sgd",
        "kpsvd[lr=0.1,damping=0.3]",
        "kpsvd[lr=0.1,damping=1e-5]",
        "kpsvd[lr=1,damping=0.3]",
        "kpsvd[lr=1,damping=1e-5]",
    ]
    options = spec.optimizers["kpsvd[lr=1,damping=1e-5]"].options()
    assert (options["lr"], options["damping"]) == (1.0, 1e-5)


def test_labels_of_a_grid_do_not_depend_on_the_order_of_options() -> None:
    one = loaded(changed("{method: kpsvd, lr: 0.1}", "{method: kpsvd, lr: [0.1, 1], damping: [1, 2]}"))
    other = loaded(changed("{method: kpsvd, lr: 0.1}", "{damping: [1, 2], lr: [0.1, 1], method: kpsvd}"))
    assert list(one.optimizers.items()) == list(other.optimizers.items())


def test_a_grid_of_one_is_a_grid() -> None:
    assert list(loaded(changed("sgd, lr: 0.1", "sgd, lr: [0.1]")).optimizers) == ["sgd[lr=0.1]", "kpsvd"]


def test_defaults_apply_where_the_option_exists_and_is_not_given() -> None:
    text = (
        changed("    batch_size: 32\n", "") + "defaults: {optimizers: {damping: 3, lr: 7}, datasets: {batch_size: 9}}\n"
    )
    spec = loaded(changed("method: sgd, lr: 0.1", "method: sgd", text))
    assert spec.optimizers["sgd"].options()["lr"] == 7
    assert spec.optimizers["kpsvd"].options()["lr"] == 0.1
    assert spec.optimizers["kpsvd"].options()["damping"] == 3
    assert spec.datasets["digits"].batch_size == 9


def test_a_default_can_be_a_grid() -> None:
    spec = loaded(SMALL + "defaults: {optimizers: {damping: [1, 2]}}\n")
    assert list(spec.optimizers) == ["sgd", "kpsvd[damping=1]", "kpsvd[damping=2]"]


def test_overrides_replace_options_on_one_data_set() -> None:
    spec = loaded(
        changed("kpsvd, lr: 0.1", "kpsvd, lr: [0.1, 1]") + "overrides: {digits: {kpsvd: {damping: 3}, sgd: {lr: 5}}}\n"
    )
    assert spec.method("sgd", "digits") == SGD(method="sgd", lr=5)
    assert spec.method("sgd", "elsewhere") == SGD(method="sgd", lr=0.1)
    for label, lr in (("kpsvd[lr=0.1]", 0.1), ("kpsvd[lr=1]", 1.0)):
        assert spec.method(label, "digits").options()["damping"] == 3
        assert spec.method(label, "digits").options()["lr"] == lr
        assert spec.optimizers[label].options()["damping"] == 0.1


def test_a_target_is_a_number_or_a_list() -> None:
    assert loaded(SMALL + "targets: {digits: 12}\n").targets == {"digits": (12.0,)}
    assert loaded(SMALL + "targets: {digits: [12, 10.5]}\n").targets == {"digits": (12.0, 10.5)}


def test_a_target_may_follow_from_what_is_measured() -> None:
    spec = loaded(SMALL + "targets: {digits: [12, {best_of: sgd}, {fraction: 0.9, between: [start, {best_of: kfac}]}]}")
    number, best, part = spec.targets["digits"]
    assert (number, best) == (12.0, BestOf(best_of="sgd"))
    assert part == Between(fraction=0.9, between=("start", BestOf(best_of="kfac")))
    assert spec.warnings == [
        "spec.yaml:14: targets.digits[2].between[1].best_of: no optimizer or method is called 'kfac'"
        "; choose from sgd, kpsvd"
    ]


def test_a_target_names_a_label_a_grid_or_a_method() -> None:
    text = changed("  sgd:", "  plain:").replace("kpsvd, lr: 0.1", "kpsvd, lr: [0.1, 1]")
    for name in ("plain", "sgd", "kpsvd", "kpsvd[lr=0.1]"):
        assert loaded(text + f"targets: {{digits: {{best_of: '{name}'}}}}\n").warnings == []
    (warning,) = loaded(text + "targets: {digits: {best_of: plan}}\n").warnings
    assert (
        warning
        == "spec.yaml:14: targets.digits.best_of: no optimizer or method is called 'plan'; did you mean 'plain'?"
    )


def test_approximations_to_measure_are_named_in_any_order() -> None:
    measure = loaded(
        SMALL + "measure: {fisher_approximations: [lanczos, kfac], fisher_every: 2, fisher_batch: 9}\n"
    ).measure
    assert (measure.fisher_approximations, measure.fisher_batch) == (("lanczos", "kfac"), 9)
    assert loaded(SMALL + "measure: {fisher_approximations: []}\n").measure == loaded(SMALL).measure


@pytest.mark.parametrize(("given", "examples"), [(0.25, 8), (1, 32), (1.0, 32), (128, 128), (0.001, 1)])
def test_a_fisher_batch_is_a_share_of_the_batch_or_a_number(given: float, examples: int) -> None:
    assert Measure(fisher_batch=given).fisher_examples(32) == examples


@pytest.mark.parametrize("name", APPROXIMATIONS)
def test_every_approximation_of_the_library_may_be_measured(name: str) -> None:
    measured = loaded(SMALL + f"measure: {{fisher_every: 5, fisher_approximations: [{name}]}}\n").measure
    assert measured.fisher_approximations == (name,)


def test_labels_of_a_grid() -> None:
    assert base_label("kpsvd[lr=0.1]") == base_label("kpsvd") == "kpsvd"
    assert same_label("kpsvd", "kpsvd[lr=0.1]")
    assert same_label("kpsvd[lr=0.1]", "kpsvd[lr=0.1]")
    assert not same_label("kpsvd[lr=0.1]", "kpsvd[lr=0.2]")
    assert not same_label("kp", "kpsvd")


@pytest.mark.parametrize(
    ("entry", "matched"),
    [
        ({"optimizer": "kpsvd"}, True),
        ({"optimizer": "kpsvd[lr=1]", "dataset": "digits", "seed": 0}, True),
        ({"seed": 0}, True),
        ({"seed": 1}, False),
        ({"optimizer": "kpsvd", "dataset": "mnist"}, False),
        ({"optimizer": "sgd"}, False),
    ],
)
def test_an_exclusion_matches_all_its_keys(entry: dict[str, Any], matched: bool) -> None:
    assert Exclusion(**entry).matches("kpsvd[lr=1]", "digits", 0) is matched


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("version: 1\n", "", ["1: version: is missing"]),
        ("version: 1", "version: 2", ["1: version: this program reads version 1 of specs, not 2"]),
        ("version: 1", "version: '1'", ["1: version: must be a whole number, not '1'; write it without quotes"]),
        (
            "name: small",
            "name: Small Spec",
            ["2: name: must be lower-case letters, digits and hyphens, at most 64, not 'Small Spec'"],
        ),
        (
            "name: small",
            "name: ../up",
            ["2: name: must be lower-case letters, digits and hyphens, at most 64, not '../up'"],
        ),
        ("name: small", "name: 3", ["2: name: must be text, not 3"]),
        ("name: small", "name: small\ndescription: [a]", ["3: description: must be text, not a list"]),
        ("name: small", "name: small\nsede: 1", ["3: sede: unknown key; did you mean 'seeds'?"]),
        ("method: sgd", "method: sdg", ["4: optimizers.sgd.method: unknown method 'sdg'; did you mean 'sgd'?"]),
        ("method: sgd", "method: 3", ["4: optimizers.sgd.method: must be text, not 3; choose from sgd, adam, kfac, …"]),
        (
            "{method: sgd, lr: 0.1}",
            "{lr: 0.1}",
            ["4: optimizers.sgd.method: is missing; choose from sgd, adam, kfac, …"],
        ),
        ("sgd, lr: 0.1", "sgd", ["4: optimizers.sgd.lr: is missing"]),
        ("sgd, lr: 0.1", "sgd, lr: -0.1", ["4: optimizers.sgd.lr: must be greater than 0, not -0.1"]),
        ("sgd, lr: 0.1", "sgd, lr: .nan", ["4: optimizers.sgd.lr: must be a finite number, not nan"]),
        ("sgd, lr: 0.1", "sgd, lr: 1e999", ["4: optimizers.sgd.lr: must be a finite number, not inf"]),
        ("sgd, lr: 0.1", "sgd, lr: on", ["4: optimizers.sgd.lr: must be a number, not 'on'"]),
        (
            "sgd, lr: 0.1",
            "sgd, lr: 1, momentun: 0",
            ["4: optimizers.sgd.momentun: unknown key; did you mean 'momentum'?"],
        ),
        ("sgd, lr: 0.1", "sgd, lr: []", ["4: optimizers.sgd.lr: an empty list: no value to try"]),
        ("sgd, lr: 0.1", "sgd, lr: [1, 1.0]", ["4: optimizers.sgd.lr[1]: 1.0 is listed twice"]),
        ("sgd, lr: 0.1", "sgd, lr: [[1]]", ["4: optimizers.sgd.lr[0]: must be a number, not a list"]),
        (
            "sgd, lr: 0.1",
            "sgd,\n    lr: [1,\n    -2,\n    x], momentum: [0, 2]",
            [
                "6: optimizers.sgd.lr[1]: must be greater than 0, not -2",
                "7: optimizers.sgd.lr[2]: must be a number, not 'x'",
                "7: optimizers.sgd.momentum[1]: must be less than 1, not 2",
            ],
        ),
        (
            "  sgd: {method: sgd, lr: 0.1}\n",
            "  a b: {method: sgd, lr: 0.1}\n",
            ["4: optimizers.a b: a label is at most 64 letters, digits and _.+-, a letter or digit first"],
        ),
        (
            "  sgd: {method: sgd, lr: 0.1}\n",
            "  'a[b]': {method: sgd, lr: 0.1}\n",
            ["4: optimizers.a[b]: a label is at most 64 letters, digits and _.+-, a letter or digit first"],
        ),
        ("{method: sgd, lr: 0.1}", "sgd", ["4: optimizers.sgd: must be a mapping of keys to values, not 'sgd'"]),
        (
            "  sgd: {method: sgd, lr: 0.1}\n  kpsvd: {method: kpsvd, lr: 0.1}\n",
            "  {}\n",
            ["3: optimizers: must not be empty"],
        ),
        ("data: digits", "data: digit", ["8: datasets.digits.data: unknown data set 'digit'; did you mean 'digits'?"]),
        ("    data: digits\n", "", ["7: datasets.digits.data: is missing; choose from digits, curves, mnist, faces"]),
        (
            "  digits:\n",
            "  dig,its:\n",
            ["7: datasets.dig,its: a label is at most 64 letters, digits and _.+-, a letter or digit first"],
        ),
        (
            "kind: autoencoder,",
            "kind: autoencodr,",
            ["9: datasets.digits.network.kind: unknown kind of network 'autoencodr'; did you mean 'autoencoder'?"],
        ),
        ("[8, 2]", "[8, 0]", ["9: datasets.digits.network.encoder[1]: must be at least 1, not 0"]),
        ("[8, 2]", "[8, 2.5]", ["9: datasets.digits.network.encoder[1]: must be a whole number, not 2.5"]),
        (
            "[8, 2]",
            "[8, 2], activation: tahn",
            ["9: datasets.digits.network.activation: unknown value 'tahn'; did you mean 'tanh'?"],
        ),
        ("[8, 2]", "[8, 2], widht: 3", ["9: datasets.digits.network.widht: unknown key…"]),
        (
            "likelihood: bernoulli",
            "likelihood: bernouli",
            ["10: datasets.digits.likelihood: unknown value 'bernouli'; did you mean 'bernoulli'?"],
        ),
        ("batch_size: 32", "batch_size: 0", ["11: datasets.digits.batch_size: must be at least 1, not 0"]),
        (
            "batch_size: 32",
            "bach_size: 32",
            [
                "7: datasets.digits.batch_size: is missing",
                "11: datasets.digits.bach_size: unknown key; did you mean 'batch_size'?",
            ],
        ),
        ("[0, 1]", "[]", ["12: seeds: must not be empty"]),
        ("[0, 1]", "[0, 1, 0]", ["12: seeds[2]: 0 is listed twice"]),
        ("[0, 1]", "[0, -1]", ["12: seeds[1]: must be at least 0, not -1"]),
        ("[0, 1]", "[0, 4294967296]", ["12: seeds[1]: must be less than 4294967296, not 4294967296"]),
        ("[0, 1]", "[0, 1.5]", ["12: seeds[1]: must be a whole number, not 1.5"]),
        ("[0, 1]", "[false]", ["12: seeds[0]: must be a whole number, not false"]),
        ("[0, 1]", "3", ["12: seeds: must be a list, not 3"]),
        ("{iterations: 5}", "{}", ["13: budget: needs at least one of epochs, iterations and seconds"]),
        ("{iterations: 5}", "{iterations: 0}", ["13: budget.iterations: must be at least 1, not 0"]),
        ("{iterations: 5}", "{iterations: 5.5}", ["13: budget.iterations: must be a whole number, not 5.5"]),
        ("{iterations: 5}", "{seconds: 1:30}", ["13: budget.seconds: must be a number, not '1:30'"]),
        ("{iterations: 5}", "{epochs: 5, seconds: .inf}", ["13: budget.seconds: must be a finite number, not inf"]),
        (
            "{iterations: 5}",
            "{epochs: 5, diverged_above: 1}",
            ["13: budget.diverged_above: must be greater than 1, not 1"],
        ),
        ("{iterations: 5}", "{epoch: 5}", ["13: budget.epoch: unknown key; did you mean 'epochs'?"]),
    ],
)
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, expected: list[str]) -> None:
    assert_said(faults(changed(old, new)), expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("measure: {loss_evry: 5}", ["measure.loss_evry: unknown key; did you mean 'loss_every'?"]),
        ("measure: {loss_every: 0}", ["measure.loss_every: must be at least 1, not 0"]),
        (
            "measure: {fisher_every: 9, fisher_approximations: [kfac, kspvd]}",
            ["measure.fisher_approximations[1]: unknown value 'kspvd'; did you mean 'kpsvd'?"],
        ),
        (
            "measure: {fisher_every: 9, fisher_approximations: [kfac, tkfac, kfac]}",
            ["measure.fisher_approximations[2]: 'kfac' is listed twice"],
        ),
        (
            "measure: {fisher_every: 9, fisher_approximations: kfac}",
            ["measure.fisher_approximations: must be a list, not 'kfac'"],
        ),
        (
            "measure: {fisher_approximations: [kfac]}",
            ["measure.fisher_approximations: needs fisher_every: the iterations between the measurements"],
        ),
        (
            "measure: {fisher_every: 0, fisher_approximations: [kfac]}",
            ["measure.fisher_every: must be at least 1, not 0"],
        ),
        ("measure: {fisher_batch: 0}", ["measure.fisher_batch: must be greater than 0, not 0"]),
        ("targets: {digits: .inf}", ["targets.digits: must be a finite number, not inf"]),
        ("targets: {digits: [1, 0]}", ["targets.digits[1]: must be greater than 0, not 0"]),
        ("targets: {digits: []}", ["targets.digits: must not be empty"]),
        ("targets: {digits: }", ["targets.digits: must be a list, not null"]),
        ("targets: {digits: [x]}", ["targets.digits[0]: must be a number, not 'x'"]),
        ("targets: {digits: {best_of: 3}}", ["targets.digits.best_of: must be text, not 3"]),
        (
            "targets: {digits: [3, {best: sgd}]}",
            [
                "targets.digits[1].best_of: is missing",
                "targets.digits[1].best: unknown key; did you mean 'best_of'?",
            ],
        ),
        (
            "targets: {digits: [{fraction: 2, betwen: [start, floor]}]}",
            [
                "targets.digits[0].between: is missing",
                "targets.digits[0].fraction: must be at most 1, not 2",
                "targets.digits[0].betwen: unknown key; did you mean 'between'?",
            ],
        ),
        (
            "targets: {digits: [{fraction: .5, between: [strat, {best_off: sgd}]}]}",
            [
                "targets.digits[0].between[0]: unknown value 'strat'; did you mean 'start'?",
                "targets.digits[0].between[1].best_of: is missing",
                "targets.digits[0].between[1].best_off: unknown key; did you mean 'best_of'?",
            ],
        ),
        (
            "targets: {digits: [{fraction: .5, between: [start]}, {fraction: .5, between: [1, 2, floor]}]}",
            [
                "targets.digits[0].between[1]: is missing",
                "targets.digits[1].between: must hold at most 2, not 3",
            ],
        ),
        (
            "defaults: {optimizers: {momentm: 1}}",
            ["defaults.optimizers.momentm: unknown option; did you mean 'momentum'?"],
        ),
        ("defaults: {optimizers: {method: sgd}}", ["defaults.optimizers.method: unknown option…"]),
        ("defaults: {optimizers: {momentum: 2}}", ["defaults.optimizers.momentum: must be less than 1, not 2"]),
        (
            "defaults: {datasets: {batchsize: 1}, seeds: {}}",
            [
                "defaults.datasets.batchsize: unknown option; did you mean 'batch_size'?",
                "defaults.seeds: unknown key; choose from optimizers, datasets",
            ],
        ),
        ("defaults: {datasets: {train_examples: 0}}", ["defaults.datasets.train_examples: must be at least 1, not 0"]),
        ("overrides: {digits: {sgd: {lr: -1}}}", ["overrides.digits.sgd.lr: must be greater than 0, not -1"]),
        ("overrides: {digits: {sgd: {lr: [1]}}}", ["overrides.digits.sgd.lr: must be one value, not a list"]),
        (
            "overrides: {digits: {sgd: {method: adam}}}",
            ["overrides.digits.sgd.method: the method itself cannot be overridden"],
        ),
        ("overrides: {digits: {sgd: 3}}", ["overrides.digits.sgd: must be a mapping of keys to values, not 3"]),
        ("exclude: [{}]", ["exclude[0]: needs at least one of optimizer, dataset and seed"]),
        ("exclude: [{seed: x}]", ["exclude[0].seed: must be a whole number, not 'x'"]),
        ("exclude: [{datset: x}]", ["exclude[0].datset: unknown key; did you mean 'dataset'?"]),
        ("exclude: {seed: 1}", ["exclude: must be a list, not a mapping"]),
    ],
)
def test_what_is_wrong_in_a_further_line_is_said(line: str, expected: list[str]) -> None:
    assert_said(faults(SMALL + line), [f"14: {fault}" for fault in expected])


def assert_said(found: list[str], expected: list[str]) -> None:
    """That these are the faults; a list of choices that depends on the registries may be left open with "…"."""
    assert len(found) == len(expected), found
    for line, fault in zip(found, expected, strict=True):
        start, choices, _ = f"spec.yaml:{fault}".partition("…")
        assert line.startswith(start) if choices else line == start


@pytest.mark.parametrize(
    ("data", "network", "likelihood", "fault"),
    [
        (
            "digits",
            "{kind: autoencoder, encoder: [8, 2]}",
            "categorical",
            "likelihood: the autoencoder network reproduces its inputs: "
            "must be bernoulli or gaussian, not 'categorical'",
        ),
        (
            "digits",
            "{kind: mlp, hidden: [8]}",
            "bernoulli",
            "likelihood: the mlp network predicts labels: must be categorical, not 'bernoulli'",
        ),
        (
            "curves",
            "{kind: mlp, hidden: [8]}",
            "categorical",
            "likelihood: must not be 'categorical': the data set 'curves' has no labels",
        ),
        (
            "faces",
            "{kind: autoencoder, encoder: [8, 2]}",
            "bernoulli",
            "likelihood: must not be 'bernoulli': the pixels of 'faces' are not between 0 and 1",
        ),
    ],
)
def test_likelihood_network_and_data_must_suit_each_other(data: str, network: str, likelihood: str, fault: str) -> None:
    text = changed("data: digits", f"data: {data}", changed("likelihood: bernoulli", f"likelihood: {likelihood}"))
    text = changed("{kind: autoencoder, encoder: [8, 2]}", network, text)
    assert faults(text) == [f"spec.yaml:10: datasets.digits.{fault}"]


def test_no_more_examples_than_there_are() -> None:
    (fault,) = faults(changed("batch_size: 32", "batch_size: 32\n    train_examples: 9999"))
    assert fault.startswith("spec.yaml:12: datasets.digits.train_examples: must be at most ")
    assert fault.endswith(", the size of 'digits', not 9999")


def test_an_override_cannot_undo_a_grid() -> None:
    text = changed("sgd, lr: 0.1", "sgd, lr: [1, 2]") + "overrides: {digits: {sgd: {lr: 3}}}\n"
    assert faults(text) == ["spec.yaml:14: overrides.digits.sgd.lr: lr is a grid of sgd, which an override would undo"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "spec.yaml:1: is empty"),
        ("[1]", "spec.yaml:1: a spec must be a mapping of keys such as version and name, not a list"),
        ("null", "spec.yaml:1: a spec must be a mapping of keys such as version and name, not null"),
        ("text", "spec.yaml:1: a spec must be a mapping of keys such as version and name, not 'text'"),
        (
            "a: 'b",
            "spec.yaml:1: not valid YAML: while scanning a quoted scalar found unexpected end of stream",
        ),
    ],
)
def test_a_file_that_is_no_spec_at_all(text: str, expected: str) -> None:
    assert faults(text) == [expected]


def test_a_missing_file() -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(Path("nowhere.yaml"))
    assert str(caught.value) == "nowhere.yaml: cannot be read: no such file or directory"
    assert caught.value.exit_code == ExitCode.USAGE


def test_all_faults_are_shown_at_once_in_the_order_of_the_file() -> None:
    text = """\
version: 1
name: small
optimizers:
  sgd: {method: sdg, lr: 0.1}
  adam: {method: adam, lr: 0}
  adam: {method: adam, lr: 1}
datasets:
  digits: &d
    data: digitz
    network: {kind: autoencoder, encoder: [x]}
    likelihood: bernoulli
seeds: [0, 0]
budget: {}
more: 1
"""
    assert [line.split(": ")[0] + " " + line.split(": ")[1] for line in faults(text)] == [
        "spec.yaml:4 optimizers.sgd.method",
        "spec.yaml:5 optimizers.adam.lr",
        "spec.yaml:6 optimizers.adam",
        "spec.yaml:8 datasets.digits",
        "spec.yaml:8 datasets.digits.batch_size",
        "spec.yaml:9 datasets.digits.data",
        "spec.yaml:10 datasets.digits.network.encoder[0]",
        "spec.yaml:12 seeds[1]",
        "spec.yaml:13 budget",
        "spec.yaml:14 more",
    ]


def test_names_that_nothing_bears_are_warnings() -> None:
    spec = loaded(
        SMALL
        + """\
targets: {digts: 1, digits: 1}
overrides: {mnist: {sgd: {lr: 3}}, digits: {spg: {lr: 3}}}
exclude:
- {optimizer: kspvd}
- {optimizer: kpsvd, dataset: faces}
- {seed: 7}
- {seed: 1}
"""
    )
    assert spec.warnings == [
        "spec.yaml:14: targets.digts: no data set is called 'digts'; did you mean 'digits'?",
        "spec.yaml:15: overrides.mnist: no data set is called 'mnist'; choose from digits",
        "spec.yaml:15: overrides.digits.spg: no optimizer is called 'spg'; did you mean 'sgd'?",
        "spec.yaml:17: exclude[0].optimizer: no optimizer is called 'kspvd'; did you mean 'kpsvd'?",
        "spec.yaml:18: exclude[1].dataset: no data set is called 'faces'; choose from digits",
        "spec.yaml:19: exclude[2].seed: no seed is called 7; choose from 0, 1",
    ]


def test_an_exclusion_names_a_grid_or_one_of_its_labels_without_warning() -> None:
    text = changed("kpsvd, lr: 0.1", "kpsvd, lr: [0.1, 1]")
    spec = loaded(text + "exclude: [{optimizer: kpsvd, seed: 0}, {optimizer: 'kpsvd[lr=1]'}]\n")
    assert spec.warnings == []


def test_too_many_cells_are_refused_before_they_are_made() -> None:
    thousand = list(range(1, 1001))
    grid = f"sgd, lr: {thousand}, momentum: {[n / 2000 for n in thousand]}, weight_decay: {thousand}"
    (found,) = faults(changed("sgd, lr: 0.1", grid))  # no memory has room for that many
    assert "spec.yaml:3: optimizers: 1000000001 optimizers × 1 data sets × 2 seeds" in found
    assert "at most 100000" in found


@given(sizes=st.lists(st.integers(1, 4), min_size=3, max_size=3))
@settings(max_examples=20)
def test_sizes_of_a_grid_multiply(sizes: list[int]) -> None:
    lists = [[(index + 1) / 10 for index in range(count)] for count in sizes]
    grid = f"kpsvd, lr: {lists[0]}, damping: {lists[1]}, decay: {lists[2]}"
    spec = loaded(changed("kpsvd, lr: 0.1", grid))
    assert len(spec.optimizers) == 1 + sizes[0] * sizes[1] * sizes[2]
    assert len(set(map(repr, spec.optimizers.values()))) == len(spec.optimizers)


KEYS = st.sampled_from(
    [
        "version",
        "name",
        "description",
        "optimizers",
        "datasets",
        "seeds",
        "budget",
        "targets",
        "measure",
        "defaults",
        "exclude",
        "overrides",
        "method",
        "lr",
        "kpsvd",
        "sgd",
        "digits",
        "data",
        "network",
        "kind",
        "encoder",
        "likelihood",
        "batch_size",
        "epochs",
        "optimizer",
        "dataset",
        "seed",
        "momentum",
    ]
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.floats(allow_nan=False),
    KEYS,
    st.text(string.printable, max_size=5),
)
TREES: st.SearchStrategy[Any] = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)


def outcome(text: str) -> type[Spec | SpecError]:
    try:
        return type(loaded(text))
    except SpecError as error:
        return type(error)


@given(st.dictionaries(KEYS, TREES, max_size=10))
@settings(max_examples=50)
def test_anything_is_a_spec_or_an_error(data: dict[str, Any]) -> None:
    assert outcome(yaml.safe_dump(data)) in (Spec, SpecError)


@given(where=st.integers(0, 12), value=TREES, data=st.data())
@settings(max_examples=50)
def test_a_valid_spec_with_one_value_replaced_is_a_spec_or_an_error(
    where: int, value: Any, data: st.DataObject
) -> None:
    tree = yaml.safe_load(SMALL)
    inside = tree
    while isinstance(inside, dict):  # walk down, and stop somewhere
        key = data.draw(st.sampled_from(sorted(inside)))
        if not isinstance(inside[key], dict) or data.draw(st.booleans()):
            inside[key] = value
            break
        inside = inside[key]
    assert outcome(yaml.safe_dump(tree)) in (Spec, SpecError)


@given(
    start=st.integers(0, len(SMALL)), length=st.integers(0, 20), new=st.text("ab:-[]{}&*!?|>'\"#%@,\n\t 0.", max_size=5)
)
@settings(max_examples=50)
def test_a_damaged_file_is_a_spec_or_an_error(start: int, length: int, new: str) -> None:
    assert outcome(SMALL[:start] + new + SMALL[start + length :]) in (Spec, SpecError)


def test_ten_thousand_cells_are_planned_without_torch() -> None:
    lr = [round(0.001 * n, 3) for n in range(1, 101)]
    text = changed("kpsvd, lr: 0.1", f"kpsvd, lr: {lr}, damping: {lr[:50]}")
    Path("spec.yaml").write_text(text, encoding="utf-8")
    program = """
import sys
from pathlib import Path
from suite.spec.reading import load_spec
from suite.plan.cells import cells
keys = {cell.key for cell in cells(load_spec(Path("spec.yaml")))}
print(len(keys), sorted({"torch", "sklearn", "scipy", "matplotlib", "alembic"} & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == f"{2 * (1 + len(lr) * 50)} []\n"


@pytest.mark.parametrize(
    ("network", "hint"),
    [
        ("{kind: convnet, chanels: [2]}", "did you mean 'channels'"),
        ("{kind: mlp, hiden: [2]}", "did you mean 'hidden'"),
        ("{kind: autoencoder, encodr: [2]}", "did you mean 'encoder'"),
    ],
)
def test_an_unknown_key_of_a_network_is_held_against_the_keys_of_its_kind(
    network: str, hint: str, working_folder: Path
) -> None:
    likelihood = "bernoulli" if "autoencoder" in network else "categorical"
    text = (
        "version: 1\nname: t\nseeds: [0]\nbudget: {iterations: 1}\noptimizers: {sgd: {method: sgd, lr: 0.1}}\n"
        f"datasets: {{d: {{data: digits, network: {network}, likelihood: {likelihood}, batch_size: 8}}}}\n"
    )
    with pytest.raises(SpecError, match=hint):
        loaded(text)
