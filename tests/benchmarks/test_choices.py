"""The faster of two ways where the library chooses by size: what it takes in the time of what it does not.

    pytest -s tests/benchmarks/test_choices.py

Both alternate within one process; medians of ratios, one thread. Comments beside the limits quote these tables, and
`test_bars.py` of matrices that share a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from kfsvd import LayerSamples
from kfsvd.inverse.damped import damped_inverse
from kfsvd.inverse.low_rank import SMALL, low_rank_inverse
from kfsvd.linalg.thin import times_thin
from kfsvd.network.samples import STRIP, moment
from kfsvd.rearrangement import GramRearrangement, gram
from tests.benchmarks.networks import ratio

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")
ROUNDS = 15
NO_WORSE = 1.1
"""What is chosen may take so much of the other's time, as a busy host measures it."""


def positive(rows: int, width: int) -> Tensor:
    """As activations behind a ReLU."""
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(width)).abs()


@pytest.mark.parametrize("columns", [8, 21])
def test_products_with_a_thin_matrix(columns: int) -> None:
    matrix, thin = positive(1001, 1001), positive(1001, columns)
    found = ratio(lambda: times_thin(matrix, thin), lambda: matrix @ thin, ROUNDS, calls=10)
    print(f"\n1001×1001 times 1001×{columns}, transposed ÷ as it stands: {found:.2f}")
    assert found < NO_WORSE


@pytest.mark.parametrize("width", [501, 1001, 2001])
def test_moments_by_strips(width: int) -> None:
    assert width > 2 * STRIP
    rows, weights = positive(128, width), torch.rand(128)

    def whole() -> Tensor:
        product = (rows * weights.unsqueeze(1)).mT @ rows
        return (product + product.mT).mul_(0.5)

    found = ratio(lambda: moment(rows, weights), whole, ROUNDS, calls=3)
    print(f"\nmoment of 128 rows of {width}, by strips ÷ whole: {found:.2f}")
    assert found < NO_WORSE


@pytest.mark.parametrize("products", [1, 2])
def test_small_layers_are_inverted_densely(products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """251×30: below the limit of one product, above that of two."""
    rows = [(positive(128, 251), positive(128, 30)), (positive(64, 251), positive(64, 30) * 0.1)]
    terms = tuple((moment(a, torch.ones(len(a))), moment(b, torch.ones(len(b)))) for a, b in rows[:products])
    size = 251 * 30 * (251 + 30)
    assert (size <= SMALL[products > 1]) == (products == 1)

    def dense() -> object:
        return damped_inverse(terms, 0.1, rule="factored_pi", guard="floor")

    monkeypatch.setattr("kfsvd.inverse.low_rank.SMALL", (0, 0))
    start = low_rank_inverse(terms, 0.1, rule="factored_pi", guard="floor")

    def low_rank() -> object:
        return low_rank_inverse(terms, 0.1, rule="factored_pi", guard="floor", start=start)

    found = ratio(dense, low_rank, ROUNDS, calls=3)
    print(f"\n251×30, {products} product(s), dense ÷ low rank: {found:.2f}")
    assert (found if products == 1 else 1 / found) < NO_WORSE


@pytest.mark.parametrize("examples", [64, 128, 192, 256, 384, 512])
def test_the_core_of_a_gram_form(examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, limit_of_the_library = LayerSamples(positive(examples, 501), positive(examples, 250)), gram.DIRECT

    def pairs(limit: int) -> None:
        monkeypatch.setattr(gram, "DIRECT", limit)
        GramRearrangement(samples).bidiagonalised(2)

    found = ratio(lambda: pairs(10**9), lambda: pairs(0), ROUNDS)
    print(f"\ntwo triples of {examples} examples with their Gram form, decomposed ÷ by a Krylov space: {found:.2f}")
    if examples <= limit_of_the_library:
        assert found < NO_WORSE


def test_a_few_eigenpairs_against_all() -> None:
    rows = positive(128, 501).double()
    matrix = (rows @ rows.mT).square()
    few = ratio(
        lambda: gram._leading_eigenpairs(matrix, 1, matrix.sum(1)), lambda: torch.linalg.eigh(matrix), ROUNDS, calls=5
    )
    print(f"\nthe leading eigenpair of a 128×128 matrix ÷ all of them: {few:.2f}")
    assert few < NO_WORSE
