"""Pictures of matches."""

from __future__ import annotations

import cv2
import numpy as np

from superglue_ros.types import FloatArray, ImageArray

_GAP_PX = 8


def draw_matches(
    image0: ImageArray,
    image1: ImageArray,
    points0: FloatArray,
    points1: FloatArray,
    confidences: FloatArray,
    *,
    max_lines: int = 300,
) -> ImageArray:
    """Two images side by side, (H, W, 3) BGR, matches joined, red for doubtful to green for sure.

    points0/1 (M, 2) pixels of their images, confidences (M,) in [0, 1]; of more than `max_lines`
    matches every few are drawn, spread over the confidences. ValueError for unequal lengths.
    """
    if not len(points0) == len(points1) == len(confidences):
        raise ValueError("points0, points1 and confidences must be of one length")
    height = max(image0.shape[0], image1.shape[0])
    offset = image0.shape[1] + _GAP_PX
    canvas = np.full((height, offset + image1.shape[1], 3), 255, np.uint8)
    for image, left in ((image0, 0), (image1, offset)):
        colour = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
        canvas[: image.shape[0], left : left + image.shape[1]] = colour
    order = np.argsort(confidences, kind="stable")
    if len(order) > max_lines:
        order = order[np.linspace(0, len(order) - 1, max_lines).astype(int)]
    width = max(1, round(canvas.shape[1] / 1400))
    for i in order:
        sure = float(np.clip(confidences[i], 0, 1))
        colour_bgr = (40, int(255 * min(1.0, 2 * sure)), int(255 * min(1.0, 2 - 2 * sure)))
        start = (round(float(points0[i, 0])), round(float(points0[i, 1])))
        end = (round(float(points1[i, 0])) + offset, round(float(points1[i, 1])))
        cv2.line(canvas, start, end, colour_bgr, width, cv2.LINE_AA)
        for point in (start, end):
            cv2.circle(canvas, point, width + 1, colour_bgr, -1, cv2.LINE_AA)
    return canvas
