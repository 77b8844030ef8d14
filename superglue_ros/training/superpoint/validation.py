"""SuperPoint's figures on pairs of views, while it trains."""

from __future__ import annotations

import torch

from superglue_ros.networks.keypoints import Keypoints
from superglue_ros.training.data.assignment import mutual_nearest
from superglue_ros.training.data.corners import within_margin
from superglue_ros.training.data.homographies import warp_points
from superglue_ros.training.data.homography_pairs import HomographyPair
from superglue_ros.types import UNMATCHED


def pair_figures(pair: HomographyPair, k0: Keypoints, k1: Keypoints) -> dict[str, float]:
    """Repeatability, the distance of repeated keypoints in pixels, and precision and recall of
    mutual nearest neighbours, all at 3 px."""
    height, width = pair.images1.shape[-2:]
    there = warp_points(k0.keypoints, pair.H_0to1)
    shared = within_margin(there, (width, height))
    distance = torch.cdist(there, k1.keypoints)
    nearest = distance.amin(2)
    repeated = (nearest <= 3) & shared
    partner = mutual_nearest(-k0.descriptors @ k1.descriptors.transpose(1, 2))
    mutual = partner != UNMATCHED
    apart = distance.gather(2, partner.clamp(min=0)[..., None]).squeeze(2)
    right = (apart <= 3) & mutual & shared
    return {
        "repeatability": (repeated.sum() / shared.sum().clamp(min=1)).item(),
        "localisation_px": ((nearest * repeated).sum() / repeated.sum().clamp(min=1)).item(),
        "precision": (right.sum() / (mutual & shared).sum().clamp(min=1)).item(),
        "recall": (right.sum() / repeated.sum().clamp(min=1)).item(),
    }
