import numpy as np
import pytest
import torch

from superglue_ros.networks.optimal_transport import (
    augment_scores,
    log_optimal_transport,
    log_optimal_transport_inference,
)

BIN = torch.tensor(0.5)


def test_dustbins_stand_last():
    augmented = augment_scores(torch.zeros(1, 2, 3), torch.tensor(7.0))
    assert augmented.shape == (1, 3, 4)
    assert augmented[0, 2].tolist() == [7.0] * 4
    assert augmented[0, :, 3].tolist() == [7.0] * 3


def test_one_by_one_by_hand():
    # Couplings [[s, b], [b, b]] with marginals (1, 1): p = plan[0, 0] solves
    # p^2 / (1 - p)^2 = exp(s - b), by the invariance of the cross ratio.
    score, bins = 2.0, 0.5
    plan = log_optimal_transport(torch.full((1, 1, 1), score), torch.tensor(bins), 200).exp()
    odds = np.exp((score - bins) / 2)
    assert plan[0, 0, 0].item() == pytest.approx(odds / (1 + odds), abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 5, 5), (2, 7, 3), (1, 1, 9), (1, 200, 150)])
def test_marginals_hold(shape):
    torch.manual_seed(0)
    plan = log_optimal_transport(torch.randn(shape) * 3, BIN, 300).exp()
    _, m, n = shape
    torch.testing.assert_close(plan[:, :-1].sum(2), torch.ones(shape[0], m), atol=1e-3, rtol=0)
    torch.testing.assert_close(plan[:, :, :-1].sum(1), torch.ones(shape[0], n), atol=1e-3, rtol=0)
    bins = torch.full((shape[0],), float(n))
    torch.testing.assert_close(plan[:, -1].sum(1), bins, atol=1e-2, rtol=0)


@pytest.mark.parametrize("iterations", [1, 2, 3, 17, 18, 19, 100])
@pytest.mark.parametrize("scale", [1.0, 10.0, 60.0])
def test_inference_gives_the_same_as_the_plain_form(iterations, scale):
    torch.manual_seed(0)
    scores = torch.randn(2, 40, 57) * scale
    plain = log_optimal_transport(scores, BIN, iterations)
    fast = log_optimal_transport_inference(scores, BIN, iterations)
    # Where the plan has no mass the logarithm is large and matters to nobody.
    torch.testing.assert_close(fast.exp(), plain.exp(), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(
        fast.clamp(min=-50), plain.clamp(min=-50), atol=2e-3 * max(1, scale / 10), rtol=1e-3
    )


def test_extreme_scores_stay_finite():
    scores = torch.tensor([[[500.0, -500.0], [-500.0, -500.0]]])
    for transport in (log_optimal_transport, log_optimal_transport_inference):
        assert torch.isfinite(transport(scores, BIN, 100)).all()


def test_gradient_matches_finite_differences():
    torch.manual_seed(0)
    scores = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    bins = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def transport(scores: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
        return log_optimal_transport(scores, bins, 7)

    # The layer computes in float32, so the steps and tolerances are wide.
    assert torch.autograd.gradcheck(transport, (scores, bins), eps=1e-2, atol=2e-2)


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_the_recomputed_gradient_is_that_of_the_stored_iterations(scale):
    torch.manual_seed(0)
    scores = (torch.randn(2, 30, 41) * scale).requires_grad_()
    bins = torch.tensor(0.4, requires_grad=True)
    weights = torch.randn(2, 31, 42)
    log_mu = torch.cat((torch.ones(30), torch.tensor([41.0]))).log()[:, None]
    log_nu = torch.cat((torch.ones(41), torch.tensor([30.0]))).log()
    z = augment_scores(scores, bins)
    v = torch.zeros(2, 1, 42)
    for _ in range(20):
        u = log_mu - torch.logsumexp(z + v, dim=2, keepdim=True)
        v = log_nu - torch.logsumexp(z + u, dim=1, keepdim=True)
    expected = torch.autograd.grad(((z + u + v) * weights).sum(), (scores, bins))
    plan = log_optimal_transport(scores, bins, 20)
    torch.testing.assert_close(plan, z + u + v, atol=1e-4, rtol=1e-5)
    found = torch.autograd.grad((plan * weights).sum(), (scores, bins))
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("shape", [(1, 0, 3), (1, 3, 0), (3, 3)])
def test_empty_scores_are_refused(shape):
    with pytest.raises(ValueError, match="scores must be"):
        log_optimal_transport(torch.zeros(shape), BIN, 10)
    with pytest.raises(ValueError, match="iterations"):
        log_optimal_transport(torch.zeros(1, 2, 2), BIN, 0)
