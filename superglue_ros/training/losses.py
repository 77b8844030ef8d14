"""Training losses of SuperPoint and SuperGlue; each a mean over what it supervises."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.networks.superpoint import CELL
from superglue_ros.types import UNMATCHED


def detector_targets(points: Tensor, scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Class per cell (B, H / 8, W / 8) of labelled points (B, C, 2) with scores (B, C).

    The class is the pixel of the strongest label in the cell, 64 where there is none; labels
    outside the image of size (width, height) or of score 0 do not count.
    """
    width, height = size
    pixel = points.round().long()
    x, y = pixel.unbind(-1)
    counts = (x >= 0) & (y >= 0) & (x < width) & (y < height) & (scores > 0)
    index = torch.where(counts, y * width + x, 0)
    canvas = torch.zeros(len(points), height * width, device=points.device)
    canvas.scatter_reduce_(1, index, torch.where(counts, scores.float(), 0.0), "amax")
    rows, columns = height // CELL, width // CELL
    image = canvas.view(-1, 1, height, width)[..., : rows * CELL, : columns * CELL]
    best, label = F.pixel_unshuffle(image, CELL).max(dim=1)
    return torch.where(best > 0, label, CELL * CELL)


def detector_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy over 8 x 8 cells with a no-keypoint bin (arXiv:1712.07629, eq. 2).

    logits (B, 65, h, w), targets (B, h, w), valid (B, h, w) bool.
    """
    loss = F.cross_entropy(logits.float(), targets, reduction="none")
    return (loss * valid).sum() / valid.sum().clamp(min=1)


def descriptor_loss(
    descriptors0: Tensor,
    descriptors1: Tensor,
    points1: Tensor,
    valid: Tensor,
    temperature: float = 0.05,
    ignore_px: float = 6.0,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy both ways over similarities of corresponding points (InfoNCE,
    arXiv:1807.03748), in place of the paper's hinge over all pairs of cells.

    descriptors0/1 (B, N, D) of norm 1 in the same order, points1 (B, N, 2) pixels, valid (B, N).
    All points of the batch are negatives to each other but those nearer than `ignore_px` in the
    same image. Returns the loss and the share of points whose best partner is the right one.
    """
    batch, count, dim = descriptors0.shape
    d0, d1 = descriptors0.reshape(-1, dim), descriptors1.reshape(-1, dim)
    similarity = d0.float() @ d1.float().T / temperature
    near = torch.cdist(points1, points1) < ignore_px
    near &= ~torch.eye(count, dtype=torch.bool, device=near.device)
    blocked = torch.block_diag(*near.unbind(0))
    usable = valid.reshape(-1)
    similarity = similarity.masked_fill(blocked | ~usable[None] | ~usable[:, None], -1e4)
    target = torch.arange(batch * count, device=similarity.device)
    loss0 = F.cross_entropy(similarity, target, reduction="none")
    loss1 = F.cross_entropy(similarity.T, target, reduction="none")
    total = usable.sum().clamp(min=1)
    right = (similarity.argmax(1) == target) & usable
    return ((loss0 + loss1) / 2 * usable).sum() / total, right.sum() / total


def matching_loss(log_assignment: Tensor, matches0: Tensor, matches1: Tensor) -> Tensor:
    """Negative log-likelihood of matched pairs and dustbins (arXiv:1911.11763, eq. 10), balanced.

    log_assignment (B, M + 1, N + 1); matches0 (B, M) and matches1 (B, N): partner's index,
    UNMATCHED for the dustbin, any other negative number where the truth is unknown. Matched and
    unmatched keypoints weigh one half each, whatever their numbers.
    """
    positive = matches0 >= 0
    index = matches0.clamp(min=0)
    matched = log_assignment[:, :-1].gather(2, index[..., None]).squeeze(2)
    bins0 = matches0 == UNMATCHED
    bins1 = matches1 == UNMATCHED
    positives = -(matched * positive).sum() / positive.sum().clamp(min=1)
    unmatched = (log_assignment[:, :-1, -1] * bins0).sum()
    unmatched = unmatched + (log_assignment[:, -1, :-1] * bins1).sum()
    negatives = -unmatched / (bins0.sum() + bins1.sum()).clamp(min=1)
    return (positives + negatives) / 2
