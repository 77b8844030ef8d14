"""Sinkhorn on a GPU, an iteration a kernel (Triton).

A program holds one row at a time in registers, normalises it in log space, and adds its entries
to the columns' sums; so each iteration reads the scores once, and they stay in the GPU's cache.
After a row is normalised its entries are at most its marginal, so that the sums need no log space.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS = 8
"""Rows a program: enough programs for every multiprocessor at 1024 keypoints."""

_LEAST_SUM = 1e-30
"""Of a column, where nothing has mass (padding): its logarithm must stay finite."""


# Triton compiles what annotations name, so that only its own may stand here.
@triton.jit
def _iterate(  # type: ignore[no-untyped-def]
    scores,
    log_mu,
    log_nu,
    u,
    v_before,
    sums_before,
    v,
    sums,
    height,
    width,
    least,
    FIRST: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    batch = tl.program_id(1)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    place = batch * width + columns
    v_now = tl.load(v_before + place, mask=inside, other=0.0)
    if not FIRST:
        total = tl.load(sums_before + place, mask=inside, other=1.0)
        marginal = tl.load(log_nu + place, mask=inside, other=0.0)
        v_now += marginal - tl.log(tl.maximum(total, least))
    # Every program computes the same potentials, and any of them may be the one that stays.
    tl.store(v + place, v_now, mask=inside)
    partial = tl.zeros([BLOCK], dtype=tl.float32)
    for offset in range(ROWS):
        row = tl.program_id(0) * ROWS + offset
        if row < height:
            start = (batch * height + row) * width
            x = tl.load(scores + start + columns, mask=inside, other=-float("inf")) + v_now
            top = tl.max(x, axis=0)
            marginal_row = tl.load(log_mu + batch * height + row)
            u_row = marginal_row - top - tl.log(tl.sum(tl.exp(x - top), axis=0))
            tl.store(u + batch * height + row, u_row)
            partial += tl.exp(x + u_row)
    # Relaxed: only the next kernel reads the sums.
    tl.atomic_add(sums + place, partial, mask=inside, sem="relaxed")


def warps_of(block: int) -> int:
    """Warps of a program whose rows have so many columns: more would run out of registers."""
    return min(32, max(4, block // 256))


def sinkhorn_potentials(
    scores: Tensor, log_mu: Tensor, log_nu: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Potentials u (B, H), v (B, W) after so many iterations on augmented scores (B, H, W).

    scores contiguous float32, log_mu (B, H), log_nu (B, W); the log assignment is
    scores + u + v + norm. The sums are added in any order, so that the last bits vary.
    """
    batch, height, width = scores.shape
    u = torch.empty_like(log_mu)
    v = scores.new_zeros(iterations, batch, width)
    sums = scores.new_zeros(iterations, batch, width)
    grid = (triton.cdiv(height, _ROWS), batch)
    block = triton.next_power_of_2(width)
    for step in range(iterations):
        _iterate[grid](
            scores,
            log_mu,
            log_nu,
            u,
            v[max(step - 1, 0)],
            sums[max(step - 1, 0)],
            v[step],
            sums[step],
            height,
            width,
            _LEAST_SUM,
            FIRST=step == 0,
            ROWS=_ROWS,
            BLOCK=block,
            num_warps=warps_of(block),
        )
    last = iterations - 1
    return u, v[last] + log_nu - sums[last].clamp(min=_LEAST_SUM).log()
