"""What becomes of keypoints on rendered pairs: which network loses the matches there could be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from superglue_ros.evaluation.methods import Detected, Matched, Method
from superglue_ros.evaluation.pairs import View
from superglue_ros.training.data.assignment import ground_truth_assignment
from superglue_ros.world import RenderedPairs


@dataclass(frozen=True)
class Diagnosis:
    """One method on one pair, by the true assignment of the first image's keypoints.

    num_true: keypoints that have a partner; num_nearest: of these those whose partner's descriptor
    is the nearest, 0 for descriptors that are not compared by angle; num_found: of these the
    method matches to the partner; num_known: matches whose truth is known, num_wrong: of these the
    wrong ones.
    """

    method: str
    num_keypoints: int
    num_true: int
    num_nearest: int
    num_found: int
    num_known: int
    num_wrong: int


@dataclass(frozen=True)
class DiagnosisScores:
    """Means over all pairs' keypoints, in percent: true of all keypoints; nearest and found of the
    true; precision, right of the matches whose truth is known."""

    method: str
    true_percent: float
    nearest_percent: float
    found_percent: float
    precision_percent: float


def diagnose(
    pairs: RenderedPairs, first: View, second: View, method: Method, matched: Matched
) -> Diagnosis:
    """The method and its matches on the one pair whose views these are."""
    detected0, detected1 = (view.detected[id(method.detector)] for view in (first, second))
    truth = _truth(pairs, detected0, detected1)
    true = np.flatnonzero(truth >= 0)
    found = np.full(len(detected0), -1)
    found[matched.indices0] = matched.indices1
    nearest = 0
    if len(true) and detected0.descriptors.dtype != np.uint8:
        a, b = detected0.descriptors[true], detected1.descriptors
        squares = (b**2).sum(1)[None] - 2 * a @ b.T
        nearest = int((squares.argmin(1) == truth[true]).sum())
    known = (found >= 0) & (truth >= -1)
    return Diagnosis(
        method.name,
        len(detected0),
        len(true),
        nearest,
        int((found[true] == truth[true]).sum()),
        int(known.sum()),
        int((found[known] != truth[known]).sum()),
    )


def _truth(pairs: RenderedPairs, detected0: Detected, detected1: Detected) -> np.ndarray:
    points0, points1 = (
        torch.from_numpy(np.asarray(d.keypoints, np.float32))[None] for d in (detected0, detected1)
    )
    truth = ground_truth_assignment(
        points0, points1, pairs.depth0, pairs.depth1, pairs.K0, pairs.K1, pairs.T_0to1
    )
    return np.asarray(truth.matches0[0].numpy())


def summarise_diagnoses(diagnoses: Sequence[Diagnosis]) -> list[DiagnosisScores]:
    """One row a method, in their order."""
    rows = []
    for name in dict.fromkeys(d.method for d in diagnoses):
        own = [d for d in diagnoses if d.method == name]

        def share(part: str, whole: str, own: list[Diagnosis] = own) -> float:
            return (
                100
                * sum(getattr(d, part) for d in own)
                / max(1, sum(getattr(d, whole) for d in own))
            )

        rows.append(
            DiagnosisScores(
                name,
                share("num_true", "num_keypoints"),
                share("num_nearest", "num_true"),
                share("num_found", "num_true"),
                100 - share("num_wrong", "num_known"),
            )
        )
    return rows
