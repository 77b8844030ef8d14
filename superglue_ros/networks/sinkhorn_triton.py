"""Sinkhorn on a GPU, an iteration a kernel (Triton).

A program holds some whole rows in registers, normalises them in log space, and adds their entries
to the columns' sums; so each iteration reads the scores once, and they stay in the GPU's cache.
After a row is normalised its entries are at most its marginal, so that the sums need no log space.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_MOST_ROWS = 8
"""Of a program: enough programs for every multiprocessor at 1024 keypoints."""

_TILE = 16384
"""Scores that a program holds, unless a single row is longer: more do not fit into registers."""

_LEAST_SUM = 1e-30
"""Of a column, where nothing has mass (padding): its logarithm must stay finite."""


# Triton compiles what annotations name, so that only its own may stand here, and up to 3.1 reads
# them as objects alone, so that this module does without __future__'s.
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
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside, there = columns < width, rows < height
    place, row_place = batch * width + columns, batch * height + rows
    # Before anything that they do not depend on: they come from farther than the potentials.
    x = tl.load(
        scores + row_place[:, None] * width + columns[None, :],
        mask=there[:, None] & inside[None, :],
        other=-float("inf"),
    )
    marginals = tl.load(log_mu + row_place, mask=there, other=0.0)
    v_now = tl.load(v_before + place, mask=inside, other=0.0)
    if not FIRST:
        total = tl.load(sums_before + place, mask=inside, other=1.0)
        v_now += tl.load(log_nu + place, mask=inside, other=0.0) - tl.log(tl.maximum(total, least))
    # Every program computes the same potentials, and any of them may be the one that stays.
    tl.store(v + place, v_now, mask=inside)
    x += v_now[None, :]
    # A row beyond the last holds nothing, whose maximum and logarithm would be no numbers.
    top = tl.where(there, tl.max(x, axis=1), 0.0)
    mass = tl.exp(x - top[:, None])
    log_total = tl.log(tl.where(there, tl.sum(mass, axis=1), 1.0))
    tl.store(u + row_place, marginals - top - log_total, mask=there)
    partial = tl.sum(mass * tl.exp(marginals - log_total)[:, None], axis=0)
    # Relaxed: only the next kernel reads the sums.
    tl.atomic_add(sums + place, partial, mask=inside, sem="relaxed")


def shape_of(block: int) -> tuple[int, int]:
    """Rows and warps of a program whose rows have `block` columns, so that nothing spills."""
    rows = min(_MOST_ROWS, max(1, _TILE // block))
    return rows, min(32, max(4, rows * block // 1024))


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
    block = triton.next_power_of_2(width)
    rows, warps = shape_of(block)
    grid = (triton.cdiv(height, rows), batch)
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
            ROWS=rows,
            BLOCK=block,
            num_warps=warps,
        )
    last = iterations - 1
    return u, v[last] + log_nu - sums[last].clamp(min=_LEAST_SUM).log()
