from __future__ import annotations

from itertools import islice

import pytest
import torch

from suite.problems import batches


def drawn(n: int, batch_size: int, seed: int, count: int) -> list[torch.Tensor]:
    return list(islice(batches(n, batch_size, seed), count))


def test_the_order_is_a_pure_function_of_its_arguments() -> None:
    torch.manual_seed(0)
    first = drawn(20, 3, seed=5, count=15)
    torch.manual_seed(1)
    torch.rand(7)
    again = drawn(20, 3, seed=5, count=15)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    drawn(20, 3, seed=5, count=15)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_is_another_order() -> None:
    one, other = (torch.cat(drawn(50, 10, seed, count=5)) for seed in (0, 1))
    assert not torch.equal(one, other)


def test_two_streams_do_not_disturb_each_other() -> None:
    alone = drawn(20, 5, seed=3, count=8)
    streams = batches(20, 5, 3), batches(20, 5, 3)
    for expected in alone:
        assert all(torch.equal(next(stream), expected) for stream in streams)


@pytest.mark.parametrize(("n", "batch_size"), [(20, 5), (20, 20), (6, 1)])
def test_every_epoch_is_a_fresh_permutation(n: int, batch_size: int) -> None:
    per_epoch = n // batch_size
    order = drawn(n, batch_size, seed=0, count=3 * per_epoch)
    epochs = [torch.cat(order[start : start + per_epoch]) for start in range(0, 3 * per_epoch, per_epoch)]
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(n))
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[1], epochs[2])


def test_the_last_incomplete_batch_is_dropped() -> None:
    order = drawn(23, 5, seed=0, count=40)
    assert {len(batch) for batch in order} == {5}
    for start in range(0, 40, 4):  # four batches an epoch, with no example twice
        assert len(set(torch.cat(order[start : start + 4]).tolist())) == 20
    assert set(torch.cat(order).tolist()) == set(range(23))  # none is dropped for ever


def test_a_small_set_is_the_batch() -> None:
    order = drawn(4, 10, seed=0, count=3)
    assert all(sorted(batch.tolist()) == [0, 1, 2, 3] for batch in order)


def test_indices_can_index() -> None:
    (batch,) = drawn(8, 3, seed=0, count=1)
    assert batch.dtype == torch.int64
    assert batch.shape == (3,)


@pytest.mark.parametrize(("n", "batch_size"), [(0, 5), (5, 0), (-1, 5), (5, -2)])
def test_what_cannot_be_batched_is_an_error(n: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match=rf"got {n} and {batch_size}"):
        next(batches(n, batch_size, 0))
