"""Features under in-plane rotation, on views turned out of larger photographs."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from tqdm import tqdm

from superglue_ros.evaluation.features import FeatureResult, compare_features, detect_all
from superglue_ros.evaluation.methods import Method
from superglue_ros.types import FloatArray, ImageArray

TURNED = "turned"
"""First word of the name of an angle's results."""

ANGLES_DEG = tuple(range(0, 181, 30))
VIEW_PX = 480
"""Side of the square views."""


def evaluate_rotations(
    photographs: Sequence[ImageArray],
    methods: Sequence[Method],
    angles_deg: Sequence[float] = ANGLES_DEG,
    progress: bool = False,
) -> list[FeatureResult]:
    """Results of every method on each photograph's middle and the same turned, "sequence" angle.

    photographs: gray (H, W) uint8. The views lie wholly on the photograph at every angle.
    """
    results = []
    for number, photograph in enumerate(tqdm(photographs, desc="rotations", disable=not progress)):
        upright, _ = _turned_view(photograph, 0.0)
        detected0 = detect_all(upright, methods)
        for angle in angles_deg:
            turned, homography = _turned_view(photograph, angle)
            detected1 = detect_all(turned, methods)
            for method in methods:
                results.append(
                    compare_features(
                        f"{TURNED} {angle:g} deg",
                        f"photograph {number}",
                        homography,
                        method,
                        detected0[id(method.detector)],
                        detected1[id(method.detector)],
                        ((VIEW_PX, VIEW_PX), (VIEW_PX, VIEW_PX)),
                    )
                )
    return results


def _turned_view(photograph: ImageArray, angle_deg: float) -> tuple[ImageArray, FloatArray]:
    """A square view of the middle turned by an angle, and (3, 3) from the upright view to it."""
    height, width = photograph.shape
    middle = (VIEW_PX - 1) / 2
    # A square turned by 45 degrees is sqrt(2) as wide, and fills the shorter side.
    scale = min(height, width) / (np.sqrt(2) * VIEW_PX)
    to_photograph = np.array(
        [
            [scale, 0, (width - 1) / 2 - scale * middle],
            [0, scale, (height - 1) / 2 - scale * middle],
            [0, 0, 1],
        ]
    )
    turn = np.vstack([cv2.getRotationMatrix2D((middle, middle), angle_deg, 1.0), [0.0, 0.0, 1.0]])
    view = cv2.warpPerspective(
        photograph,
        to_photograph @ np.linalg.inv(turn),
        (VIEW_PX, VIEW_PX),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(view, np.uint8), turn
