"""Features on image sequences with known homographies (oxford, HPatches layouts)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from superglue_ros.errors import SourceError
from superglue_ros.evaluation.estimators import (
    HOMOGRAPHY_REPEATS,
    estimate_homography,
    shuffled_orders,
)
from superglue_ros.evaluation.methods import Detected, Method
from superglue_ros.evaluation.metrics import corner_error_px, warp_points
from superglue_ros.geometry import area_under_recall
from superglue_ros.sources import read_image
from superglue_ros.types import FloatArray, ImageArray

REPEATABILITY_PX = 3.0
MATCHING_PX = (1.0, 3.0, 5.0)
HOMOGRAPHY_PX = (3.0, 5.0, 10.0)
_HOMOGRAPHY_NAMES = ("H1to{0}p", "H_1_{0}")
"""Of the Oxford and the HPatches layout; {0} is the second image's number."""


@dataclass(frozen=True)
class HomographySequence:
    """Images of a plane: the first one's file, and other files with (3, 3) H_first_to_other."""

    name: str
    first: Path
    others: tuple[tuple[Path, FloatArray], ...]


@dataclass(frozen=True)
class FeatureResult:
    """One method on one image pair; repeatability and accuracies are shares.

    localisation_px: mean distance of repeated keypoints, NaN for none; matching_accuracy: shares
    of matches within 1, 3 and 5 px of the truth; corner_px: of the homography, one for
    each repeated estimate.
    """

    sequence: str
    pair: str
    method: str
    num_keypoints: int
    num_matches: int
    repeatability: float
    localisation_px: float
    matching_accuracy: tuple[float, ...]
    corner_px: tuple[float, ...]


@dataclass(frozen=True)
class FeatureScores:
    """A row of the table: means over all pairs, in percent and pixels."""

    sequence: str
    method: str
    num_pairs: int
    repeatability_percent: float
    localisation_px: float
    matching_accuracy_percent: tuple[float, ...]
    homography_auc_percent: tuple[float, ...]
    mean_matches: float
    mean_keypoints: float


def find_sequences(folder: str | Path) -> list[HomographySequence]:
    """Homography sequences in a folder or in its subfolders; raises SourceError for none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder")
    candidates = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    sequences = [found for path in candidates if (found := _read_sequence(path)) is not None]
    if not sequences:
        raise SourceError(f"{folder}: no images with homography files H1to2p or H_1_2")
    return sequences


def evaluate_features(
    sequences: Sequence[HomographySequence], methods: Sequence[Method], progress: bool = False
) -> list[FeatureResult]:
    """Results of every method on the pairs (first, other) of every sequence.

    Each image is described once per detector. Raises ImageError for an unreadable image.
    """
    results: list[FeatureResult] = []
    for sequence in tqdm(sequences, desc="sequences", disable=not progress):
        image0 = read_image(sequence.first)
        detected0 = detect_all(image0, methods)
        for path, homography in sequence.others:
            image1 = read_image(path)
            detected1 = detect_all(image1, methods)
            sizes = _size(image0), _size(image1)
            pair = f"{sequence.first.name} {path.name}"
            for method in methods:
                first, second = detected0[id(method.detector)], detected1[id(method.detector)]
                results.append(
                    compare_features(sequence.name, pair, homography, method, first, second, sizes)
                )
    return results


def summarise_features(results: Sequence[FeatureResult]) -> list[FeatureScores]:
    """One row per sequence and method, then one per method over all sequences ("all")."""
    sequences = list(dict.fromkeys(result.sequence for result in results))
    methods = list(dict.fromkeys(result.method for result in results))
    groups = [(name, [name]) for name in sequences]
    if len(sequences) > 1:
        groups.append(("all", sequences))
    rows = []
    for label, members in groups:
        for method in methods:
            group = [x for x in results if x.sequence in members and x.method == method]
            rows.append(_summarise(label, method, group))
    return rows


def repeatability(
    points0: FloatArray,
    points1: FloatArray,
    homography: FloatArray,
    size0: tuple[int, int],
    size1: tuple[int, int],
    threshold_px: float = REPEATABILITY_PX,
) -> tuple[float, float]:
    """Share of keypoints found again, and mean distance in pixels of these (NaN for none).

    Counts, from both sides, keypoints that lie inside the other image and have a keypoint of it
    within the threshold there (SuperPoint, arXiv:1712.07629, section 7.2 and appendix A).
    """
    inverse = np.linalg.inv(homography)
    distances = np.concatenate(
        [
            _nearest_distances(warp_points(homography, points0), points1, size1),
            _nearest_distances(warp_points(inverse, points1), points0, size0),
        ]
    )
    if not len(distances):
        return 0.0, float("nan")
    repeated = distances <= threshold_px
    localisation = float(distances[repeated].mean()) if np.any(repeated) else float("nan")
    return float(repeated.mean()), localisation


def _nearest_distances(
    warped: FloatArray, points: FloatArray, size: tuple[int, int]
) -> FloatArray:
    """Of warped keypoints inside the (width, height) image, to the nearest one of its own."""
    inside = np.all((warped >= 0) & (warped <= np.array(size) - 1.0), axis=1)
    if not len(points):
        return np.full(int(inside.sum()), np.inf)
    offsets = warped[inside][:, None, :] - points[None, :, :]
    return np.sqrt(np.min(np.sum(offsets**2, axis=2), axis=1, initial=np.inf))


def detect_all(image: ImageArray, methods: Sequence[Method]) -> dict[int, Detected]:
    """What each detector of the methods, by its id, finds in an image."""
    found = {}
    for key, detector in {id(method.detector): method.detector for method in methods}.items():
        started = time.perf_counter()
        detected = detector.detect(image)
        found[key] = replace(detected, milliseconds=(time.perf_counter() - started) * 1e3)
    return found


def _size(image: ImageArray) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def compare_features(
    sequence: str,
    pair: str,
    homography: FloatArray,
    method: Method,
    first: Detected,
    second: Detected,
    sizes: tuple[tuple[int, int], tuple[int, int]],
) -> FeatureResult:
    """One method on one pair, given its features of both images and their (width, height)."""
    repeated, localisation = repeatability(first.keypoints, second.keypoints, homography, *sizes)
    matched = method.match(first, second)
    points0, points1 = matched.points(first, second)
    errors = np.linalg.norm(warp_points(homography, points0) - points1, axis=1)
    accuracy = [float(np.mean(errors <= t)) if len(errors) else 0.0 for t in MATCHING_PX]
    corners = [
        corner_error_px(estimate_homography(points0[i], points1[i]), homography, sizes[0])
        for i in shuffled_orders(len(matched), HOMOGRAPHY_REPEATS)
    ]
    return FeatureResult(
        sequence=sequence,
        pair=pair,
        method=method.name,
        num_keypoints=len(first),
        num_matches=len(matched),
        repeatability=repeated,
        localisation_px=localisation,
        matching_accuracy=tuple(accuracy),
        corner_px=tuple(corners),
    )


def _summarise(label: str, method: str, group: Sequence[FeatureResult]) -> FeatureScores:
    accuracies = np.mean([x.matching_accuracy for x in group], axis=0)
    localisations = [x.localisation_px for x in group if np.isfinite(x.localisation_px)]
    areas = area_under_recall([c for x in group for c in x.corner_px], HOMOGRAPHY_PX)
    return FeatureScores(
        sequence=label,
        method=method,
        num_pairs=len(group),
        repeatability_percent=100 * float(np.mean([x.repeatability for x in group])),
        localisation_px=float(np.mean(localisations)) if localisations else float("nan"),
        matching_accuracy_percent=tuple((100 * accuracies).tolist()),
        homography_auc_percent=tuple(100 * area for area in areas),
        mean_matches=float(np.mean([x.num_matches for x in group])),
        mean_keypoints=float(np.mean([x.num_keypoints for x in group])),
    )


def _read_sequence(folder: Path) -> HomographySequence | None:
    first = _numbered_image(folder, 1)
    others = tuple(_numbered_homographies(folder))
    return HomographySequence(folder.name, first, others) if first and others else None


def _numbered_homographies(folder: Path) -> Iterator[tuple[Path, FloatArray]]:
    for number in range(2, 7):
        for name in _HOMOGRAPHY_NAMES:
            file, image = folder / name.format(number), _numbered_image(folder, number)
            if image is not None and file.is_file():
                yield image, _read_homography(file)


def _numbered_image(folder: Path, number: int) -> Path | None:
    for stem in (f"img{number}", f"{number}"):
        for suffix in (".ppm", ".png", ".jpg", ".jpeg", ".pgm"):
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
    return None


def _read_homography(path: Path) -> FloatArray:
    try:
        matrix = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: no homography: {error}") from error
    if matrix.shape != (3, 3) or not np.all(np.isfinite(matrix)):
        raise SourceError(f"{path}: expected 3x3 finite numbers, found {matrix.shape}")
    return matrix
