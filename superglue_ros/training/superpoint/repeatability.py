"""Labels for a detector's own keypoints: does another view repeat them, and match them there?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from superglue_ros.networks.keypoints import (
    SuperPointConfig,
    probability_map,
    refine_keypoints,
    sample_descriptors,
    select_keypoints,
    suppress_nonmaxima,
)
from superglue_ros.training.data.assignment import mutual_nearest
from superglue_ros.training.data.homographies import warp_points
from superglue_ros.training.data.homography_pairs import shown
from superglue_ros.types import UNMATCHED

_CANDIDATES = 2
"""Keypoints that are labelled for each one that counts as detected."""


@dataclass(frozen=True)
class RepeatabilityConfig:
    """density: least and most keypoints a pixel that count as detected in a view, the strongest
    ones; a batch's number is drawn between them; distance_px: from a keypoint's projection to the
    nearest keypoint of the other view; matched_share: of the label that is for being matched, the
    rest for being repeated."""

    density: tuple[float, float] = (0.0015, 0.005)
    distance_px: float = 2.0
    matched_share: float = 0.8

    def __post_init__(self) -> None:
        if len(self.density) != 2 or not 0 < self.density[0] <= self.density[1] < 1:
            raise ValueError(f"density is (least, most) in (0, 1), not {self.density}")
        if self.distance_px <= 0 or not 0 <= self.matched_share <= 1:
            raise ValueError("distance_px must be positive, matched_share in [0, 1]")

    def count(self, pixels: float, share: float) -> int:
        """Keypoints that count among so many pixels; share in [0, 1] goes from least to most."""
        low, high = self.density
        return max(1, int(pixels * low * (high / low) ** share))


@dataclass(frozen=True)
class Candidates:
    """The strongest keypoints of views, K each: pixels (B, K), of the flattened probability map;
    places (B, K, 2), sub-pixel; covisible (B, K), whether the other view shows their place;
    labels (B, K) in [0, 1], how far they are repeated and matched; matched (B, K), whether the
    other view's mutual nearest descriptor is at their projection."""

    pixels: Tensor
    places: Tensor
    covisible: Tensor
    labels: Tensor
    matched: Tensor


@torch.no_grad()
def label_candidates(
    logits: Tensor,
    descriptors: Tensor,
    valid: Tensor,
    to_other: Tensor,
    count: int,
    options: SuperPointConfig,
    config: RepeatabilityConfig,
) -> Candidates:
    """Candidates of a batch whose first half are the first views of pairs and its second half
    their second views, in the same order.

    logits (2B, 65, h, w), descriptors (2B, D, h, w) as `SuperPoint.dense` gives them; valid
    (2B, H, W) pixels that show the texture; to_other (2B, 3, 3) to the pair's other view's pixels;
    count: strongest keypoints of a view that count as detected.

    Repeatability and whether a match comes out right label keypoints as in R2D2
    (arXiv:1906.06195) and SiLK (arXiv:2304.06194).
    """
    probabilities = probability_map(logits)
    height, width = probabilities.shape[1:]
    valid = valid[:, :height, :width]
    chosen = replace(options, max_keypoints=_CANDIDATES * count, keypoint_threshold=0.0)
    peaks = suppress_nonmaxima(probabilities, options.nms_radius) * valid
    points, scores, _ = select_keypoints(peaks, chosen)
    places = refine_keypoints(
        probabilities, points, options.subpixel_radius, options.subpixel_power
    )
    vectors = sample_descriptors(places, descriptors)
    real = scores > 0
    detected = real & (scores.argsort(1, descending=True).argsort(1) < count)

    projected = warp_points(places, to_other)
    covisible = real & shown(projected, _other(valid))
    distance = torch.cdist(projected, _other(places))
    nearest = distance.masked_fill(~_other(detected)[:, None], torch.inf).amin(2)
    similarity = vectors @ _other(vectors).transpose(1, 2)
    similarity = similarity.masked_fill(~(real[:, :, None] & _other(real)[:, None]), -2.0)
    partner = mutual_nearest(-similarity)
    matched = covisible & (partner != UNMATCHED)
    partner = partner.clamp(min=0)
    matched &= distance.gather(2, partner[..., None]).squeeze(2) <= config.distance_px
    matched &= _other(detected).gather(1, partner)

    share = config.matched_share
    labels = (1 - share) * (nearest <= config.distance_px).float() + share * matched.float()
    pixels = points[..., 1].long() * width + points[..., 0].long()
    return Candidates(pixels, places, covisible, labels, matched)


def _other(views: Tensor) -> Tensor:
    """Of each view's pair the other one's."""
    return views.roll(len(views) // 2, 0)
