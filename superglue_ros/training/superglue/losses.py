"""The training loss of SuperGlue."""

from __future__ import annotations

from torch import Tensor

from superglue_ros.types import UNMATCHED


def matching_loss(
    log_assignment: Tensor, matches0: Tensor, matches1: Tensor, balanced: bool = True
) -> Tensor:
    """Negative log-likelihood of matched pairs and dustbins (arXiv:1911.11763, eq. 10), a mean.

    log_assignment (B, M + 1, N + 1); matches0 (B, M) and matches1 (B, N): partner's index,
    UNMATCHED for the dustbin, any other negative number where the truth is unknown. Balanced,
    matched and unmatched keypoints weigh one half each, whatever their numbers; else each match
    and each unmatched keypoint weighs the same.
    """
    positive = matches0 >= 0
    index = matches0.clamp(min=0)
    matched = log_assignment[:, :-1].gather(2, index[..., None]).squeeze(2)
    bins0 = matches0 == UNMATCHED
    bins1 = matches1 == UNMATCHED
    matched = (matched * positive).sum()
    unmatched = (log_assignment[:, :-1, -1] * bins0).sum()
    unmatched = unmatched + (log_assignment[:, -1, :-1] * bins1).sum()
    pairs, bins = positive.sum(), bins0.sum() + bins1.sum()
    if not balanced:
        return -(matched + unmatched) / (pairs + bins).clamp(min=1)
    return -(matched / pairs.clamp(min=1) + unmatched / bins.clamp(min=1)) / 2
