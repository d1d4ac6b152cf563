"""What a report says, block by block, whatever it is rendered as."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from suite.report.formats import tables
from suite.report.formats.document import Code, Folded, Heading, Paragraph, Picture, Table
from suite.report.formats.numbers import number
from suite.report.formats.tables import TextTable
from suite.report.sections import compression_page, evidence
from suite.report.sections.ablations import ablation_blocks
from suite.report.sections.comparison import comparisons
from suite.report.sections.predictors import prediction_blocks
from suite.report.sections.published import published_blocks
from suite.report.sections.ranks import ranks
from suite.report.sections.tuning import tuning_blocks

if TYPE_CHECKING:
    from suite.report.formats.document import Block
    from suite.report.model import Board, Findings
    from suite.report.sections.comparison import Comparison


_RUN_NAMES = ("data set", "optimizer", "status", "device", "cell")


def page(findings: Findings, command: str) -> list[Block]:
    """The whole report; `command`: what the reader types to measure this again."""
    spec = findings.spec
    blocks: list[Block] = [
        Heading(spec.name, 1),
        Paragraph(spec.description.strip()),
        Paragraph(f"{findings.measured} of {findings.cells} cells measured; {_gaps_in_short(findings)}."),
        Paragraph(
            "Losses are negative log-likelihoods in nats per example, summed over outputs; for a Gaussian, half the "
            "squared error. Training and test loss are those at the end of training, mean ± standard deviation over "
            "seeds; the best training loss is the lowest evaluation of any seed. Ranks are shared where no difference "
            "is shown. An optimizer with a diverged seed stands below all without, its mean over the seeds that are "
            "left."
        ),
        evidence.explained(findings),
    ]
    for board in findings.boards:
        blocks += _board(findings, board)
    blocks += compression_page.blocks(findings.compressions)
    blocks += [*evidence.whole(findings), *ablation_blocks(findings), *prediction_blocks(findings.boards)]
    blocks += tuning_blocks(spec, findings.studies)
    return [*blocks, *_failures(findings), *_provenance(findings, command)]


def _board(findings: Findings, board: Board) -> list[Block]:
    floor = (
        ""
        if board.floor is None
        else f", entropy floor of the evaluated training targets {number(board.floor, 5)} nats"
    )
    blocks: list[Block] = [
        Heading(board.dataset),
        Paragraph(
            f"Data: {board.problem}; {board.pixels:,} outputs, likelihood {board.likelihood}, "
            f"{board.parameters:,} parameters{floor}."
        ),
        *evidence.care(findings, board),
        Table(tables.ranking(board), lead=True),
        *evidence.differences(board),
        Picture(board.dataset, "loss", f"{board.dataset}: training loss per iteration and per second"),
        Paragraph(
            "Lines are medians over seeds of the evaluated training loss, bands their range, as far as all seeds go"
            + ("; × is where a run diverged." if any(standing.diverged for standing in board.standings) else ".")
        ),
        *published_blocks(board, findings.spec.published, findings.besides.get(board.dataset, [])),
        *evidence.times_to_targets(board),
        Paragraph(
            "Milliseconds of an iteration of the seed whose total is the median (of an even number, the mean of the "
            "two in the middle). Refreshes are the share of curvature and inversion."
        ),
        Table(tables.times(board)),
        Picture(board.dataset, "time", f"{board.dataset}: time of an iteration by phase"),
    ]
    if (errors := tables.fisher(board)) is not None:
        blocks += [
            Paragraph(
                "Relative Frobenius error ‖F − F̂‖/‖F‖ of the running approximation at the last measurement, mean over "
                "layers and seeds: on the batch that it was last fitted to, and on fresh test examples. The efficiency "
                "of a direction is the share that it attains of the exact natural gradient's decrease, in the "
                "quadratic model of a layer with the Fisher block of those test examples and the optimizer's damping."
            ),
            Table(errors),
            Picture(board.dataset, "fisher", f"{board.dataset}: Fisher error over training"),
        ]
    if (by_layer := tables.fisher_by_layer(board)) is not None:
        blocks.append(Folded("By layer (in batch / held out / efficiency)", [Table(by_layer)]))
    blocks += _ranks(board)
    for comparison in comparisons(board):
        blocks += _approximations(board, comparison)
    return blocks


def _ranks(board: Board) -> list[Block]:
    found = ranks(board)
    if found is None:
        return []
    return [
        Heading("Ranks of the inverses", 3),
        Paragraph(
            "Directions that each layer's damped inverse keeps of its inputs / outputs at the last measurement, median "
            "over the seeds that did not diverge; width is all that there are, the bias included, and dense is where "
            "low rank does not pay. The largest bound of the relative error against the dense inverse, of all "
            f"measurements, is {number(found.bound)}."
        ),
        Table(tables.kept_ranks(found)),
        Picture(board.dataset, "ranks", f"{board.dataset}: directions kept of each layer, over training"),
    ]


def _approximations(board: Board, comparison: Comparison) -> list[Block]:
    name = f"approximations-{comparison.optimizer}"
    return [
        Heading(f"Fisher approximation along {comparison.optimizer}", 3),
        Paragraph(
            "All approximations are fitted to one and the same batch of training examples at each measurement, without "
            "damping or a running average, and held against that batch and against fresh test examples: ‖F − F̂‖/‖F‖ "
            f"of each layer{f', mean over {comparison.seeds} seeds' if comparison.seeds > 1 else ''}. No sum of so "
            "many Kronecker products lies below the best of its rank."
        ),
        Picture(board.dataset, name, f"{board.dataset}: Fisher error of each approximation by layer, over training"),
        Paragraph(f"At iteration {max(comparison.course):,}, in batch (held out):"),
        Table(tables.approximations(comparison)),
        *_spectra(comparison),
    ]


def _spectra(comparison: Comparison) -> list[Block]:
    table = tables.spectra(comparison)
    if table is None:
        return []
    return [Paragraph("Error of the sorted spectra, ‖σ(F) − σ(F̂)‖/‖σ(F)‖, in batch:"), Table(table)]


def _failures(findings: Findings) -> list[Block]:
    heading = Heading("Failures and gaps")
    if not findings.gaps and not findings.diverged:
        return [heading, Paragraph("None: every cell of the spec ended with a result.")]
    rows = [[r.cell.name, "diverged", f"after {r.course.iterations:,} iterations"] for r in findings.diverged]
    for gap in findings.gaps:
        why = gap.error.strip().splitlines()[-1][:200] if gap.error and gap.error.strip() else ""
        rows.append([gap.cell.name, gap.state, why])
    headings = ["cell", "state", "why"]
    return [heading, Table(TextTable(headings, rows), names=tuple(headings))]


def _provenance(findings: Findings, command: str) -> list[Block]:
    blocks: list[Block] = [Heading("How it was measured"), Code(command)]
    if len(findings.environments) > 1:
        text = f"These runs come from {len(findings.environments)} different environments: compare with care."
        blocks.append(Paragraph(text, strong=True))
    if len(findings.fingerprints) > 1:
        text = "These runs come from several versions of kfsvd's sources: compare with care."
        blocks.append(Paragraph(text, strong=True))
    for environment in findings.environments:
        checkout = "not in a checkout"
        if environment.commit:
            checkout = f"commit {environment.commit[:12]}" + (", with uncommitted changes" if environment.dirty else "")
        driver = f", driver {environment.driver}" if environment.driver else ""
        rows = [
            ["machine", f"{environment.cpu}, {environment.cores} cores, {_gibibytes(environment.memory_bytes)}"],
            ["GPUs", f"{environment.gpus or 'none'}{driver}"],
            ["software", f"torch {environment.torch}, Python {environment.python}, {environment.system}"],
            ["BLAS", environment.blas],
            ["kfsvd", f"{environment.kfsvd}, {checkout}, sources {', '.join(findings.fingerprints)}"],
        ]
        blocks.append(Table(TextTable(["", ""], rows)))
    drift = findings.reference
    text = (
        f"Specification {hashlib.sha256(findings.spec.text.encode()).hexdigest()[:12]} (SHA-256), last run "
        f"{findings.ended or 'unknown'}. {findings.contended} of {findings.measured} cells ran beside others "
        f"on the same machine. The reference workload before each cell took {number(1e3 * drift.mean)} ms "
        f"(s.d. {number(1e3 * drift.sd)} ms)."
    )
    return [*blocks, Paragraph(text), Folded("Every run", [Table(tables.runs(findings), names=_RUN_NAMES)])]


def _gaps_in_short(findings: Findings) -> str:
    diverged, gaps = len(findings.diverged), len(findings.gaps)
    if not diverged and not gaps:
        return "none failed or diverged"
    return f"{diverged} diverged, {gaps} without a result (below)"


def _gibibytes(count: int | None) -> str:
    return "memory unknown" if count is None else f"{count / 2**30:.0f} GiB"
