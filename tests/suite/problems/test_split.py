from __future__ import annotations

import numpy as np
import pytest
import torch

from suite.problems import Split

BYTES = np.random.default_rng(0).integers(0, 256, (10, 6), dtype=np.uint8)


@pytest.fixture
def split() -> Split:
    return Split(torch.from_numpy(BYTES), 1 / 255, (2, 3))


def test_a_batch_is_what_is_stored_times_the_scale(split: Split) -> None:
    inputs, targets = split.batch(torch.tensor([7, 0, 7]))
    expected = BYTES[[7, 0, 7]].astype(np.float32) * np.float32(1 / 255)
    np.testing.assert_allclose(targets.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(inputs.numpy(), expected.reshape(3, 2, 3), rtol=1e-6)
    assert inputs.dtype == targets.dtype == torch.float32


def test_half_floats_are_widened_before_they_are_scaled() -> None:
    stored = torch.tensor([[60000.0, -0.5]], dtype=torch.float16)
    inputs, _ = Split(stored, 10.0, (2,)).batch(torch.tensor([0]))
    assert inputs.dtype == torch.float32
    assert inputs.tolist() == [[float(stored[0, 0]) * 10, -5.0]]


def test_targets_are_labels_where_there_are_any(split: Split) -> None:
    labels = torch.arange(10) * 3
    inputs, targets = Split(split.values, split.scale, (1, 2, 3), labels).batch(torch.tensor([4, 1]))
    assert targets.tolist() == [12, 3]
    assert targets.dtype == torch.int64
    assert inputs.shape == (2, 1, 2, 3)


def test_a_batch_is_a_copy(split: Split) -> None:
    inputs, _ = split.batch(torch.tensor([0]))
    inputs.zero_()
    np.testing.assert_array_equal(split.values.numpy(), BYTES)


def test_values_stay_as_they_are_stored(split: Split) -> None:
    assert len(split) == 10
    assert split.values.dtype == torch.uint8
    assert split.device == torch.device("cpu")


def test_the_whole_split_moves_to_a_device(split: Split) -> None:
    moved = Split(split.values, split.scale, (6,), torch.arange(10)).to(torch.device("meta"))
    assert moved.device == torch.device("meta")
    assert moved.labels is not None
    assert moved.labels.device == torch.device("meta")
    inputs, targets = moved.batch(torch.zeros(4, dtype=torch.int64))
    assert inputs.device == targets.device == torch.device("meta")
    assert (inputs.shape, targets.shape) == ((4, 6), (4,))
