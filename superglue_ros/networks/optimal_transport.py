"""Entropic optimal transport with dustbins by Sinkhorn (arXiv:1911.11763, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_LOG_DOMAIN_START = 2
"""Iterations in log space before the matrix scaling, so that its kernel neither over- nor
underflows where the plan has mass."""

_MOST_LOG_SCALE = 30.0
"""Up to which the scales of a kernel are exact enough in float32, and so are their products."""


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
    them on the way back, so that memory does not grow by a matrix an iteration. On a CPU all but
    the first iterations scale one exponentiated kernel: a matrix-vector product in place of a
    logsumexp, and on the way back all of their matrices are one product of what the vectors were.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, iterations: int) -> Tensor:
        """Log assignment of augmented scores z (B, M + 1, N + 1)."""
        # A GPU is quick with either, and would wait for the check of the scales.
        in_logs = min(iterations, _LOG_DOMAIN_START) if z.device.type == "cpu" else iterations
        u, v = _log_iterations(z, in_logs)
        a, b = _scaling_iterations(z + u[-1] + v[-1], iterations - in_logs)
        if not _are_moderate(a, b):
            u, v = _log_iterations(z, iterations)
            a, b = a[:0], b[:0]
        ctx.save_for_backward(z, u, v, a, b)
        plan = z + u[-1] + v[-1] + _log_marginals(z.shape[1] - 1, z.shape[2] - 1, z)[2]
        return plan.add_(a[-1].log().transpose(1, 2)).add_(b[-1].log()) if len(a) else plan

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Gradient of z (B, M + 1, N + 1)."""
        z, u, v, a, b = ctx.saved_tensors
        log_mu, log_nu, _ = _log_marginals(z.shape[1] - 1, z.shape[2] - 1, z)
        grad_z = grad.clone()
        grad_u, grad_v = grad.sum(2, keepdim=True), grad.sum(1, keepdim=True)
        if len(a):
            kernel = (z + u[-1] + v[-1]).exp_()
            rows, columns = [], []
            grad_a = grad_u.transpose(1, 2)
            for t in reversed(range(len(a))):
                # The derivative of a logsumexp is a softmax, here over each column, then each
                # row: the kernel times a row's and a column's factor.
                column = b[t + 1] * grad_v / log_nu.exp()
                grad_a = grad_a - a[t] * (column @ kernel.transpose(1, 2))
                row = a[t] * grad_a / log_mu.exp()
                grad_v = -b[t] * (row @ kernel)
                grad_a = torch.zeros_like(grad_a)
                rows += [a[t], row]
                columns += [column, b[t]]
            factors = torch.cat(rows, 1).transpose(1, 2) @ torch.cat(columns, 1)
            grad_z -= kernel.mul_(factors)
            grad_u = grad_a.transpose(1, 2)
        for t in reversed(range(len(u))):
            step = (z + u[t] + (v[t + 1] - log_nu)).exp_().mul_(grad_v)
            grad_z -= step
            grad_u = grad_u - step.sum(2, keepdim=True)
            step = (z + (u[t] - log_mu[:, None]) + v[t]).exp_().mul_(grad_u)
            grad_z -= step
            grad_v = -step.sum(1, keepdim=True)
            grad_u = torch.zeros_like(grad_u)
        return grad_z, None


def _log_iterations(z: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Potentials u (T, B, M + 1, 1) and v (T + 1, B, 1, N + 1), the latter from 0 on, of
    iterations in log space."""
    log_mu, log_nu, _ = _log_marginals(z.shape[1] - 1, z.shape[2] - 1, z)
    u, v = [], [z.new_zeros(z.shape[0], 1, z.shape[2])]
    for _ in range(iterations):
        u.append(log_mu[:, None] - torch.logsumexp(z + v[-1], dim=2, keepdim=True))
        v.append(log_nu - torch.logsumexp(z + u[-1], dim=1, keepdim=True))
    return torch.stack(u), torch.stack(v)


def _scaling_iterations(log_kernel: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Scales a (T, B, 1, M + 1) and b (T + 1, B, 1, N + 1), the latter from 1 on, of a kernel that
    holds the potentials up to here."""
    batch, rows, columns = log_kernel.shape
    a, b = [log_kernel.new_ones(batch, 1, rows)], [log_kernel.new_ones(batch, 1, columns)]
    if iterations:
        log_mu, log_nu, _ = _log_marginals(rows - 1, columns - 1, log_kernel)
        mu, nu = log_mu.exp(), log_nu.exp()
        kernel = log_kernel.exp()
        for _ in range(iterations):
            # Vectors stand before the matrix: torch is ten times as slow with those behind it.
            a.append(mu / (b[-1] @ kernel.transpose(1, 2)))
            b.append(nu / (a[-1] @ kernel))
    return torch.stack(a)[1:], torch.stack(b)


def _are_moderate(a: Tensor, b: Tensor) -> bool:
    """Whether products of scales are far from what float32 can hold."""
    scales = (a, b) if len(a) else ()
    return all(bool((s.log().abs() < _MOST_LOG_SCALE).all()) for s in scales)


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
