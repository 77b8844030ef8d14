"""Pictures of the best and the worst pairs of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from superglue_ros.evaluation.features import (
    REPEATABILITY_PX,
    FeatureResult,
    HomographySequence,
)
from superglue_ros.evaluation.methods import Method
from superglue_ros.evaluation.metrics import warp_points
from superglue_ros.evaluation.pairs import PairResult, right_matches, true_pose
from superglue_ros.matching import draw_matches
from superglue_ros.reporting.pictures import save_picture
from superglue_ros.sources import FrameSource, read_image
from superglue_ros.types import BoolArray, FloatArray, Frame, ImageArray, Trajectory


def draw_pairs(
    folder: Path,
    source: FrameSource,
    groundtruth: Trajectory,
    results: Sequence[PairResult],
    method: Method,
) -> list[Path]:
    """Write the pairs of least and of largest pose error of a method, for every gap; matches
    that agree with the true poses are inliers.

    Reads the images from the source again. Returns the files written.
    """
    chosen: dict[str, PairResult] = {}
    for gap in sorted({result.gap for result in results}):
        group = [x for x in results if x.gap == gap and x.method == method.name]
        if group:
            estimator = next(iter(group[0].errors_deg))
            ordered = sorted(group, key=lambda x: median(x.pose_errors_deg(estimator)))
            chosen[f"gap{gap}_best"] = ordered[0]
            chosen[f"gap{gap}_worst"] = ordered[-1]
    wanted = {stamp for pair in chosen.values() for stamp in pair.stamps_ns}
    frames = {frame.stamp_ns: frame for frame in source if frame.stamp_ns in wanted}
    files = []
    for name, pair in chosen.items():
        first, second = (frames[stamp] for stamp in pair.stamps_ns)
        files.append(folder / f"{source.name}_{name}.png")
        right = partial(_right_by_pose, first, second, groundtruth)
        save_picture(files[-1], _picture(first.image, second.image, method, right))
    return files


def draw_features(
    folder: Path,
    sequences: Sequence[HomographySequence],
    results: Sequence[FeatureResult],
    method: Method,
) -> list[Path]:
    """Write keypoints and matches of a method's best and worst pair by matching accuracy.

    Returns the files written.
    """
    group = [result for result in results if result.method == method.name]
    if not group:
        return []
    by_name = {sequence.name: sequence for sequence in sequences}
    ordered = sorted(group, key=lambda x: sum(x.matching_accuracy))
    files = []
    for label, result in (("best", ordered[-1]), ("worst", ordered[0])):
        sequence = by_name[result.sequence]
        other, homography = next(
            (path, matrix) for path, matrix in sequence.others if result.pair.endswith(path.name)
        )
        first, second = read_image(sequence.first), read_image(other)
        files += [folder / f"{label}_matches.png", folder / f"{label}_keypoints.png"]
        right = partial(_right_by_homography, homography)
        save_picture(files[-2], _picture(first, second, method, right))
        keypoints = [_keypoints(image, method) for image in (first, second)]
        height = min(image.shape[0] for image in keypoints)
        save_picture(files[-1], np.hstack([image[:height] for image in keypoints]))
    return files


def _right_by_pose(
    first: Frame, second: Frame, groundtruth: Trajectory, points0: FloatArray, points1: FloatArray
) -> BoolArray | None:
    pose0, pose1 = (true_pose(frame.stamp_ns, groundtruth) for frame in (first, second))
    if pose0 is None or pose1 is None or first.camera is None or second.camera is None:
        return None
    cameras = first.camera, second.camera
    return right_matches(points0, points1, cameras, pose1.inverse() @ pose0)


def _right_by_homography(
    homography: FloatArray, points0: FloatArray, points1: FloatArray
) -> BoolArray:
    errors = np.linalg.norm(warp_points(homography, points0) - points1, axis=1)
    right: BoolArray = errors <= REPEATABILITY_PX
    return right


def _picture(
    first: ImageArray,
    second: ImageArray,
    method: Method,
    right: Callable[[FloatArray, FloatArray], BoolArray | None],
) -> ImageArray:
    detected0, detected1 = method.detector.detect(first), method.detector.detect(second)
    matched = method.match(detected0, detected1)
    points0, points1 = matched.points(detected0, detected1)
    return draw_matches(
        first,
        second,
        points0,
        points1,
        matched.confidences,
        inliers=right(points0, points1),
        title=method.name,
    )


def _keypoints(image: ImageArray, method: Method) -> ImageArray:
    points: FloatArray = method.detector.detect(image).keypoints
    canvas: ImageArray = np.array(image)
    if image.ndim == 2:
        canvas = np.repeat(image[:, :, None], 3, axis=2)
    for x, y in points:
        cv2.circle(canvas, (round(float(x)), round(float(y))), 2, (80, 220, 60), 1, cv2.LINE_AA)
    return canvas
