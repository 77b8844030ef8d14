"""How matches are read off a log assignment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from superglue_ros.types import UNMATCHED


@dataclass(frozen=True)
class Assignment:
    """What the assignment says: indices0 (B, M) into the N keypoints of image 1 or UNMATCHED,
    indices1 (B, N) the other way, and the confidences of both, in [0, 1], 0 where unmatched."""

    indices0: Tensor
    indices1: Tensor
    confidences0: Tensor
    confidences1: Tensor


def read_assignment(log_assignment: Tensor, match_threshold: float) -> Assignment:
    """Mutually best pairs of a log assignment (B, M + 1, N + 1) above a probability.

    A pair at the dustbins is no match; ties go to the lower index.
    """
    inner = log_assignment[:, :-1, :-1]
    best0, best1 = inner.max(dim=2), inner.max(dim=1)
    rows = torch.arange(inner.shape[1], device=inner.device)
    columns = torch.arange(inner.shape[2], device=inner.device)
    mutual0 = best1.indices.gather(1, best0.indices) == rows
    mutual1 = best0.indices.gather(1, best1.indices) == columns
    confidences0 = torch.where(mutual0, best0.values.exp(), 0.0)
    confidences1 = torch.where(mutual1, confidences0.gather(1, best1.indices), 0.0)
    keep0 = mutual0 & (confidences0 > match_threshold)
    keep1 = mutual1 & keep0.gather(1, best1.indices)
    return Assignment(
        torch.where(keep0, best0.indices, UNMATCHED),
        torch.where(keep1, best1.indices, UNMATCHED),
        confidences0,
        confidences1,
    )


def empty_assignment(batch: int, m: int, n: int, device: torch.device) -> Assignment:
    """Nothing matched, as where either image has no keypoints."""

    def unmatched(k: int) -> Tensor:
        return torch.full((batch, k), UNMATCHED, dtype=torch.int64, device=device)

    zeros0 = torch.zeros(batch, m, device=device)
    return Assignment(unmatched(m), unmatched(n), zeros0, torch.zeros(batch, n, device=device))
