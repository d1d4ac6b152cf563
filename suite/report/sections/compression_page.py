"""What a report says of compression, block by block: tables of losses, differences at equal seeds, figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from suite.analysis.paired import difference
from suite.analysis.summary import spread
from suite.report.compression import baselines, moment, partners, picture
from suite.report.formats.document import Folded, Heading, Paragraph, Picture, Table
from suite.report.formats.numbers import ABSENT, number, with_interval, with_sd
from suite.report.formats.tables import TextTable
from suite.report.model import LOSSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from suite.report.formats.document import Block
    from suite.report.model import Kind

_NAMES = ("method", "against", "loss")


def differences(kind: Kind, pairs: Sequence[tuple[str, str]], iteration: int) -> TextTable:
    """A − B of both losses at equal seeds, with intervals, by ratio; at 1 there is no difference."""
    ratios = [ratio for ratio in kind.ratios if ratio < 1]
    rows = [
        [label, other, loss, *(_difference(kind, label, other, ratio, iteration, what) for ratio in ratios)]
        for label, other in pairs
        for loss, what in LOSSES.items()
    ]
    return TextTable(["method", "against", "loss", *map(share, ratios)], rows)


def _difference(kind: Kind, label: str, other: str, ratio: float, iteration: int, what: str) -> str:
    a, b = (kind.losses(name, ratio, iteration, what) for name in (label, other))
    found = difference(a, b)
    return with_interval(found) if found.n else ABSENT


def losses(kind: Kind, iteration: int, what: str) -> TextTable:
    """Mean ± standard deviation over seeds, by method and ratio."""
    rows = [
        [label, *(_loss(kind.losses(label, ratio, iteration, what)) for ratio in kind.ratios)] for label in kind.methods
    ]
    return TextTable(["method", *map(share, kind.ratios)], rows)


def _loss(by_seed: Mapping[int, float]) -> str:
    finite = [value for value in by_seed.values() if math.isfinite(value)]
    text = with_sd(spread(finite))
    return text if len(finite) == len(by_seed) else f"{text} ({len(finite)} of {len(by_seed)})"


def share(ratio: float) -> str:
    """A ratio as a heading: "50 %"."""
    return f"{100 * ratio:g} %"


def blocks(found: Sequence[Kind]) -> list[Block]:
    """The part of a report about compression; nothing without any."""
    if not found:
        return []
    made: list[Block] = [
        Heading("Compression"),
        Paragraph(
            "Every method compresses the same trained networks. Columns are the shares of the weights that are left, "
            "biases apart, and layers that the method leaves whole; losses are mean ± standard deviation over seeds, "
            "of the evaluation examples in nats per example. At 100 % nothing is compressed: before fine-tuning that "
            "is the trained network, and after it what training on does by itself. Fine-tuning is by the optimizer "
            "that trained the network, what was taken out stays out. Differences are at equal seeds, with the paired t "
            "interval of 95 %, each by itself."
        ),
    ]
    for kind in found:
        made += _blocks(kind)
    return made


def _blocks(kind: Kind) -> list[Block]:
    title = f"{kind.dataset}: {kind.name}"
    made: list[Block] = [Heading(title, 3)]
    for iteration in kind.moments:
        made += [Paragraph(f"Training loss {moment(iteration)}:"), _table(losses(kind, iteration, "train_loss"))]
    made.append(Picture(kind.dataset, picture(kind), f"{title}: loss against the share of the weights that is left"))
    for pairs, what in ((partners(kind), "By the approximation"), (baselines(kind), "Against the method without")):
        if pairs and what.startswith("By"):
            for iteration in kind.moments:
                made += [
                    Paragraph(f"{what}, all else equal: differences {moment(iteration)}:"),
                    _table(differences(kind, pairs, iteration)),
                ]
        elif pairs:
            inner = [
                block
                for iteration in kind.moments
                for block in (Paragraph(f"{moment(iteration)}:"), _table(differences(kind, pairs, iteration)))
            ]
            made.append(Folded(f"{title}: differences from {pairs[0][1]}", inner))
    tests = [
        block
        for iteration in kind.moments
        for block in (Paragraph(f"{moment(iteration)}:"), _table(losses(kind, iteration, "test_loss")))
    ]
    return [*made, Folded(f"{title}: test loss", tests), Folded(f"{title}: parameters left", [_table(_left(kind))])]


def _left(kind: Kind) -> TextTable:
    rows = [
        [
            label,
            *(f"{left:,}" if (left := kind.parameters(label, ratio)) is not None else ABSENT for ratio in kind.ratios),
        ]
        for label in kind.methods
    ]
    return TextTable(["method", *map(share, kind.ratios)], rows)


def _table(table: TextTable) -> Table:
    return Table(table, names=_NAMES)


def summary(kind: Kind) -> TextTable:
    """For a narrow screen: training loss before and after fine-tuning, means over seeds."""
    rows = [
        [
            label,
            *(
                " → ".join(
                    number(spread(list(kind.losses(label, ratio, iteration, "train_loss").values())).mean)
                    for iteration in kind.moments
                )
                for ratio in kind.ratios
            ),
        ]
        for label in kind.methods
    ]
    return TextTable(["method", *map(share, kind.ratios)], rows)
