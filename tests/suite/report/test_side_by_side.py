"""Two stores beside each other: pairs of seeds, worked out by hand, and everything that differs said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from suite.plan.plan import load_matrix
from suite.records import Records
from suite.report import write_comparison
from suite.report.formats.document import Heading, Paragraph, Table
from suite.report.sections.side_by_side import Source, page, sides
from suite.store import open_store
from tests.suite import stores
from tests.suite.helpers import SMALL, bench, says, write_spec
from tests.suite.report.test_latex import markdown_tables, tex_tables
from tests.suite.stores import MACHINE, evaluations, finished, fisher, iterations, matrix_of

if TYPE_CHECKING:
    from pathlib import Path

    from suite.report.formats.document import Block
    from suite.store import Store

pytestmark = pytest.mark.usefixtures("sketched")

THREE = SMALL.replace("seeds: [0, 1]", "seeds: [0, 1, 2]")


def filled(store: Store, folder: Path, shift: float, step: float, *, fingerprint: str = "sources") -> None:
    """Adam and KFAC at 20 + seed, `shift`·seed above; their Fisher errors and seconds by `shift` and `step` too."""
    for cell in matrix_of(folder, THREE).cells:
        if cell.optimizer in ("adam", "kfac"):
            errors = [fisher("linear1", 60, 0.2 + shift / 10, 0.4, 0.1, 0.3)] if cell.optimizer == "kfac" else []
            last = 18.5 + cell.seed + shift * cell.seed
            records = Records(iterations(60, step=step * (1 + cell.seed)), evaluations([40.0, last], step=step), errors)
            finished(store, cell, records, fingerprint=fingerprint)


def compared(folder: Path, one: Store, two: Store) -> list[Block]:
    matrix = load_matrix(write_spec(folder, THREE), any_sources=True)
    a, b = sides(matrix.spec, *(Source(name, s, matrix.stage(s)) for name, s in (("one", one), ("two", two))))
    return page(matrix.spec, a, b, "the command")


def tables(blocks: list[Block]) -> dict[str, dict[str, dict[str, str]]]:
    """Second heading of a table → first cell of a row → its cells by heading."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for block in blocks:
        if isinstance(block, Table):
            rows = {row[0]: dict(zip(block.table.headings, row, strict=True)) for row in block.table.rows}
            found.setdefault(block.table.headings[1], {}).update(rows)
    return found


def texts(blocks: list[Block]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, Heading | Paragraph))


@pytest.fixture
def pair(tmp_path: Path) -> Any:
    with open_store(f"sqlite:///{tmp_path}/a.sqlite") as a, open_store(f"sqlite:///{tmp_path}/b.sqlite") as b:
        yield a, b


def test_seeds_are_paired(pair: tuple[Store, Store], tmp_path: Path) -> None:
    a, b = pair
    filled(a, tmp_path, 0.0, 0.01)
    filled(b, tmp_path, 1.0, 0.03)
    found = tables(compared(tmp_path, a, b))
    losses = found["pairs"]["kfac"]
    assert losses["pairs"] == "3"
    assert losses["training loss A"] == "19.5 ± 1.0"
    assert losses["training loss B"] == "20.5 ± 2.0"
    assert losses["training loss B − A"] == losses["test loss B − A"] == "1.0 ± 1.0", "0, 1 and 2"
    assert "diverged in A" not in losses
    assert list(found["ms / iteration A"]["adam"].values()) == ["adam", "20.0", "60.0", "3.00"]
    assert list(found["in batch A"]["kfac"].values()) == ["kfac", "0.200", "0.300", "0.100", "0.400", "0.400", "0"]
    assert "adam" not in found["in batch A"]


def test_times_to_targets(pair: tuple[Store, Store], tmp_path: Path) -> None:
    a, b = pair
    filled(a, tmp_path, 0.0, 0.01)
    filled(b, tmp_path, 1.0, 0.03)
    (table,) = (x.table for x in compared(tmp_path, a, b) if isinstance(x, Table) and x.table.headings[1] == "target")
    rows = [row for row in table.rows if row[0] == "adam"]
    assert rows[0] == ["adam", "20", "20", "missed", "—", "0.200", "missed", "—"], (
        "the median of B's seeds ends at 20.5"
    )
    assert rows[1] == ["adam", "1", "missed", "missed", "—", "missed", "missed", "—"]


def test_a_seed_that_diverged_in_one_is_no_pair_of_losses_and_is_counted(
    pair: tuple[Store, Store], tmp_path: Path
) -> None:
    a, b = pair
    filled(a, tmp_path, 0.0, 0.01)
    filled(b, tmp_path, 1.0, 0.01)
    last = next(c for c in matrix_of(tmp_path, THREE).cells if (c.optimizer, c.seed) == ("kfac", 2))
    finished(b, last, Records(iterations(3), evaluations([40.0]), []), "diverged")
    losses = tables(compared(tmp_path, a, b))["pairs"]
    assert losses["kfac"]["pairs"] == "2"
    assert losses["kfac"]["training loss B − A"] == "0.50 ± 0.71", "0 and 1"
    assert (losses["kfac"]["diverged in B"], losses["adam"]["diverged in B"]) == ("1", "—")


def test_cells_in_one_alone_are_left_out_and_named(pair: tuple[Store, Store], tmp_path: Path) -> None:
    a, b = pair
    filled(a, tmp_path, 0.0, 0.01)
    for cell in matrix_of(tmp_path, THREE).cells:
        if (cell.optimizer in ("adam", "sgd") and cell.seed == 1) or (cell.optimizer, cell.seed) == ("kfac", 0):
            finished(b, cell, Records(iterations(60), evaluations([40.0, 19.0]), []))
    blocks = compared(tmp_path, a, b)
    found = tables(blocks)
    assert {name: row["pairs"] for name, row in found["pairs"].items()} == {"adam": "1", "kfac": "1"}
    assert found["pairs"]["adam"]["training loss A"] == "19.50", "of the seed that both have"
    assert {name: row["with a result in"] for name, row in found["with a result in"].items()} == {
        **{f"adam × digits × seed {seed}": "A" for seed in (0, 2)},
        **{f"kfac × digits × seed {seed}": "A" for seed in (1, 2)},
        "sgd × digits × seed 1": "B",
    }
    assert "2 cells have a result in both" in texts(blocks)


def test_what_differs_is_said(pair: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    filled(a, tmp_path, 0.0, 0.01)
    filled(b, tmp_path, 0.0, 0.01)
    same = texts(compared(tmp_path, a, b))
    assert says(same, "Nothing:", "machine", "software", "sources", "the same")
    assert says(same, "None:", "every cell")
    monkeypatch.setattr(stores, "MACHINE", replace(MACHINE, host="there", torch="2.14", commit="1" * 40, dirty=True))
    filled(b, tmp_path, 0.0, 0.01, fingerprint="newer")
    for run in b.measured([cell.key for cell in matrix_of(tmp_path, THREE).cells], None).values():
        b._update(run.id, problem="digits-synthetic")
    blocks = compared(tmp_path, a, b)
    strong = [block.text for block in blocks if isinstance(block, Paragraph) and block.strong]
    machine, sources, data = strong
    assert says(machine, "differ (host, torch)", "seconds do not compare")
    assert says(sources, "sources of kfsvd differ")
    assert says(data, "digits in A, digits-synthetic in B", "do not compare")
    assert {name: (row["A"], row["B"]) for name, row in tables(blocks)["A"].items()} == {
        "host": ("here", "there"),
        "torch": ("2.13", "2.14"),
        "commit": ("0" * 12, "1" * 12 + " with uncommitted changes"),
        "sources": ("sources", "newer"),
    }


TUNED = """
version: 1
name: tuned
optimizers:
  adam: {method: adam}
datasets:
  digits:
    data: digits
    network: {kind: autoencoder, encoder: [16, 4], activation: tanh}
    likelihood: bernoulli
    batch_size: 64
seeds: [0]
budget: {iterations: 60}
tuning:
  search: grid
  seeds: [7]
  budget: {iterations: 20}
  spaces: {adam: {lr: [0.001, 0.01]}}
"""


def test_settings_that_differ_under_one_name_are_said(pair: tuple[Store, Store], tmp_path: Path) -> None:
    """A tuned spec may choose another setting in each store."""
    matrix = load_matrix(write_spec(tmp_path, TUNED), any_sources=True)
    for store, best in zip(pair, (0.001, 0.01), strict=True):
        for cell in matrix.stage(store).trials:
            loss = 20.0 if cell.method.model_dump()["lr"] == best else 30.0
            finished(store, cell, Records(iterations(20), evaluations([40.0, loss]), []))
        for cell in matrix.stage(store).finals:
            finished(store, cell, Records(iterations(60), evaluations([40.0, 10.0]), []))
    a, b = sides(matrix.spec, *(Source(str(i), store, matrix.stage(store)) for i, store in enumerate(pair)))
    blocks = page(matrix.spec, a, b, "c")
    (table,) = (x.table for x in blocks if isinstance(x, Table) and x.table.headings[1] == "data set")
    assert table.rows == [["adam", "digits", "lr", "0.001", "0.01"]]


def test_pages_agree_and_other_formats_are_refused(pair: tuple[Store, Store], tmp_path: Path) -> None:
    a, b = pair
    filled(a, tmp_path, 0.0, 0.01)
    filled(b, tmp_path, 1.0, 0.02)
    spec = write_spec(tmp_path, THREE)
    command = ("report", spec, "--compare", "a.sqlite", f"sqlite:///{tmp_path}/b.sqlite", "--out", "out")
    done = bench(tmp_path, *command, "--format", "latex", "--format", "html", "--format", "md")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "small-compared"
    assert [tmp_path / name for name in done.stdout.split()] == [
        folder / name for name in ("report.tex", "README.md", "report.html")
    ]
    markdown, tex = (folder / "README.md").read_text(), (folder / "report.tex").read_text()
    assert markdown_tables(markdown) == tex_tables(tex)
    html = (folder / "report.html").read_text()
    assert all(cell in html for table in tex_tables(tex) for row in table for cell in row)
    assert f"A is a.sqlite, B is sqlite:///{tmp_path}/b.sqlite.".replace("_", r"\_") in markdown
    done = bench(tmp_path, *command, "--format", "csv")
    assert (done.returncode, "--format md, html or latex, not csv" in done.stderr) == (2, True)


def test_stores_with_nothing_in_common(pair: tuple[Store, Store], tmp_path: Path) -> None:
    filled(pair[0], tmp_path, 0.0, 0.01)
    matrix = load_matrix(write_spec(tmp_path, THREE))
    a, b = (Source(name, store, matrix.stage(store)) for name, store in zip("ab", pair, strict=True))
    assert write_comparison(matrix.spec, a, b, tmp_path / "out", command="c", formats=["md"]) is None
    assert not (tmp_path / "out").exists()
    done = bench(tmp_path, "report", "small.yaml", "--compare", "a.sqlite", "b.sqlite")
    assert done.returncode == 4
    assert says(done.stderr, "No cell of small", "a.sqlite and b.sqlite")
