from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import kfsvd
from suite.problems import Folders, Problem, ProblemSpec
from suite.problems.data.images import Images
from suite.problems.problem import entropy, load_problem, make_problem, mean_example

AUTOENCODER = {"kind": "autoencoder", "encoder": [5, 3]}
MLP = {"kind": "mlp", "hidden": [5]}
CONVNET = {"kind": "convnet", "channels": [2]}
RNG = np.random.default_rng(0)
GREY = Images(
    "grey",
    RNG.integers(0, 17, (40, 4, 6), dtype=np.uint8),
    RNG.integers(0, 17, (15, 4, 6), dtype=np.uint8),
    1 / 16,
    RNG.integers(0, 10, 40),
    RNG.integers(0, 10, 15),
)
REAL = Images(
    "real", RNG.normal(size=(40, 5, 5)).astype(np.float16), RNG.normal(size=(15, 5, 5)).astype(np.float16), 1.0
)


def problem(network: dict[str, Any], likelihood: str, images: Images = GREY, **more: Any) -> Problem:
    data = "faces" if images is REAL else "digits"
    spec = {"data": data, "network": network, "likelihood": likelihood, "batch_size": 8, **more}
    return make_problem(ProblemSpec.model_validate(spec), images)


def brute_force_entropy(targets: np.ndarray) -> float:
    total = 0.0
    for t in targets.astype(np.float64).ravel():
        total -= sum(p * math.log(p) for p in (t, 1 - t) if p > 0)
    return total / len(targets)


def test_an_autoencoder_is_to_reproduce_its_inputs() -> None:
    posed = problem(AUTOENCODER, "bernoulli")
    assert (posed.name, posed.likelihood, posed.batch_size, posed.pixels) == ("grey", "bernoulli", 8, 24)
    for split, images in ((posed.train, GREY.train), (posed.test, GREY.test)):
        inputs, targets = split.batch(torch.arange(len(split)))
        np.testing.assert_allclose(inputs.numpy(), images.reshape(-1, 24) / 16)
        assert torch.equal(inputs, targets)


@pytest.mark.parametrize(("network", "shape"), [(MLP, (24,)), (CONVNET, (1, 4, 6))])
def test_a_classifier_is_to_predict_labels(network: dict[str, Any], shape: tuple[int, ...]) -> None:
    posed = problem(network, "categorical")
    assert posed.pixels == 10
    for split, labels in ((posed.train, GREY.train_labels), (posed.test, GREY.test_labels)):
        inputs, targets = split.batch(torch.arange(len(split)))
        assert inputs.shape == (len(split), *shape)
        np.testing.assert_array_equal(targets.numpy(), labels)


@pytest.mark.parametrize(
    ("network", "likelihood", "images"),
    [
        (AUTOENCODER, "bernoulli", GREY),
        (AUTOENCODER, "gaussian", REAL),
        (MLP, "categorical", GREY),
        (CONVNET, "categorical", GREY),
    ],
)
def test_network_and_loss_take_a_batch(network: dict[str, Any], likelihood: str, images: Images) -> None:
    posed = problem(network, likelihood, images)
    inputs, targets = posed.train.batch(torch.arange(8))
    outputs = posed.network(0)(inputs)
    losses = kfsvd.negative_log_likelihood(likelihood, outputs, targets)
    assert outputs.shape == (8, posed.pixels)
    assert losses.shape == (8,)
    assert losses.isfinite().all()


def test_only_the_first_training_examples_are_used_and_described() -> None:
    posed = problem(AUTOENCODER, "bernoulli", train_examples=7)
    assert (len(posed.train), len(posed.test)) == (7, 15)
    _, targets = posed.train.batch(torch.arange(7))
    np.testing.assert_allclose(targets.numpy(), GREY.train[:7].reshape(7, 24) / 16)
    np.testing.assert_allclose(posed.output_mean, targets.mean(0), rtol=1e-6)
    assert posed.floor == pytest.approx(brute_force_entropy(GREY.train[:7] / 16))
    labelled = problem(MLP, "categorical", train_examples=7)
    assert labelled.train.labels is not None
    assert len(labelled.train.labels) == 7
    assert GREY.train_labels is not None
    np.testing.assert_allclose(labelled.output_mean, np.bincount(GREY.train_labels[:7], minlength=10) / 7, rtol=1e-6)


def test_the_floors_are_the_entropies_of_the_two_sets() -> None:
    posed = problem(AUTOENCODER, "bernoulli")
    assert posed.floor == pytest.approx(brute_force_entropy(GREY.train / 16))
    assert posed.test_floor == pytest.approx(brute_force_entropy(GREY.test / 16))


def test_no_bernoulli_model_goes_below_the_floor() -> None:
    """And outputs that know the targets reach it."""
    posed = problem(AUTOENCODER, "bernoulli")
    _, targets = posed.train.batch(torch.arange(40))
    outputs = targets.double().logit(eps=1e-12)
    reached = kfsvd.negative_log_likelihood("bernoulli", outputs, targets.double()).mean().item()
    assert posed.floor == pytest.approx(reached, abs=1e-6)


def test_other_likelihoods_have_no_floor() -> None:
    for posed in (problem(AUTOENCODER, "gaussian", REAL), problem(MLP, "categorical")):
        assert posed.floor is None
        assert posed.test_floor is None


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
def test_the_entropy_is_that_of_the_formula(dtype: type) -> None:
    values, scale = (GREY.train, 1 / 16) if dtype is np.uint8 else (RNG.random((40, 4, 6)).astype(dtype), 1.0)
    flat = values.reshape(40, 24)
    assert entropy(flat, scale) == pytest.approx(brute_force_entropy(flat.astype(np.float64) * scale), rel=1e-12)


def test_certain_targets_have_no_entropy() -> None:
    assert entropy(np.array([[0, 255], [255, 0]], dtype=np.uint8), 1 / 255) == 0
    assert entropy(np.array([[0.0, -0.0, 1.0]], dtype=np.float16), 1.0) == 0


def test_an_even_target_has_one_bit() -> None:
    assert entropy(np.full((3, 5), 1, dtype=np.uint8), 0.5) == pytest.approx(5 * math.log(2))


@pytest.mark.parametrize("value", [-0.25, 1.5, np.nan, np.inf])
def test_a_target_that_is_no_probability_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match=r"targets must lie in \[0, 1\]"):
        entropy(np.array([[0.5, value]], dtype=np.float16), 1.0)


@pytest.mark.parametrize("images", [GREY, REAL])
def test_the_mean_example_is_exact_over_chunks(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.problems.problem._CHUNK", 7)
    flat = images.train.reshape(40, -1)
    expected = (flat.astype(np.float64) * images.scale).mean(0)
    np.testing.assert_allclose(mean_example(flat, images.scale), expected, rtol=1e-12, atol=1e-12)
    floor = entropy(GREY.train.reshape(40, -1), GREY.scale)
    assert floor == pytest.approx(brute_force_entropy(GREY.train / 16))


def test_the_network_is_a_pure_function_of_the_seed() -> None:
    posed = problem(AUTOENCODER, "bernoulli")
    torch.manual_seed(0)
    first = posed.network(3).state_dict()
    torch.manual_seed(1)
    again = problem(AUTOENCODER, "bernoulli").network(3).state_dict()
    other = posed.network(4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    weights = [name for name in first if name.endswith("weight")]
    assert weights
    assert not any(torch.equal(first[name], other[name]) for name in weights)


@pytest.mark.parametrize(
    "network", [AUTOENCODER, {**AUTOENCODER, "init": "sparse"}, CONVNET, MLP], ids=lambda n: "-".join(map(str, n))
)
def test_the_global_random_state_is_left_alone(network: dict[str, Any]) -> None:
    posed = problem(network, "bernoulli" if network["kind"] == "autoencoder" else "categorical")
    before = torch.get_rng_state()
    posed.network(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_of_a_seed_are_paired_but_share_nothing() -> None:
    posed = problem(AUTOENCODER, "bernoulli")
    one, other = posed.network(0), posed.network(0)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    fresh = posed.network(0)
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), fresh.parameters(), strict=True))
    assert posed.output_mean.abs().sum() > 0


@pytest.mark.parametrize(
    ("network", "likelihood", "images"),
    [(AUTOENCODER, "bernoulli", GREY), (AUTOENCODER, "gaussian", REAL), (MLP, "categorical", GREY)],
)
def test_the_output_bias_predicts_the_mean(network: dict[str, Any], likelihood: str, images: Images) -> None:
    posed = problem(network, likelihood, images)
    last = list(posed.network(0).modules())[-1]
    assert isinstance(last, torch.nn.Linear)
    predict = {
        "bernoulli": torch.sigmoid,
        "gaussian": lambda outputs: outputs,
        "categorical": lambda outputs: outputs.softmax(0),
    }[likelihood]
    if likelihood == "categorical":
        assert images.train_labels is not None
        mean = np.bincount(images.train_labels, minlength=10) / 40
    else:
        mean = (images.train.astype(np.float64) * images.scale).mean(0).ravel()
    np.testing.assert_allclose(predict(last.bias.detach()).numpy(), mean, atol=1e-3)


def test_a_pixel_that_is_always_black_has_a_finite_bias() -> None:
    images = Images("black", np.zeros((4, 2, 2), np.uint8), np.zeros((4, 2, 2), np.uint8), 1.0)
    bias = list(problem(AUTOENCODER, "bernoulli", images).network(0).parameters())[-1]
    assert bias.isfinite().all()
    assert (bias < -6).all()


def test_a_constant_output_bias_is_that_of_the_other_layers() -> None:
    posed = problem({**AUTOENCODER, "output_bias": "constant", "bias": 0.25}, "bernoulli")
    biases = [parameter for name, parameter in posed.network(0).named_parameters() if name.endswith("bias")]
    assert len(biases) == 4
    assert all((bias == 0.25).all() for bias in biases)


def test_parameters_are_counted() -> None:
    assert problem(AUTOENCODER, "bernoulli").parameters == 25 * 5 + 6 * 3 + 4 * 5 + 6 * 24


def test_the_examples_move_to_a_device() -> None:
    posed = problem(MLP, "categorical").to(torch.device("meta"))
    assert posed.train.device == posed.test.device == torch.device("meta")
    assert next(posed.network(0).parameters()).device == torch.device("cpu")


def test_floors_are_those_of_the_examples_that_are_evaluated() -> None:
    spec = ProblemSpec.model_validate(
        {
            "data": "digits",
            "network": {"kind": "autoencoder", "encoder": (4,)},
            "likelihood": "bernoulli",
            "batch_size": 64,
        }
    )
    problem = load_problem(spec, Folders.default())
    assert problem.floors(None) == (problem.floor, problem.test_floor)
    train, test = problem.floors(100)
    for split, floor in ((problem.train, train), (problem.test, test)):
        t = split.values[:100].double() * split.scale
        t = t.clamp(1e-300, 1)
        brute = -(t * t.log() + (1 - t) * torch.where(t < 1, (1 - t).log(), 0.0)).sum(1).mean()
        assert floor == pytest.approx(float(brute), rel=1e-9)
    assert train != problem.floor
