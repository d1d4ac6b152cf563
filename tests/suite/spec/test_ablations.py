"""Ablations of a specification: which optimizers they hold against which."""

from __future__ import annotations

import pytest

from suite.spec.ablations import Ablation
from tests.suite.specs import SMALL, changed, faults, loaded

pytestmark = pytest.mark.usefixtures("working_folder")

TEXT = SMALL + "ablations:\n  - {name: curvature, question: 'Does it help?', optimizers: [sgd, kpsvd]}\n"


def test_the_first_is_the_baseline_unless_another_is_named() -> None:
    assert loaded(TEXT).ablations == (Ablation("curvature", "Does it help?", ("sgd", "kpsvd"), "sgd"),)
    named = loaded(changed("[sgd, kpsvd]", "[sgd, kpsvd], baseline: kpsvd", TEXT))
    assert named.ablations == (Ablation("curvature", "Does it help?", ("kpsvd", "sgd"), "kpsvd"),)


def test_a_grid_stands_for_all_its_labels() -> None:
    grid = changed("kpsvd, lr: 0.1", "kpsvd, lr: [0.1, 0.2, 0.3]", TEXT)
    (whole,) = loaded(changed("[sgd, kpsvd]", "[kpsvd]", grid)).ablations
    assert whole.optimizers == ("kpsvd[lr=0.1]", "kpsvd[lr=0.2]", "kpsvd[lr=0.3]")
    (other,) = loaded(changed("[sgd, kpsvd]", "[kpsvd], baseline: 'kpsvd[lr=0.2]'", grid)).ablations
    assert other.optimizers == ("kpsvd[lr=0.2]", "kpsvd[lr=0.1]", "kpsvd[lr=0.3]")


@pytest.mark.parametrize(
    ("old", "new", "left", "warnings"),
    [
        ("[sgd, kpsvd]", "[sgd, kpsvd, kpsdv]", 1, ["optimizers[2]: no optimizer is called 'kpsdv'; did you mean 'kp"]),
        ("[sgd, kpsvd]", "[sgd, kpsdv]", 0, ["optimizers[1]: no optimizer is called 'kpsdv'; did you mean 'kpsvd'?"]),
        (
            "[sgd, kpsvd]",
            "[sgd, kpsvd, adam], baseline: adam",
            0,
            ["optimizers[2]: no optimizer is called 'adam'", "baseline: no optimizer is called 'adam'; choose from"],
        ),
        (
            "[sgd, kpsvd]",
            "[sgd, kpsvd], baseline: 'sgd[lr=3]'",
            0,
            ["baseline: no optimizer is called 'sgd[lr=3]'; ch"],
        ),
    ],
)
def test_what_was_removed_is_a_warning(old: str, new: str, left: int, warnings: list[str]) -> None:
    spec = loaded(changed(old, new, TEXT))
    assert len(spec.ablations) == left
    assert len(spec.warnings) == len(warnings)
    for warning, start in zip(sorted(spec.warnings), sorted(warnings), strict=True):
        assert warning.startswith(f"spec.yaml:15: ablations[0].{start}")


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("name: curvature, ", "", "ablations[0].name: is missing"),
        ("[sgd, kpsvd]", "[]", "ablations[0].optimizers: must not be empty"),
        ("question", "qestion", "ablations[0].qestion: unknown key; did you mean 'question'?"),
        (
            "[sgd, kpsvd]",
            "[sgd], baseline: kpsvd",
            "ablations[0]: the baseline 'kpsvd' is not among the optimizers; add it to them",
        ),
    ],
)
def test_faults(old: str, new: str, wrong: str) -> None:
    assert faults(changed(old, new, TEXT)) == [f"spec.yaml:15: {wrong}"]
