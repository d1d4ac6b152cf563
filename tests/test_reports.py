"""The page over the reports quotes what they say."""

from __future__ import annotations

import math
import re
from pathlib import Path

from suite.plan.cells import cells as cells_of
from suite.spec.reading import Spec, load_spec
from tests.suite.helpers import says

REPORTS = Path(__file__).parents[1] / "reports"

KRONECKER = {
    "KFAC": "kfac",
    "KPSVD": "kpsvd",
    "Deflation": "deflation",
    "Lanczos": "lanczos",
    "KFAC-corrected": "kfac_corrected",
}
"""The paper's five: as the page calls them, and as specifications do."""


def spec_of(report: str) -> Spec:
    return load_spec(REPORTS.parent / "specs" / f"{report}.yaml")


def datasets_of(report: str) -> list[str]:
    """The data sets of the specification that a report is of."""
    return list(spec_of(report).datasets)


def labels_of(report: str) -> set[str]:
    """The optimizers of its cells."""
    return {cell.optimizer for cell in cells_of(spec_of(report))}


def boards_of(report: str) -> list[str]:
    """The leaderboard and what follows of each data set."""
    return re.split(r"^## (?=\w+\n\nData: )", (REPORTS / report / "README.md").read_text(), flags=re.MULTILINE)[1:]


def standings(board: str) -> dict[str, tuple[str, str]]:
    """Optimizer → rank and training loss, as they are printed."""
    row = r"^\| \**(\d+)\** +\| \**(\S+?)\** +\| +\**([\d.]+(?: ± [\d.]+)?)\** +\|"
    found = re.findall(row, board, re.MULTILINE)
    return {name.replace("\\", ""): (rank, loss) for rank, name, loss in found}


def test_the_fisher_errors_quoted_are_those_of_the_report() -> None:
    page, report = ((REPORTS / name).read_text() for name in ("README.md", "fisher/README.md"))
    quoted = re.findall(r"^\| \w+ ?(?:\(\w+\))?, ours \| (.*) \|$", page, re.MULTILINE)
    tables = re.findall(r"^\| (layer [^\n]*best rank 2) \|\n.*?^\| (linear5 .*?) \|$", report, re.MULTILINE | re.DOTALL)
    assert len(quoted) == len(tables) == len(datasets_of("fisher"))
    columns = ["kfac", "kpsvd", r"kfac\_corrected", "deflation", "best rank 1", "best rank 2"]
    for row, (heading, values) in zip(quoted, tables, strict=True):
        names = [name.strip() for name in heading.split("|")]
        found = dict(zip(names, (value.split()[0].lstrip("0") for value in values.split("|")), strict=True))
        assert row.split(" | ") == [found[name] for name in columns]


def test_the_seconds_quoted_are_those_of_the_report() -> None:
    page, report = ((REPORTS / name).read_text() for name in ("README.md", "seconds/README.md"))
    names = {
        "Adam": "adam",
        "KFAC, dense inverses": "kfac-dense",
        "KFAC, low rank": "kfac",
        "KPSVD, low rank": "kpsvd",
        "Deflation, low rank": "deflation",
    }
    boards = re.findall(r"^\| optimizer +\| +iterations to .*?(?=\n\n)", report, re.MULTILINE | re.DOTALL)
    tables = [[[cell.strip() for cell in line.strip("|").split("|")] for line in t.splitlines()[2:]] for t in boards]
    found = {row[0]: [row[2], row[4]] for row in tables[0]}
    for row in tables[1]:
        found[row[0]] += [row[2], row[4]]
    for label, name in names.items():
        assert f"| {label} | {' | '.join(found[name])} |" in page


def test_the_costs_quoted_are_those_of_the_page() -> None:
    page, report = ((REPORTS / name).read_text() for name in ("README.md", "step-cost.md"))
    mnist = report.split("\n\n## ")[1]
    for label, name in KRONECKER.items():
        (row,) = re.findall(rf"^\| {name} +\| (.*) \|$", mnist, re.MULTILINE)
        _, hundred, ten, _, refresh, state = (cell.strip() for cell in row.split("|"))
        quoted = rf"^\| {label} \| {hundred} \| \S+ \| {ten} \| \S+ \| {refresh} \| \S* ?\| {state} \| 6 \|$"
        assert re.search(quoted, page, re.MULTILINE), label


def test_the_guide_counts_the_guards_as_they_came_out() -> None:
    guide = (REPORTS.parent / "docs" / "guide.md").read_text()
    differences = []
    for board in boards_of("guard"):
        losses = {name: float(loss) for name, (_, loss) in standings(board).items()}
        differences += [losses[n] - losses[n.replace("floor", "absolute")] for n in losses if "guard=floor" in n]
    assert differences
    assert f"in {sum(difference < 0 for difference in differences)} of {len(differences)} pairs" in guide
    assert says(guide, f"by {-min(differences):.1f} nats at most", f"by {max(differences):.2f}".replace(" 0.", " ."))


def differences(board: str) -> dict[tuple[str, str], tuple[float, float, float]]:
    """(Optimizer, other) → difference and its interval, either way round."""
    part = board.partition("<summary>Differences from")[2].partition("</details>")[0]
    rows = re.findall(r"^\| (\S+) +\| (\w+) +\| +(\S+) \\\[(\S+), (\S+?)\\\] \|", part, re.MULTILINE)
    found = {(a.replace("\\", ""), b): (float(x), float(low), float(high)) for a, b, x, low, high in rows}
    return {(b, a): (-x, -high, -low) for (a, b), (x, low, high) in found.items()} | found


def test_the_autoencoders_quoted_are_those_of_the_report() -> None:
    page, boards = (REPORTS / "README.md").read_text(), boards_of("autoencoders-cpu")
    section = page.partition("## The autoencoders, tuned alike")[2].partition("## As published")[0]
    each = [standings(board) for board in boards]
    assert [board.split()[0] for board in boards] == datasets_of("autoencoders-cpu")
    assert set(each[0]) == labels_of("autoencoders-cpu")
    for name in each[0]:
        assert f"| `{name}` | {' | '.join(cell for board in each for cell in board[name])} |" in section
    found = [differences(board) for board in boards]
    rows = re.findall(r"^\| (\w+) − (\w+) \| (.*) \|$", section, re.MULTILINE)
    assert rows
    for a, b, cells in rows:
        quoted = [tuple(map(float, re.findall(r"-?[\d.]+", cell))) for cell in cells.split(" | ")]
        assert quoted == [board[a, b] for board in found], (a, b)
    variants = set(KRONECKER.values()) - {"kfac"}
    assert all(board[name, "kfac"][2] >= 0 for board in found for name in variants), "none is shown to end lower"
    readme = (REPORTS.parent / "README.md").read_text()
    for board in found[1:]:
        for name in ("kfac", "kpsvd"):
            mean, low, high = (-x for x in board[name, "adam"])
            assert f"{mean:.1f} " in readme
            assert f"{high:.1f} to {low:.1f}" in readme
    assert all(found[0][name, "adam"][1] < 0 < found[0][name, "adam"][2] for name in ("kfac", "kpsvd"))
    report = (REPORTS / "autoencoders-cpu" / "README.md").read_text()
    assert says(report, "nothing here is shown", "lower loss")


def test_the_published_losses_quoted_are_those_of_the_report() -> None:
    page = (REPORTS / "README.md").read_text()
    (mnist,) = (board for board in boards_of("autoencoders-as-published") if board.startswith("mnist"))
    row = r"^\| (\S+) +\| \S+ +\| +8 \| +([\d.]+) \| +([\d.]+) \| +([+-][\d.]+ %) \|"
    found = {name.replace("\\", ""): rest for name, *rest in re.findall(row, mnist, re.MULTILINE)}
    for label, name in ({"SGD": "sgd", "Adam": "adam"} | KRONECKER).items():
        ours, published, difference = found[name]
        once, _, other = found.get(f"{name}-once", ("", "", ""))
        cells = [label, published, ours, difference.replace("-", "−"), once, other.replace("-", "−")]
        assert f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |") in page
    losses = {name: loss for name, (_, loss) in standings(mnist).items()}
    two = f"{losses['kpsvd-at-lanczos']}, {losses['lanczos']} and {losses['deflation']}, evaluated"
    assert two in page
    assert f"{losses['kfac-at-corrected']} and {losses['kfac_corrected']}." in page


def test_the_ranks_of_the_family_quoted_are_those_of_the_report() -> None:
    page, boards = (REPORTS / "README.md").read_text(), [standings(board) for board in boards_of("family")]
    quoted = {name: [cell for board in boards for cell in board[name]] for name in boards[0]}
    assert set(quoted) == labels_of("family")
    for name, cells in quoted.items():
        assert f"| `{name}` | {' | '.join(cells)} |" in page
    readme = (REPORTS.parent / "README.md").read_text()
    table = readme[readme.index("| optimizer | in specs") :].partition("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    shown = {
        name: ranks
        for row in rows
        for name, ranks in zip(re.findall(r"`(\w+)`", row[1]), row[-1].split("; "), strict=False)
    }
    variants = {"two_level_nicolaides", "two_level_residual", "two_level_spectral", "muon_all"}
    ranks_of = {name: f"{cells[0]}, {cells[2]}" for name, cells in quoted.items() if name not in variants}
    assert shown == ranks_of


def test_every_report_is_listed() -> None:
    page = (REPORTS / "README.md").read_text()
    for path in REPORTS.iterdir():
        if path.is_dir() and (path / "README.md").exists():
            assert f"({path.name}/README.md)" in page
        elif path.suffix == ".md" and path.name != "README.md":
            assert f"({path.name})" in page


def test_one_setting_turns_the_ranking_and_the_report_says_which() -> None:
    tuned, mistuned = ((REPORTS / name / "README.md").read_text() for name in ("protocol", "protocol-mistuned"))
    orders = []
    for page in (tuned, mistuned):
        _, *boards = re.split(r"^## (?=digits|curves)", page, flags=re.MULTILINE)
        rows = [re.findall(r"^\| \**(\d)\** +\| \**(\w+)\** ", board, re.MULTILINE)[:3] for board in boards]
        orders.append([{name: int(rank) for rank, name in found} for found in rows])
    assert orders[0] == [{"kpsvd": 1, "kfac": 1, "adam": 3}, {"kfac": 1, "kpsvd": 1, "adam": 3}]
    assert orders[1] == [{"adam": 1, "kpsvd": 1, "kfac": 1}, {"adam": 1, "kpsvd": 2, "kfac": 3}]
    flag = r"damping of kfac and kpsvd .*not tuned.* 1e-5"
    assert [len(re.findall(flag, page)) for page in (tuned, mistuned)] == [0, len(orders[1])]


def test_the_differences_of_compression_quoted_are_those_of_the_report() -> None:
    page, report = ((REPORTS / name).read_text() for name in ("README.md", "compression/README.md"))
    parts = re.split(r"^### ([\w-]+: [\w ]+)$", report.split("\n## Compression\n")[1], flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    quoted = re.findall(r"^\| ([\w-]+: [\w ]+) \| ([\w-]+) \| (.*) \|$", page, re.MULTILINE)
    assert [section for section, *_ in quoted] == list(sections)
    for section, method, values in quoted:
        before = re.split(r"differences (?:before|after)", sections[section])[1]
        (row,) = re.findall(rf"^\| {method} +\| [\w-]+kfac +\| training +\| (.*) \|$", before, re.MULTILINE)
        found = [value.strip().replace("\\", "") for value in row.split("|")]
        assert values.split(" | ") == found
    ends = [tuple(map(float, pair)) for row in quoted for pair in re.findall(r"\[(\S+), (\S+)\]", row[2])]
    missed = [sum(low > 0 for low, _ in ends), sum(high < 0 for _, high in ends)]
    assert missed == [1, 1], "the page says one for KFAC and one for KPSVD"
    assert says(page, f"{len(ends)} intervals {len(ends) - sum(missed)} ", "KFAC", "KPSVD")


def test_the_trials_on_a_gpu_are_those_of_the_log() -> None:
    page, log = (REPORTS / "gpu.md").read_text(), (REPORTS / "gpu" / "log.txt").read_text()
    alone = log.index("--- then, one cell at a time ---")
    trial = r"^(done|diverged) +\S+  (\w+)\[[^]]*\] × (\w+) × seed 100  \d+ iterations, loss (\S+), (\S+) s"
    found: dict[tuple[str, str], list[tuple[float, float | None]]] = {}
    for line in re.finditer(trial, log, re.MULTILINE):
        status, name, dataset, loss, seconds = line.groups()
        took = float(seconds) if line.start() > alone else None
        found.setdefault((name, dataset), []).append((float(loss) if status == "done" else math.inf, took))
    assert found
    for name in {name for name, _ in found}:
        cells = [f"`{name}`"]
        for dataset in ("mnist", "faces"):
            own = found[name, dataset]
            took = sorted({seconds for _, seconds in own if seconds is not None})
            span = f"{took[0]:.1f}–{took[-1]:.1f}" if len(took) > 1 else "".join(f"{each:.1f}" for each in took)
            cells += [str(len(own)), f"{min(loss for loss, _ in own):g}", span]
        assert f"| {' | '.join(cells)} |".replace("|  |", "| |") in page
    for name, dataset, steps, loss in re.findall(
        r"^done +\S+  (\w+) × (\w+) × seed 0  (\d+) .*? loss (\S+),", log, re.M
    ):
        assert dataset == "mnist"
        assert f"{name.upper() if name != 'adam' else 'Adam'} {loss} after {int(steps):,}" in page


def test_the_ablations_quoted_are_those_of_the_report() -> None:
    page, report = (REPORTS / "README.md").read_text(), (REPORTS / "ablations" / "README.md").read_text()
    section = page.partition("## What each choice does")[2].partition("\n## ")[0]
    found: dict[tuple[str, str], list[str]] = {}
    for part in report.partition("\n## Ablations")[2].partition("\n## Failures")[0].split("\n### ")[1:]:
        rows = re.findall(r"^\| (curves|mnist) +\| (\S+) +\| +(?:.+?) \| +(.+?) \|", part, re.MULTILINE)
        baseline = rows[0][1]
        for dataset, name, difference in rows:
            if name != baseline:
                cells = found.setdefault((name, baseline), ["not run", "not run"])
                cells[dataset == "mnist"] = difference.replace("\\", "").replace("—", "all diverged")
    quoted = re.findall(r"^\| `(\S+?)`.*? \| `(\S+)` \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    assert {(name, against): [curves, mnist] for name, against, curves, mnist in quoted} == found
    starts = boards_of("initialisation")
    for name in ("adam", "kpsvd", "deflation"):
        assert all(standings(board)[name][1] in section for board in starts)
