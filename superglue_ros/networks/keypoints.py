"""From SuperPoint's two dense heads to keypoints and their descriptors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

CELL = 8
"""Side in pixels of the cell that one vector of the two heads describes."""


@dataclass(frozen=True)
class SuperPointConfig:
    """How keypoints are chosen; the layers are fixed by the paper.

    max_keypoints: strongest kept, -1 for all; keypoint_threshold: least probability in [0, 1];
    nms_radius: pixels; border: pixels along the image's edge without keypoints; subpixel_radius,
    of the window over which a keypoint's place is averaged (0: whole pixels), weighted by the
    probabilities to the power subpixel_power; smoothing_px, deviation of the Gaussian that the
    image goes through first (0: none). The defaults are those of the published weights.
    """

    max_keypoints: int = 1024
    keypoint_threshold: float = 0.005
    nms_radius: int = 4
    border: int = 4
    subpixel_radius: int = 0
    subpixel_power: float = 1.0
    smoothing_px: float = 0.0

    def __post_init__(self) -> None:
        if self.max_keypoints < -1 or self.max_keypoints == 0:
            raise ValueError(f"max_keypoints must be positive or -1, not {self.max_keypoints}")
        if not 0.0 <= self.keypoint_threshold < 1.0:
            raise ValueError(
                f"keypoint_threshold must be in [0, 1), not {self.keypoint_threshold}"
            )
        if min(self.nms_radius, self.border, self.subpixel_radius) < 0:
            raise ValueError("nms_radius, border and subpixel_radius must not be negative")
        if not 0.1 <= self.subpixel_power <= 10.0:
            raise ValueError(f"subpixel_power must be in [0.1, 10], not {self.subpixel_power}")
        if not 0.0 <= self.smoothing_px <= 4.0:
            raise ValueError(f"smoothing_px must be in [0, 4], not {self.smoothing_px}")


@dataclass(frozen=True)
class Keypoints:
    """Keypoints of a batch, padded to K: keypoints (B, K, 2) pixels, scores (B, K),
    descriptors (B, K, 256) of norm 1, counts (B,) int64; rows from counts[b] on are padding."""

    keypoints: Tensor
    scores: Tensor
    descriptors: Tensor
    counts: Tensor


def probability_map(logits: Tensor) -> Tensor:
    """Keypoint probability per pixel (B, H, W) of detector logits (B, 65, H / 8, W / 8)."""
    cells = logits.float().softmax(dim=1)[:, :-1]
    return F.pixel_shuffle(cells, CELL).squeeze(1)


def suppress_nonmaxima(scores: Tensor, radius: int) -> Tensor:
    """Zero all scores (B, H, W) but the maxima of their (2 radius + 1)-squares.

    Two further rounds find maxima that only suppressed neighbours had hidden, as the published
    detector does, so that the same weights give the same keypoints.
    """
    if radius == 0:
        return scores

    def window_max(x: Tensor) -> Tensor:
        if x.device.type == "cuda":
            return F.max_pool2d(x, 2 * radius + 1, 1, radius)
        # Probabilities are not negative, so that zeros around the image change nothing.
        padded = F.pad(x, (radius, radius, radius, radius))
        return _running_max(_running_max(padded, 2 * radius + 1, 1), 2 * radius + 1, 2)

    maxima = scores == window_max(scores)
    for _ in range(2):
        covered = window_max(maxima.to(scores.dtype)) > 0
        remaining = scores.masked_fill(covered, 0.0)
        maxima = maxima | ((remaining == window_max(remaining)) & ~covered)
    return scores.masked_fill(~maxima, 0.0)


def _running_max(x: Tensor, size: int, dim: int) -> Tensor:
    """Maximum of each `size` neighbours along `dim`, by doubling: on a CPU a torch pooling of one
    channel runs on one core and takes ten times as long."""
    width = 1
    while width < size:
        step = min(width, size - width)
        length = x.shape[dim] - step
        x = torch.maximum(x.narrow(dim, 0, length), x.narrow(dim, step, length))
        width += step
    return x


def select_keypoints(scores: Tensor, config: SuperPointConfig) -> tuple[Tensor, Tensor, Tensor]:
    """The strongest pixels of suppressed scores (B, H, W).

    Returns keypoints (B, K, 2) as (x, y) pixels, scores (B, K), counts (B,). Where more pass the
    threshold than are kept they come by falling score, else row by row, as published.
    """
    height, width = scores.shape[1:]
    b = config.border
    inside = torch.zeros_like(scores)
    if height > 2 * b and width > 2 * b:
        inside[:, b : height - b, b : width - b] = scores[:, b : height - b, b : width - b]
    flat = inside.flatten(1)
    passing = (flat > config.keypoint_threshold).sum(1)
    wanted = int(passing.max()) if config.max_keypoints == -1 else config.max_keypoints
    values, indices = flat.topk(min(wanted, flat.shape[1]), dim=1)
    counts = passing.clamp(max=values.shape[1])
    padding = torch.arange(values.shape[1], device=scores.device) >= counts[:, None]
    rank = torch.arange(values.shape[1], device=scores.device).expand_as(indices)
    cut = (passing > values.shape[1])[:, None]
    order = torch.where(cut, rank, indices).masked_fill(padding, flat.shape[1]).argsort(dim=1)
    indices, values = indices.gather(1, order), values.gather(1, order)
    keypoints = torch.stack((indices % width, indices // width), dim=-1).to(values.dtype)
    return keypoints, values, counts


def refine_keypoints(
    probabilities: Tensor, keypoints: Tensor, radius: int, power: float = 1.0
) -> Tensor:
    """Keypoints (B, K, 2) moved to the mean place under the probabilities (B, H, W) around them.

    The window is (2 radius + 1) pixels a side; 0 leaves whole pixels. The probabilities count to
    a power: above 1 what is far from the peak says less.
    """
    if radius == 0:
        return keypoints
    height, width = probabilities.shape[1:]
    offsets = torch.arange(-radius, radius + 1, device=keypoints.device)
    x = keypoints[..., :1].long() + offsets
    y = keypoints[..., 1:].long() + offsets
    inside_x = ((x >= 0) & (x < width)).to(probabilities.dtype)
    inside_y = ((y >= 0) & (y < height)).to(probabilities.dtype)
    index = y.clamp(0, height - 1)[..., None] * width + x.clamp(0, width - 1)[..., None, :]
    window = probabilities.flatten(1).gather(1, index.flatten(1)).view(index.shape)
    window = window**power * inside_y[..., None] * inside_x[..., None, :]
    total = window.sum((2, 3)).clamp(min=1e-12)
    step = offsets.to(window.dtype)
    moved = (window.sum(2) @ step / total, window.sum(3) @ step / total)
    return keypoints + torch.stack(moved, dim=-1)


def sample_descriptors(keypoints: Tensor, descriptors: Tensor) -> Tensor:
    """Descriptors (B, K, D) of norm 1, interpolated at keypoints (B, K, 2) in pixels.

    The cell grid (B, D, h, w) is sampled by the published convention, which maps pixel 3.5 to the
    first cell's centre but pixel 8 w - 1 to the last one's.
    """
    height, width = descriptors.shape[-2:]
    first, last = CELL / 2 - 0.5, CELL / 2 + 0.5
    x = (keypoints[..., 0] - first) / (width * CELL - last) * (width - 1)
    y = (keypoints[..., 1] - first) / (height * CELL - last) * (height - 1)
    # Whole rows of the cells around each: torch's own sampling wants other strides (cuDNN) and
    # gives others than what comes after wants. A cell beyond the grid counts as zeros.
    left, top = x.floor(), y.floor()
    columns = torch.stack((left, left + 1, left, left + 1), dim=-1)
    rows = torch.stack((top, top, top + 1, top + 1), dim=-1)
    weights = (1 - (x[..., None] - columns).abs()) * (1 - (y[..., None] - rows).abs())
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    cells = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    per_cell = descriptors.permute(0, 2, 3, 1).flatten(1, 2)
    batch, count, size = *keypoints.shape[:2], descriptors.shape[1]
    image = torch.arange(batch, device=keypoints.device)[:, None, None] * (height * width)
    around = per_cell.flatten(0, 1).index_select(0, (cells.long() + image).flatten())
    weights = (weights * inside).to(around.dtype).view(batch * count, 1, 4)
    sampled = weights @ around.view(batch * count, 4, size)
    return F.normalize(sampled.view(batch, count, size), dim=2)
