"""Published curves: what is shipped, converted, and named in a specification."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.plan.cells import cells
from suite.spec.published import published, shipped
from suite.spec.reading import yaml
from suite.spec.schema import PublishedOutline
from tests.suite.specs import SMALL, changed, faults, loaded

pytestmark = pytest.mark.usefixtures("working_folder")

CURVES = """\
label: Theirs 2020
source: a made-up file
datasets:
  digits:
    nats: 64
    losses: {sgd: [0.5, 0.25], kfac: [0.5, 0.125]}
"""
NAMED = SMALL + "published: {file: theirs.yaml, band: 0.1, optimizers: {kpsvd: kfac}}\n"


def write(text: str = CURVES) -> None:
    Path("theirs.yaml").write_text(text, encoding="utf-8")


# The final losses per pixel of the paper's own table, 200 epochs: SGD, Adam, KFAC, KPSVD, Deflation, Lanczos,
# KFAC-corrected. Per example: 784 times those of the cross-entropies, 625 / 2 times those of FACES.
TABLE = {
    "curves": (784, [0.0769, 0.0796, 0.0752, 0.0750, 0.0747, 0.0705, 0.0705]),
    "mnist": (784, [0.0768, 0.0732, 0.0692, 0.0693, 0.0653, 0.0652, 0.0644]),
    "faces": (312.5, [0.0456, 0.0420, 0.0313, 0.0317, 0.0169, 0.0165, 0.0172]),
}
METHODS = ["sgd", "adam", "kfac", "kpsvd", "deflation", "lanczos", "kfac_corrected"]


def test_the_founding_papers_curves_are_shipped_and_end_as_its_table_says() -> None:
    assert shipped() == ["koroko2022"]
    found, wrong = published(PublishedOutline(file="koroko2022"), Path(), METHODS, TABLE)
    assert found is not None
    assert wrong == []
    assert len(found.curves) == 21
    for dataset, (nats, ends) in TABLE.items():
        for method, end in zip(METHODS, ends, strict=True):
            curve = found.curves[dataset, method]
            assert len(curve.losses) == 200
            assert curve.losses[-1] == pytest.approx(nats * end, abs=0.6e-4 * nats)


def test_a_file_beside_the_spec_is_converted_and_names_are_matched() -> None:
    write()
    found = loaded(NAMED).published
    assert found is not None
    assert (found.label, found.source, found.band) == ("Theirs 2020", "a made-up file", 0.1)
    assert found.curves == {
        ("digits", "sgd"): ("sgd", "digits", (32.0, 16.0)),
        ("digits", "kpsvd"): ("kfac", "digits", (32.0, 8.0)),
    }


def test_a_grid_has_its_optimizers_curve_at_every_setting_and_who_has_none_is_left_out() -> None:
    write()
    text = changed("sgd, lr: 0.1", "sgd, lr: [0.1, 0.2]", NAMED)
    found = loaded(changed("optimizers: {kpsvd: kfac}", "datasets: {}", text)).published
    assert found is not None
    assert list(found.curves) == [("digits", "sgd[lr=0.1]"), ("digits", "sgd[lr=0.2]")]


def test_another_data_set_of_the_file_may_be_named() -> None:
    write(CURVES.replace("digits:", "Digits8:"))
    assert loaded(NAMED).published.curves == {}  # type: ignore[union-attr]
    found = loaded(changed("optimizers: {kpsvd", "datasets: {digits: Digits8}, optimizers: {kpsvd", NAMED)).published
    assert found is not None
    assert {curve.dataset for curve in found.curves.values()} == {"Digits8"}


def test_no_cell_depends_on_what_a_report_draws_beside_it() -> None:
    write()
    text = NAMED + "ablations: [{name: one thing, optimizers: [sgd, kpsvd]}]\n"
    assert [cell.key for cell in cells(loaded(text))] == [cell.key for cell in cells(loaded(SMALL))]


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        (
            "theirs.yaml",
            "koroko22",
            "published.file: no curves of the name 'koroko22' come with the suite; did you mean 'koroko2022'?; "
            "a path ends in .yaml",
        ),
        ("theirs.yaml", "none.yaml", "published.file: none.yaml: cannot be read: no such file or directory"),
        ("theirs.yaml", "spec.yaml", "published.file: spec.yaml:1: version: unknown key; choose from label, source, "),
        (
            "kpsvd: kfac",
            "kpsvd: kfca",
            "published.optimizers.kpsvd: no optimizer of theirs.yaml is called 'kfca'; did ",
        ),
        (
            "band: 0.1",
            "datasets: {digits: digit}",
            "published.datasets.digits: no data set of theirs.yaml is called 'd",
        ),
        ("band: 0.1", "band: 0", "published.band: must be greater than 0, not 0"),
        ("band: 0.1", "bnad: 0.1", "published.bnad: unknown key; did you mean 'band'?"),
    ],
)
def test_faults_name_the_line_and_the_fix(old: str, new: str, wrong: str) -> None:
    write()
    found = faults(changed(old, new, NAMED))
    assert any(line.startswith(f"spec.yaml:14: {wrong}") for line in found), found


def test_faults_of_the_file_itself_name_its_line() -> None:
    write(CURVES.replace("0.25", "-1").replace("nats: 64", "nats: many"))
    assert faults(NAMED) == [
        "spec.yaml:14: published.file: theirs.yaml:5: datasets.digits.nats: must be a number, not 'many'",
        "spec.yaml:14: published.file: theirs.yaml:6: datasets.digits.losses.sgd[1]: must be greater than 0, not -1",
    ]


def test_optimizers_that_were_removed_are_warnings() -> None:
    write()
    spec = loaded(changed("{kpsvd: kfac}", "{kpsdv: kfac}", NAMED))
    (warning,) = spec.warnings
    assert warning == (
        "spec.yaml:14: published.optimizers.kpsdv: no optimizer is called 'kpsdv'; did you mean 'kpsvd'?"
    )
    assert spec.published is not None


def test_the_shipped_file_says_where_it_comes_from() -> None:
    path = Path(published.__code__.co_filename).parent / "curves" / "koroko2022.yaml"
    data = yaml.read(path).data
    assert isinstance(data, dict)
    assert "2201.10285" in str(data["source"])
    assert path.stat().st_size < 100_000
