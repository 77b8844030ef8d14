"""Entropic optimal transport with dustbins by Sinkhorn (arXiv:1911.11763, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_LOG_DOMAIN_START = 2
"""Iterations in log space before the matrix scaling, so that its kernel neither over- nor
underflows where the plan has mass."""


def augment_scores(scores: Tensor, bin_score: Tensor) -> Tensor:
    """Scores (B, M, N) with a dustbin row and column of `bin_score`: (B, M + 1, N + 1) (eq. 8)."""
    batch, m, n = scores.shape
    bins = bin_score.to(scores.dtype)
    augmented = torch.cat((scores, bins.expand(batch, m, 1)), dim=2)
    return torch.cat((augmented, bins.expand(batch, 1, n + 1)), dim=1)


def _log_marginals(m: int, n: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log mu (M + 1,), log nu (N + 1,) and their common normaliser log(M + N) (eq. 9)."""
    norm = like.new_tensor(float(m + n)).log()
    log_mu = torch.cat(((-norm).expand(m), like.new_tensor([float(n)]).log() - norm))
    log_nu = torch.cat(((-norm).expand(n), like.new_tensor([float(m)]).log() - norm))
    return log_mu, log_nu, norm


def log_optimal_transport(scores: Tensor, bin_score: Tensor, iterations: int) -> Tensor:
    """Log assignment of scores (B, M, N) by Sinkhorn in log space: (B, M + 1, N + 1) (eq. 7-9).

    exp of a row (column) sums to 1, of the dustbin's to N (M). Differentiable; float32.
    Raises ValueError when M or N is 0.
    """
    _check(scores, iterations)
    z = augment_scores(scores.float(), bin_score.float())
    plan: Tensor = _Sinkhorn.apply(z, iterations)
    return plan


class _Sinkhorn(torch.autograd.Function):
    """Sinkhorn with the exact gradient of its finite number of iterations.

    Only the potentials, vectors, are kept; the matrices of an iteration are computed again from
    them on the way back, so that memory does not grow by a matrix an iteration.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, iterations: int) -> Tensor:
        """Log assignment of augmented scores z (B, M + 1, N + 1)."""
        log_mu, log_nu, norm = _log_marginals(z.shape[1] - 1, z.shape[2] - 1, z)
        u, v = [], [z.new_zeros(z.shape[0], 1, z.shape[2])]
        for _ in range(iterations):
            u.append(log_mu[:, None] - torch.logsumexp(z + v[-1], dim=2, keepdim=True))
            v.append(log_nu - torch.logsumexp(z + u[-1], dim=1, keepdim=True))
        ctx.save_for_backward(z, torch.stack(u), torch.stack(v))
        return z + u[-1] + v[-1] + norm

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Gradient of z (B, M + 1, N + 1)."""
        z, u, v = ctx.saved_tensors
        log_mu, log_nu, _ = _log_marginals(z.shape[1] - 1, z.shape[2] - 1, z)
        grad_z = grad.clone()
        grad_u, grad_v = grad.sum(2, keepdim=True), grad.sum(1, keepdim=True)
        for t in reversed(range(len(u))):
            # The derivative of a logsumexp is a softmax, here over each column, then each row.
            step = (z + u[t] + (v[t + 1] - log_nu)).exp_().mul_(grad_v)
            grad_z -= step
            grad_u = grad_u - step.sum(2, keepdim=True)
            step = (z + (u[t] - log_mu[:, None]) + v[t]).exp_().mul_(grad_u)
            grad_z -= step
            grad_v = -step.sum(1, keepdim=True)
            grad_u = torch.zeros_like(grad_u)
        return grad_z, None


@torch.no_grad()
def log_optimal_transport_inference(scores: Tensor, bin_score: Tensor, iterations: int) -> Tensor:
    """The same result as `log_optimal_transport`, without gradients and faster.

    After a start in log space the iterations scale the rows and columns of one exponentiated
    kernel, two matrix-vector products each in place of two logsumexp passes; potentials that grow
    are absorbed into the kernel (stabilised scaling: Schmitzer, arXiv:1610.06519).
    """
    _check(scores, iterations)
    z = augment_scores(scores.float(), bin_score.float())
    log_mu, log_nu, norm = _log_marginals(scores.shape[1], scores.shape[2], z)
    v = z.new_zeros(z.shape[0], 1, z.shape[2])
    u = z.new_zeros(z.shape[0], z.shape[1], 1)
    for _ in range(min(iterations, _LOG_DOMAIN_START)):
        u = log_mu[:, None] - torch.logsumexp(z + v, dim=2, keepdim=True)
        v = log_nu - torch.logsumexp(z + u, dim=1, keepdim=True)
    mu, nu = log_mu.exp()[:, None], log_nu.exp()[:, None]
    remaining = iterations - _LOG_DOMAIN_START
    while remaining > 0:
        kernel = (z + u + v).exp_()
        b = torch.ones_like(nu).expand(z.shape[0], -1, -1)
        for _ in range(min(remaining, 16)):
            a = mu / (kernel @ b)
            b = nu / (kernel.transpose(1, 2) @ a)
        if not bool(torch.isfinite(a).all() & torch.isfinite(b).all()):
            # A row or column without mass in float32: finish exactly, in log space.
            return log_optimal_transport(scores, bin_score, iterations)
        u = u + a.log()
        v = v + b.log().transpose(1, 2)
        remaining -= 16
    return z.add_(u).add_(v).add_(norm)


def _check(scores: Tensor, iterations: int) -> None:
    if scores.dim() != 3 or 0 in scores.shape[1:]:
        raise ValueError(f"scores must be (B, M > 0, N > 0), not {tuple(scores.shape)}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
