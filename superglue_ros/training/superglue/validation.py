"""SuperGlue's figures on fixed pairs while it trains, and those of mutual nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.geometry import area_under_recall, estimate_two_view, pose_errors_deg
from superglue_ros.networks.assignment import read_assignment
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.data.homography_pairs import HomographyPairs
from superglue_ros.training.data.photos import PhotoBank
from superglue_ros.training.superglue.recipe import SuperGlueRecipe
from superglue_ros.training.superglue.samples import Sample, extract_features
from superglue_ros.types import IntArray, Pose
from superglue_ros.world.furnished_views import FurnishedViews
from superglue_ros.world.pairs import RenderedPairs, WorldPairs

NO_OVERLAP = "no_overlap"
"""Kind of the pairs without overlap, of which only the number of matches is told."""

AUC_DEG = 10.0
INLIER_PX = 1.0
_SEED = 2_000_003


def validation_samples(
    recipe: SuperGlueRecipe, superpoint: SuperPoint, bank: PhotoBank
) -> dict[str, list[Sample]]:
    """Fixed pairs: homographies, rendered ones, and rendered ones without overlap; where the
    recipe has a folder of furnished worlds, of those left out of its bank, too."""
    sources: dict[str, HomographyPairs | WorldPairs | FurnishedViews] = {
        "homography": HomographyPairs(bank, recipe.pairs, _SEED),
        "rendered": WorldPairs(recipe.world, bank.device, _SEED),
        NO_OVERLAP: WorldPairs(recipe.world.without_overlap(), bank.device, _SEED),
    }
    views = recipe.bank.views
    if views.worlds is not None and views.leave_out:
        kept = replace(views, names=views.leave_out, leave_out=(), overlap=(0.1, 0.5))
        sources["furnished"] = FurnishedViews(kept, _SEED)
    count = recipe.most_keypoints
    return {
        kind: [
            extract_features(superpoint, (source.sample(6),), count)
            for _ in range(recipe.validation_batches)
        ]
        for kind, source in sources.items()
    }


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
        for key in ("matches",) if kind == NO_OVERLAP else ("precision", "recall", "accuracy"):
            result[f"{kind}_{key}"] = sum(float(row[key]) for row in rows) / len(rows)
        if kind == NO_OVERLAP:
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
