"""Likelihoods: losses by their definitions, samples by their moments, scores of mean zero."""

from __future__ import annotations

import pytest
import torch

from kfsvd import negative_log_likelihood
from kfsvd.network.likelihoods import LIKELIHOODS


def test_losses_are_summed_over_outputs_and_kept_per_example() -> None:
    outputs, targets = torch.randn(4, 3, 2).double(), torch.rand(4, 3, 2).double()
    p = outputs.sigmoid()
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).sum((1, 2))
    torch.testing.assert_close(negative_log_likelihood("bernoulli", outputs, targets), expected)
    expected = ((outputs - targets) ** 2).sum((1, 2)) / 2
    torch.testing.assert_close(negative_log_likelihood("gaussian", outputs, targets), expected)
    logits, classes = outputs[:, 0], torch.tensor([0, 1, 1, 0])
    expected = -logits.softmax(1)[torch.arange(4), classes].log()
    torch.testing.assert_close(negative_log_likelihood("categorical", logits, classes), expected)


@pytest.mark.parametrize(("name", "fisher_trace"), [("bernoulli", None), ("gaussian", 3.0), ("categorical", None)])
def test_sampled_scores_have_mean_zero_and_the_output_fisher_as_covariance(
    name: str, fisher_trace: float | None
) -> None:
    n = 40_000
    outputs = torch.tensor([0.5, -1.0, 2.0]).expand(n, 3).double().requires_grad_()
    labels = LIKELIHOODS[name].sample(outputs.detach(), torch.Generator().manual_seed(0))
    (scores,) = torch.autograd.grad(negative_log_likelihood(name, outputs, labels).sum(), outputs)
    p = outputs[0].detach().sigmoid() if name == "bernoulli" else outputs[0].detach().softmax(0)
    trace = fisher_trace or float((p * (1 - p)).sum())
    assert scores.mean(0).abs().max() < 4 / n**0.5
    assert float(scores.square().sum(1).mean()) == pytest.approx(trace, rel=0.03)


def test_an_unknown_likelihood_is_named() -> None:
    with pytest.raises(ValueError, match="likelihood must be one of bernoulli, gaussian, categorical; got 'poisson'"):
        negative_log_likelihood("poisson", torch.zeros(1, 1), torch.zeros(1, 1))
