"""A report as one markdown page."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tabulate import tabulate

from suite.report import tables
from suite.report.comparison import comparisons
from suite.report.numbers import markdown, number
from suite.report.ranks import ranks

if TYPE_CHECKING:
    from pathlib import Path

    from suite.report.comparison import Comparison
    from suite.report.leaderboard import Board, Findings
    from suite.report.tables import TextTable


def page(findings: Findings, figures: dict[str, dict[str, Path]], command: str) -> str:
    """The page; `figures`: data set → name → file beside the page."""
    spec = findings.spec
    parts = [
        f"# {markdown(spec.name)}",
        markdown(spec.description.strip()),
        f"{findings.measured} of {findings.cells} cells measured; {_gaps_in_short(findings)}.",
        "Losses are negative log-likelihoods in nats per example, summed over outputs; for a Gaussian, half the "
        "squared error. Training and test loss are those at the end of training, mean ± standard deviation over "
        "seeds; the best training loss is the lowest evaluation of any seed. An optimizer with a diverged seed stands "
        "below all without, its mean over the seeds that are left.",
    ]
    for board in findings.boards:
        parts += _board(board, figures.get(board.dataset, {}))
    parts += _failures(findings)
    parts += _provenance(findings, command)
    return "\n\n".join(parts) + "\n"


def _board(board: Board, figures: dict[str, Path]) -> list[str]:
    floor = (
        ""
        if board.floor is None
        else f", entropy floor of the evaluated training targets {number(board.floor, 5)} nats"
    )
    parts = [
        f"## {markdown(board.dataset)}",
        f"Data: {markdown(board.problem)}; {board.pixels:,} outputs, likelihood {markdown(board.likelihood)}, "
        f"{board.parameters:,} parameters{floor}.",
        _table(tables.ranking(board), bold_first=True),
        _picture(figures, "loss", f"{board.dataset}: training loss per iteration and per second"),
        "Lines are medians over seeds of the evaluated training loss, bands their range, as far as all seeds go"
        + ("; × is where a run diverged." if any(standing.diverged for standing in board.standings) else "."),
        *_targets(board),
        "Milliseconds of an iteration of the seed whose total is the median (of an even number, the mean of the two in "
        "the middle). Refreshes are the share of curvature and inversion.",
        _table(tables.times(board)),
        _picture(figures, "time", f"{board.dataset}: time of an iteration by phase"),
    ]
    if (errors := tables.fisher(board)) is not None:
        parts += [
            "Relative Frobenius error ‖F − F̂‖/‖F‖ of the running approximation at the last measurement, mean over "
            "layers and seeds: on the batch that it was last fitted to, and on fresh test examples.",
            _table(errors),
            _picture(figures, "fisher", f"{board.dataset}: Fisher error over training"),
        ]
    if (by_layer := tables.fisher_by_layer(board)) is not None:
        parts += [
            "<details><summary>By layer (in batch / held out)</summary>",
            _table(by_layer),
            "</details>",
        ]
    parts += _ranks(board, figures)
    for comparison in comparisons(board):
        parts += _approximations(board, comparison, figures)
    return [part for part in parts if part]


def _targets(board: Board) -> list[str]:
    if not board.standings[0].targets:
        return []
    text = "Medians over seeds; a target is reached at the first evaluation at or below it, and a miss stays a miss."
    return [_table(tables.targets(board)), text]


def _ranks(board: Board, figures: dict[str, Path]) -> list[str]:
    found = ranks(board)
    if found is None:
        return []
    return [
        "### Ranks of the inverses",
        "Directions that each layer's damped inverse keeps of its inputs / outputs at the last measurement, median "
        "over the seeds that did not diverge; width is all that there are, the bias included, and dense is where low "
        "rank does not pay. The largest bound of the relative error against the dense inverse, of all measurements, "
        f"is {number(found.bound)}.",
        _table(tables.kept_ranks(found)),
        _picture(figures, "ranks", f"{board.dataset}: directions kept of each layer, over training"),
    ]


def _approximations(board: Board, comparison: Comparison, figures: dict[str, Path]) -> list[str]:
    name = f"approximations-{comparison.optimizer}"
    return [
        f"### Fisher approximation along {markdown(comparison.optimizer)}",
        "All approximations are fitted to one and the same batch of training examples at each measurement, without "
        "damping or a running average, and held against that batch and against fresh test examples: ‖F − F̂‖/‖F‖ of "
        f"each layer{f', mean over {comparison.seeds} seeds' if comparison.seeds > 1 else ''}. No sum of so many "
        "Kronecker products lies below the best of its rank.",
        _picture(figures, name, f"{board.dataset}: Fisher error of each approximation by layer, over training"),
        f"At iteration {max(comparison.course):,}, in batch (held out):",
        _table(tables.approximations(comparison)),
        *_spectra(comparison),
    ]


def _spectra(comparison: Comparison) -> list[str]:
    table = tables.spectra(comparison)
    if table is None:
        return []
    return ["Error of the sorted spectra, ‖σ(F) − σ(F̂)‖/‖σ(F)‖, in batch:", _table(table)]


def _failures(findings: Findings) -> list[str]:
    parts = ["## Failures and gaps"]
    if not findings.gaps and not findings.diverged:
        return [*parts, "None: every cell of the spec ended with a result."]
    rows = [[markdown(r.cell.name), "diverged", f"after {r.course.iterations:,} iterations"] for r in findings.diverged]
    for gap in findings.gaps:
        why = gap.error.strip().splitlines()[-1][:200] if gap.error and gap.error.strip() else ""
        rows.append([markdown(gap.cell.name), gap.state, markdown(why)])
    return [*parts, tabulate(rows, headers=["cell", "state", "why"], tablefmt="github", disable_numparse=True)]


def _provenance(findings: Findings, command: str) -> list[str]:
    parts = ["## How it was measured", f"```\n{command}\n```"]
    if len(findings.environments) > 1:
        parts.append(
            f"**These runs come from {len(findings.environments)} different environments: compare with care.**"
        )
    if len(findings.fingerprints) > 1:
        parts.append("**These runs come from several versions of kfsvd's sources: compare with care.**")
    for environment in findings.environments:
        checkout = "not in a checkout"
        if environment.commit:
            checkout = f"commit {environment.commit[:12]}" + (", with uncommitted changes" if environment.dirty else "")
        rows = [
            ("machine", f"{environment.cpu}, {environment.cores} cores, {_gibibytes(environment.memory_bytes)}"),
            (
                "GPUs",
                f"{environment.gpus or 'none'}" + (f", driver {environment.driver}" if environment.driver else ""),
            ),
            ("software", f"torch {environment.torch}, Python {environment.python}, {environment.system}"),
            ("BLAS", environment.blas),
            ("kfsvd", f"{environment.kfsvd}, {checkout}, sources {', '.join(findings.fingerprints)}"),
        ]
        parts.append(
            tabulate([(a, markdown(b)) for a, b in rows], headers=["", ""], tablefmt="github", disable_numparse=True)
        )
    drift = findings.reference
    parts.append(
        f"Specification {hashlib.sha256(findings.spec.text.encode()).hexdigest()[:12]} (SHA-256), last run "
        f"{findings.ended or 'unknown'}. {findings.contended} of {findings.measured} cells ran beside others "
        f"on the same machine. The reference workload before each cell took {number(1e3 * drift.mean)} ms "
        f"(s.d. {number(1e3 * drift.sd)} ms)."
    )
    return parts


def _gaps_in_short(findings: Findings) -> str:
    diverged, gaps = len(findings.diverged), len(findings.gaps)
    if not diverged and not gaps:
        return "none failed or diverged"
    return f"{diverged} diverged, {gaps} without a result (below)"


def _gibibytes(count: int | None) -> str:
    return "memory unknown" if count is None else f"{count / 2**30:.0f} GiB"


def _table(table: TextTable, *, bold_first: bool = False) -> str:
    rows = [[markdown(text) for text in row] for row in table.rows]
    if bold_first and rows:
        rows[0] = [f"**{text}**" if text else text for text in rows[0]]
    alignment = ["left" if heading in ("", "optimizer", "layer") else "right" for heading in table.headings]
    headings = [markdown(text) for text in table.headings]  # optimizers' labels are among them
    return tabulate(rows, headers=headings, tablefmt="pipe", colalign=alignment, disable_numparse=True)


def _picture(figures: dict[str, Path], name: str, text: str) -> str:
    return f"![{markdown(text)}]({figures[name].name})" if name in figures else ""
