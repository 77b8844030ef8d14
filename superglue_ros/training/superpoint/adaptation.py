"""Homographic adaptation: labels from a detector's own response, averaged over many views
(SuperPoint, arXiv:1712.07629, section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from superglue_ros.errors import CheckpointError
from superglue_ros.networks.keypoints import probability_map
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.checkpoint_files import read_state, write_state
from superglue_ros.training.data.corners import refine_maxima, strongest_maxima
from superglue_ros.training.data.crops import Crops, render_view
from superglue_ros.training.data.homographies import (
    HomographyConfig,
    inverse,
    magnification,
    pixel_grid,
    random_homographies,
    warp_points,
)
from superglue_ros.training.data.photometry import augment_photometry, check_photometry
from superglue_ros.training.data.photos import PhotoBank

_CHUNK = 16
_STEPS_PER_PX = 32
"""Places are kept to 1/32 px in 16 bits."""


@dataclass(frozen=True)
class AdaptationConfig:
    """homographies: views a crop beside the crop itself; photometric, blur_px: of the views
    (`augment_photometry`), so that what only a sharp and clean one shows gets no label;
    keypoint_threshold: averaged probability from which on a label is a keypoint, ignore_threshold:
    from which on it is ignored; homography: of the views."""

    homographies: int = 12
    photometric: float = 0.5
    blur_px: float = 1.6
    keypoint_threshold: float = 0.03
    ignore_threshold: float = 0.008
    homography: HomographyConfig = field(
        default_factory=lambda: HomographyConfig(45.0, 0.25, 1.6, 0.15, 0.1)
    )

    def __post_init__(self) -> None:
        if self.homographies < 0:
            raise ValueError(f"homographies must not be negative, not {self.homographies}")
        if not 0 < self.ignore_threshold <= self.keypoint_threshold < 1:
            raise ValueError("adaptation needs 0 < ignore_threshold <= keypoint_threshold < 1")
        check_photometry(self.photometric, self.blur_px)


@torch.no_grad()
def adapt_labels(
    network: SuperPoint,
    bank: PhotoBank,
    crops: Crops,
    config: AdaptationConfig,
    generator: torch.Generator,
) -> Crops:
    """The same crops with the labels of `network` (in inference mode and precision)."""
    labels = []
    starts = range(0, len(crops), _CHUNK)
    for first in tqdm(starts, desc="homographic adaptation", unit="batch", leave=False):
        rows = slice(first, first + _CHUNK)
        response = _averaged_response(network, bank, crops, rows, config, generator)
        points, values = strongest_maxima(response, crops.points.shape[1])
        ignored = torch.where(values > config.ignore_threshold, -values, 0.0)
        scores = torch.where(values > config.keypoint_threshold, values, ignored)
        labels.append((refine_maxima(response, points), scores))
    points, scores = (torch.cat(part) for part in zip(*labels))
    return replace(crops, points=points, scores=scores)


def save_crops(file: Path, crops: Crops, bank: PhotoBank) -> None:
    """Write crops of a bank with their labels, these in a third of their size in memory.

    Raises ValueError for crops of more than 1000 pixels a side.
    """
    if max(crops.size) > 1000:
        raise ValueError(f"adapted crops have at most 1000 pixels a side, not {crops.size}")
    places = (crops.points * _STEPS_PER_PX).round().to(torch.int16)
    content: dict[str, Any] = {
        "index": crops.index.cpu(),
        "to_texture": crops.to_texture.cpu(),
        "zoom": crops.zoom.cpu(),
        "size": list(crops.size),
        "places": places.cpu(),
        "scores": crops.scores.half().cpu(),
        "bank": bank.sizes.cpu(),
    }
    write_state(file, content)


def load_crops(file: Path, bank: PhotoBank) -> Crops:
    """Crops of a file with their labels; CheckpointError if it is damaged or of another bank."""
    try:
        kept = read_state(file)
        crops = Crops(
            kept["index"].to(bank.device),
            kept["to_texture"].to(bank.device),
            kept["zoom"].to(bank.device),
            (int(kept["size"][0]), int(kept["size"][1])),
            kept["places"].to(bank.device).float() / _STEPS_PER_PX,
            kept["scores"].to(bank.device).float(),
        )
        same = torch.equal(kept["bank"], bank.sizes.cpu())
    except (CheckpointError, KeyError) as error:
        raise CheckpointError(f"{file} holds no labels: {error}") from error
    if not same:
        raise CheckpointError(f"{file} holds labels of other photographs than those given")
    return crops


def _averaged_response(
    network: SuperPoint,
    bank: PhotoBank,
    crops: Crops,
    rows: slice,
    config: AdaptationConfig,
    generator: torch.Generator,
) -> Tensor:
    """Mean (B, H, W) over the views of the probability, in each crop's own pixels."""
    index, place, zoom = crops.index[rows], crops.to_texture[rows], crops.zoom[rows]
    batch, size = len(index), crops.size
    grid = pixel_grid(*size, index.device).expand(batch, -1, -1, -1)
    extent = torch.tensor(size, device=index.device) / 2
    total = torch.zeros(grid.shape[:3], device=index.device)
    count = torch.zeros_like(total)
    for view in range(config.homographies + 1):
        to_view = random_homographies(batch, size, config.homography, generator)
        if view == 0:
            to_view = torch.eye(3, device=index.device).repeat(batch, 1, 1)
        from_view = inverse(to_view)
        scale = zoom * magnification(from_view)
        image, inside = render_view(bank, index, place @ from_view, scale, size)
        if view:
            image = augment_photometry(image, generator, config.photometric, config.blur_px)
        logits, _ = network.dense(image[:, None])
        there = (warp_points(grid, to_view) + 0.5) / extent - 1
        response = probability_map(logits)
        height, width = response.shape[1:]
        seen = inside[:, :height, :width].float()
        both = torch.stack((response * seen, seen), dim=1)
        # Whole cells only have a response; what is left of the view counts as not seen.
        both = F.pad(both, (0, size[0] - width, 0, size[1] - height))
        back = F.grid_sample(both, there, align_corners=False)
        total += back[:, 0]
        count += back[:, 1]
    # Seen in too few views, a mean says little.
    return total / count.clamp(min=1 + config.homographies / 3)
