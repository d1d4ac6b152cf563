"""K-BFGS against its update formulas by hand, and BFGS's own invariants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import kfsvd
from kfsvd import negative_log_likelihood
from kfsvd.optimizers.kbfgs import bfgs, doubly_damped, input_update
from tests.kfsvd.optimizers.loops import INPUTS, loss_of, make, network, train


def positive(size: int, seed: int) -> torch.Tensor:
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double()
    return root @ root.mT + 0.1 * torch.eye(size).double()


def vectors(size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator).double(), torch.randn(size, generator=generator).double()


ONE = torch.ones(()).double()


@pytest.mark.parametrize("seed", range(5))
def test_an_update_is_bfgs_product_form_and_takes_the_secant(seed: int) -> None:
    h, (s, y) = positive(5, seed), vectors(5, seed)
    y = y if torch.dot(s, y) > 0 else -y
    rho, eye = 1 / torch.dot(s, y), torch.eye(5).double()
    left = eye - rho * torch.outer(s, y)
    new = bfgs(h, s, y, 0 * ONE)
    torch.testing.assert_close(new, left @ h @ left.mT + rho * torch.outer(s, s), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(new @ y, s, rtol=1e-9, atol=1e-10)
    assert np.linalg.eigvalsh(new.numpy()).min() > 0


def test_pairs_without_curvature_are_left_out() -> None:
    h, (s, _) = positive(5, 0), vectors(5, 0)
    for y in (-s, torch.zeros(5).double(), s * float("nan")):
        assert torch.equal(bfgs(h, s, y, ONE), h)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_double_damping_keeps_the_inverse_positive_and_bounded(seed: int, scale: float) -> None:
    h, (s, y) = positive(5, seed), vectors(5, seed)
    damped_s, damped_y = doubly_damped(h, s, scale * y, 0.3)
    quadratic = torch.dot(scale * y, h @ (scale * y))
    before, powell = (float(torch.dot(each, scale * y) / quadratic) for each in (s, damped_s))
    assert powell == pytest.approx(max(before, 0.2)), "no further than it must"
    assert torch.dot(damped_s, damped_y) >= 0.3 * torch.dot(damped_s, damped_s)
    assert np.linalg.eigvalsh(bfgs(h, damped_s, damped_y, 0 * ONE).numpy()).min() > 0


def test_the_input_side_converges_to_the_damped_inverse() -> None:
    """On a fixed A, from means in all directions."""
    moment = positive(4, 3)
    inverse = torch.eye(4).double()
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        inverse = input_update(inverse, moment, torch.randn(4, generator=generator).double(), 0.5)
    expected = torch.linalg.inv(moment + 0.5 * torch.eye(4).double())
    torch.testing.assert_close(inverse, expected, rtol=1e-3, atol=1e-3)


def test_on_squared_errors_the_output_side_learns_the_hessian_of_one() -> None:
    """∂²(½‖f − y‖²)/∂f² = I, so that H_g → (1 + √λ)⁻¹ along what the outputs have moved."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3)).double()
    x, target = torch.randn(32, 4).double(), torch.randn(32, 3).double()
    optimizer = kfsvd.KBFGS(model, "gaussian", damping=0.25, lr=0.1, momentum=0.0, step_rule="none")
    for _ in range(30):
        optimizer.zero_grad()
        negative_log_likelihood("gaussian", model(x), target).mean().backward()
        optimizer.step()
    s, y = optimizer._pairs["0"]
    torch.testing.assert_close(s, y, rtol=1e-9, atol=1e-14)
    inverse = optimizer.inverses()["0"].b_inverse
    torch.testing.assert_close(inverse @ s, s / 1.5, rtol=1e-6, atol=1e-12)


def test_steps_are_the_algorithm_by_hand() -> None:
    """Two layers, three steps, means taken by hand at the weights before and after."""
    model, reference = network(), network()
    optimizer = make("kbfgs", model, damping=0.25, lr=0.3, momentum=0.5, step_rule="none")
    layers, root = (reference[0], reference[2]), 0.5
    moments: list[torch.Tensor] = []
    inner: list[torch.Tensor] = []
    outer = [torch.eye(5).double() / root, torch.eye(6).double() / root]
    pairs = [[torch.zeros(n).double()] * 2 for n in (5, 6)]
    velocity = [torch.zeros(5, 7).double(), torch.zeros(6, 6).double()]

    def passed(batch: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """(a, h, g) of both layers, a row for each example."""
        with torch.no_grad():
            first = reference[0](batch)
            hidden = torch.tanh(first)
            second = reference[2](hidden)
            scores = torch.sigmoid(second) - batch
            back = scores @ reference[2].weight * (1 - hidden.square())
            ones = torch.ones(12, 1).double()
            return [(torch.cat([batch, ones], 1), first, back), (torch.cat([hidden, ones], 1), second, scores)]

    for step in range(3):
        train(model, optimizer, 1, start=step)
        batch = INPUTS[torch.randperm(24, generator=torch.Generator().manual_seed(step))[:12]]
        before = passed(batch)
        rho = min(1 - 1 / (step + 1), 0.9)
        for k, (a, _, g) in enumerate(before):
            moment = a.mT @ a / 12
            if step == 0:
                moments.append(moment)
                inner.append(torch.linalg.inv(moment + root * torch.eye(len(moment)).double()))
            moments[k] = rho * moments[k] + (1 - rho) * moment
            velocity[k] = 0.5 * velocity[k] + outer[k] @ (g.mT @ a / 12) @ inner[k]
        with torch.no_grad():
            for module, v in zip(layers, velocity, strict=True):
                module.weight -= 0.3 * v[:, :-1]
                module.bias -= 0.3 * v[:, -1]
        after = passed(batch)
        for k in range(2):
            mean = before[k][0].mean(0)
            s = inner[k] @ mean
            inner[k] = bfgs(inner[k], s, moments[k] @ s + root * s, mean.norm())
            changes = [after[k][part].mean(0) - before[k][part].mean(0) for part in (1, 2)]
            pairs[k] = [0.9 * p + 0.1 * c for p, c in zip(pairs[k], changes, strict=True)]
            outer[k] = bfgs(outer[k], *doubly_damped(outer[k], *pairs[k], root), before[k][2].mean(0).norm())
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-10)
    for k, (name, inverse) in enumerate(optimizer.inverses().items()):
        torch.testing.assert_close(inverse.a_inverse, inner[k], rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(inverse.b_inverse, outer[k], rtol=1e-7, atol=1e-9)
        curvature = optimizer.approximations()[name].dense()
        expected = torch.kron(moments[k].contiguous(), torch.linalg.inv(outer[k]).contiguous())
        torch.testing.assert_close(curvature, expected, rtol=1e-6, atol=1e-8)


def test_other_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="kbfgs takes fisher='empirical', the training loss itself; got 'exact'"):
        make("kbfgs", network(), fisher="exact")


def test_it_trains_past_its_start() -> None:
    model = network()
    optimizer = make("kbfgs", model)
    start = loss_of(model, INPUTS).item()
    train(model, optimizer, 40)
    assert loss_of(model, INPUTS).item() < start
    assert all(np.linalg.eigvalsh(i.b_inverse.numpy()).min() > 0 for i in optimizer.inverses().values())
