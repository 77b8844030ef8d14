"""SuperGlue's figures on fixed pairs while it trains, and those of mutual nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.geometry import area_under_recall, estimate_two_view, pose_errors_deg
from superglue_ros.networks.superglue import ImageKeypoints, read_assignment
from superglue_ros.training.assignment import (
    Assignment,
    ground_truth_assignment,
    homography_assignment,
)
from superglue_ros.training.homography_pairs import HomographyPair
from superglue_ros.training.world_pairs import RenderedPairs
from superglue_ros.types import IntArray, Pose

APART = "apart"
"""Kind of the pairs without common surface, of which only the number of matches is told."""

AUC_DEG = 10.0
INLIER_PX = 1.0

Pairs = tuple[HomographyPair | RenderedPairs, ...]


@dataclass(frozen=True)
class Sample:
    """Features of both views, by falling score, and the pairs they are of."""

    pairs: Pairs
    view0: ImageKeypoints
    view1: ImageKeypoints

    @cached_property
    def truth(self) -> Assignment:
        """True assignment of the features."""
        return truth_of(self.pairs, self.view0, self.view1)


def strongest(sample: Sample, count: int) -> Sample:
    """A sample with only the `count` strongest keypoints of each view."""
    view0, view1 = (
        ImageKeypoints(
            view.keypoints[:, :count],
            view.scores[:, :count],
            view.descriptors[:, :count],
            view.image_size,
        )
        for view in (sample.view0, sample.view1)
    )
    return Sample(sample.pairs, view0, view1)


def truth_of(pairs: Pairs, view0: ImageKeypoints, view1: ImageKeypoints) -> Assignment:
    """True assignment of a batch of pairs of any kinds, which follow one another in the views."""
    counts = [len(pair.images0) for pair in pairs]
    parts = [
        _truth_of_one(pair, points0, points1, view0.image_size)
        for pair, points0, points1 in zip(
            pairs, view0.keypoints.split(counts), view1.keypoints.split(counts)
        )
    ]
    return Assignment(
        torch.cat([part.matches0 for part in parts]), torch.cat([part.matches1 for part in parts])
    )


def _truth_of_one(
    pair: HomographyPair | RenderedPairs,
    points0: Tensor,
    points1: Tensor,
    image_size: tuple[int, int],
) -> Assignment:
    if isinstance(pair, RenderedPairs):
        return ground_truth_assignment(
            points0, points1, pair.depth0, pair.depth1, pair.K0, pair.K1, pair.T_0to1
        )
    return homography_assignment(points0, points1, pair.H_0to1, image_size)


def assignment_figures(found: Tensor, matches0: Tensor) -> dict[str, Tensor]:
    """Figures of indices0 (B, M) against the truth (B, M), in which below -1 is unknown.

    precision over matches whose truth is known, recall over true matches, accuracy over all
    keypoints whose truth is known, matched or not, and matches a pair.
    """
    known, true = matches0 >= -1, matches0 >= 0
    right = (found == matches0) & known
    return {
        "precision": (right & true).sum() / ((found >= 0) & known).sum().clamp(min=1),
        "recall": (right & true).sum() / true.sum().clamp(min=1),
        "accuracy": right.sum() / known.sum().clamp(min=1),
        "matches": (found >= 0).float().sum(1).mean(),
    }


def nearest_neighbours(sample: Sample) -> Tensor:
    """indices0 (B, M) of mutual nearest neighbours of the descriptors."""
    cosines = sample.view0.descriptors @ sample.view1.descriptors.transpose(1, 2)
    # No dustbin takes any, and no cosine is below the threshold.
    return read_assignment(F.pad(cosines, (0, 1, 0, 1)), 0.0).indices0


def validation_figures(
    samples: Mapping[str, Sequence[Sample]], match: Callable[[Sample], Tensor]
) -> dict[str, float]:
    """Figures KIND_FIGURE of what `match` finds, indices0 (B, M), on samples of each kind.

    For rendered pairs also auc10: area under the recall of relative poses up to 10 degrees
    (SuperGlue, section 5.2).
    """
    result: dict[str, float] = {}
    for kind, own in samples.items():
        found = [match(sample) for sample in own]
        rows = [assignment_figures(f, s.truth.matches0) for f, s in zip(found, own)]
        for key in ("matches",) if kind == APART else ("precision", "recall", "accuracy"):
            result[f"{kind}_{key}"] = sum(float(row[key]) for row in rows) / len(rows)
        if kind == APART:
            continue
        errors = [e for f, s in zip(found, own) for e in _pose_errors(f.cpu().numpy(), s)]
        if errors:
            result[f"{kind}_auc10"] = area_under_recall(errors, [AUC_DEG])[0]
    return result


def _pose_errors(indices0: IntArray, sample: Sample) -> list[float]:
    """Degrees, the larger of rotation's and translation direction's, of each rendered pair."""
    errors = []
    first = 0
    for pairs in sample.pairs:
        if isinstance(pairs, RenderedPairs):
            for i in range(len(pairs)):
                errors.append(_pose_error(indices0[first + i], sample, first + i, pairs, i))
        first += len(pairs.images0)
    return errors


def _pose_error(
    indices0: IntArray, sample: Sample, row: int, pairs: RenderedPairs, i: int
) -> float:
    matched = np.flatnonzero(indices0 >= 0)
    points, focal = [], []
    for view, intrinsics, chosen in (
        (sample.view0, pairs.K0[i], matched),
        (sample.view1, pairs.K1[i], indices0[matched]),
    ):
        K = intrinsics.double().cpu().numpy()
        pixels = view.keypoints[row].double().cpu().numpy()[chosen]
        points.append((pixels - K[:2, 2]) / (K[0, 0], K[1, 1]))
        focal.append(K[0, 0])
    found = estimate_two_view(points[0], points[1], INLIER_PX / float(np.mean(focal)))
    if not found.ok:
        return float("inf")
    truth = Pose.from_matrix(pairs.T_0to1[i].double().cpu().numpy())
    return max(pose_errors_deg(Pose(found.rotation, found.translation), truth))
