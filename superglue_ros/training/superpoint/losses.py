"""Training losses of SuperPoint; each a mean over what it supervises."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.networks.keypoints import CELL, probability_map, refine_keypoints
from superglue_ros.training.data.homographies import warp_points

_KEYPOINT_ODDS = 20.0


def detector_targets(
    points: Tensor, scores: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """What each cell should say of labels (B, C, 2) in pixels with scores (B, C) as in `Crops`.

    Returns shares (B, 65, H / 8, W / 8) that sum to 1, and where they are known (B, H / 8, W / 8).
    The strongest keypoint of a cell is spread bilinearly over the pixels around it, so that the
    probabilities' mean is its sub-pixel place; the last channel is 1 where there is none. A cell
    with ignored labels only is not known.
    """
    columns, rows = size[0] // CELL, size[1] // CELL
    x, y = points.round().long().unbind(-1)
    counts = (x >= 0) & (y >= 0) & (x < columns * CELL) & (y < rows * CELL) & (scores != 0)
    cell = torch.where(counts, (y // CELL) * columns + x // CELL, 0)

    def strongest(values: Tensor) -> Tensor:
        maxima = torch.zeros(len(points), rows * columns, device=points.device)
        return maxima.scatter_reduce_(1, cell, torch.where(counts, values, 0.0), "amax")

    best = strongest(scores.clamp(min=0))
    ignored = (best == 0) & (strongest(-scores) > 0)
    chosen = counts & (scores > 0) & (scores == best.gather(1, cell))
    shares = torch.zeros(len(points), CELL * CELL + 1, rows * columns, device=points.device)
    left, top = points.floor().long().unbind(-1)
    for column in (left, left + 1):
        for row in (top, top + 1):
            weight = (1 - (points[..., 0] - column).abs()) * (1 - (points[..., 1] - row).abs())
            same = chosen & (column // CELL == x // CELL) & (row // CELL == y // CELL)
            channel = (row % CELL) * CELL + column % CELL
            place = torch.where(same, channel * (rows * columns) + cell, 0)
            shares.flatten(1).scatter_add_(1, place, torch.where(same, weight, 0.0))
    total = shares.sum(1, keepdim=True)
    shares = shares / total.clamp(min=1e-6)
    shares[:, -1] = (total[:, 0] == 0).float()
    return shares.unflatten(2, (rows, columns)), ~ignored.unflatten(1, (rows, columns))


def detector_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a cell has a keypoint, and where: cross-entropies (presence, place).

    Their sum over cells is the cross-entropy over 65 classes of arXiv:1712.07629, eq. 2, by the
    chain rule. Here each is a mean over what it says something of, all cells and those with a
    keypoint: few cells have one, and its place is learned much faster for it.
    logits (B, 65, h, w), targets (B, 65, h, w), valid (B, h, w) bool.
    """
    logits = logits.float()
    places, nothing = logits[:, :-1], logits[:, -1]
    has_one = 1 - targets[:, -1]
    logit = places.logsumexp(1) - nothing
    presence = F.binary_cross_entropy_with_logits(logit, has_one, reduction="none")
    place = -(targets[:, :-1] * places.log_softmax(1)).sum(1)
    supervised = has_one * valid
    return (
        (presence * valid).sum() / valid.sum().clamp(min=1),
        (place * supervised).sum() / supervised.sum().clamp(min=1),
    )


def repeatability_loss(
    logits: Tensor, pixels: Tensor, labels: Tensor, covisible: Tensor
) -> Tensor:
    """Cross-entropy of keypoints' probabilities against their labels of repeatability.

    logits (B, 65, h, w); pixels (B, K) of the flattened probability map; labels (B, K) in [0, 1];
    covisible (B, K) bool, whether they count. A pixel's probability is far below that of its
    keypoint, whose place is spread over several: read as odds it counts `_KEYPOINT_ODDS` times.
    """
    probabilities = probability_map(logits).flatten(1).gather(1, pixels)
    logit = probabilities.clamp(min=1e-6).log() + math.log(_KEYPOINT_ODDS)
    loss = F.binary_cross_entropy_with_logits(logit, labels, reduction="none")
    return (loss * covisible).sum() / covisible.sum().clamp(min=1)


def distillation_loss(
    logits: Tensor, descriptors: Tensor, teacher_logits: Tensor, teacher_descriptors: Tensor
) -> tuple[Tensor, Tensor]:
    """Self-distillation from the frozen network that the stage began with, the teacher.

    Of both networks' outputs (B, C, h, w). Returns the divergence (Kullback, Leibler) of the
    keypoint's place in a cell, each cell weighing as the teacher's probability of a keypoint
    there, and the descriptors' mean 1 - cosine.
    """
    logits, teacher_logits = logits.float(), teacher_logits.float()
    places, teacher = (x[:, :-1].log_softmax(1) for x in (logits, teacher_logits))
    divergence = F.kl_div(places, teacher, reduction="none", log_target=True).sum(1)
    weight = 1 - teacher_logits.softmax(1)[:, -1]
    place = (divergence * weight).sum() / weight.sum().clamp(min=1e-6)
    return place, 1 - (descriptors * teacher_descriptors).sum(1).mean()


def reprojection_loss(
    logits0: Tensor,
    logits1: Tensor,
    points0: Tensor,
    points1: Tensor,
    valid: Tensor,
    H_0to1: Tensor,
    window: tuple[int, float],
    generator: torch.Generator,
) -> Tensor:
    """Mean reprojection error in pixels between the places that two views give the same
    keypoints, as in ALIKE (arXiv:2112.02906).

    A place is the mean under the probabilities of logits (B, 65, h, w), with a window's radius and
    power as in inference (`refine_keypoints`), around a corresponding point (B, N, 2) shaken by up
    to a pixel, so that keeping to the window's centre is no way out; valid (B, N). Distances count
    up to 2 pixels.
    """
    places = []
    for logits, points in ((logits0, points0), (logits1, points1)):
        shaken = torch.rand(points.shape, generator=generator, device=points.device) * 2 - 1
        centres = (points + shaken).round()
        places.append(refine_keypoints(probability_map(logits), centres, *window))
    distance = (warp_points(places[0], H_0to1) - places[1]).norm(dim=-1).clamp(max=2.0)
    return (distance * valid).sum() / valid.sum().clamp(min=1)


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
