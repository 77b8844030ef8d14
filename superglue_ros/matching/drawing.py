"""Pictures of matches."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from superglue_ros.types import BoolArray, FloatArray, ImageArray, IntArray

MAX_LINES = 150
"""More lines cover the images they join."""

_GAP_PX = 6
_BAR_PX = 26
_LEGEND_WIDTH, _LEAST_WIDTH, _MOST_SIDE = 480, 720, 1920
"""Of the picture in pixels: the legend fits, and lines of one pixel are seen."""

_WIDE = 1.7
"""Images of at least this width over height go above each other."""

_LINE_OPACITY, _POINT_OPACITY = 0.6, 0.9
_CELLS = 24
"""Along the longer side of the grid over which the lines drawn are spread."""

_INLIER_BGR, _OUTLIER_BGR = (80, 205, 60), (60, 60, 240)
_INLIER_INK = (50, 150, 30)
_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.47


def draw_matches(
    image0: ImageArray,
    image1: ImageArray,
    points0: FloatArray,
    points1: FloatArray,
    confidences: FloatArray,
    *,
    inliers: BoolArray | None = None,
    max_lines: int = MAX_LINES,
    title: str = "",
) -> ImageArray:
    """Two images with their matches joined, and a legend below: (H, W, 3) BGR.

    Wide images lie above each other, others side by side; large ones are shrunk and small ones
    enlarged. points0/1 (M, 2) pixels of their images, confidences (M,) in [0, 1], which colours
    run over from red to green; inliers (M,): matches that agree with known poses, which are green
    then and all others red. Every match is two dots; of more than `max_lines` only so many
    are lines, spread over the image. ValueError for unequal lengths.
    """
    lengths = {len(points0), len(points1), len(confidences)}
    if len(lengths) > 1 or (inliers is not None and len(inliers) not in lengths):
        raise ValueError("points0, points1, confidences and inliers must be of one length")
    layout = _layout(image0, image1)
    canvas = np.full((layout.height, layout.width, 3), _PAPER, np.uint8)
    for image, (x, y) in ((image0, layout.offset0), (image1, layout.offset1)):
        shown = _shown(image, layout.scale)
        canvas[y : y + shown.shape[0], x : x + shown.shape[1]] = shown
    colours = confidence_colours(confidences)
    if inliers is not None:
        colours = np.where(np.asarray(inliers, bool)[:, None], _INLIER_BGR, _OUTLIER_BGR)
    starts = np.round(_to_canvas(points0, layout.scale) + layout.offset0).astype(int)
    ends = np.round(_to_canvas(points1, layout.scale) + layout.offset1).astype(int)
    drawn = spread_choice(points0, confidences, image0.shape, max_lines)
    lines = canvas.copy()
    for i in drawn:
        cv2.line(lines, _pixel(starts[i]), _pixel(ends[i]), _bgr(colours[i]), 1, cv2.LINE_AA)
    joined = cv2.addWeighted(lines, _LINE_OPACITY, canvas, 1 - _LINE_OPACITY, 0)
    marked = joined.copy()
    for i in range(len(starts)):
        for point in (starts[i], ends[i]):
            cv2.circle(marked, _pixel(point), 2, _bgr(colours[i]), -1, cv2.LINE_AA)
    picture = cv2.addWeighted(marked, _POINT_OPACITY, joined, 1 - _POINT_OPACITY, 0)
    legend = _legend(layout.width, len(starts), len(drawn), inliers, title)
    return np.concatenate([picture, legend]).astype(np.uint8)


def confidence_colours(confidences: FloatArray) -> FloatArray:
    """(M, 3) BGR in [0, 255], from red for 0 over yellow to green for 1."""
    sure = np.clip(np.asarray(confidences, float), 0, 1)
    return np.stack(
        [np.full_like(sure, 50), 225 * np.minimum(1, 2 * sure), 245 * np.minimum(1, 2 - 2 * sure)],
        axis=1,
    )


def spread_choice(
    points: FloatArray, confidences: FloatArray, shape: tuple[int, ...], count: int
) -> IntArray:
    """Indices of at most `count` of (M, 2) points, spread over an image of `shape`: from each
    cell of a grid the surest first."""
    if len(points) <= count:
        return np.arange(len(points))
    cell_px = max(shape[:2]) / _CELLS
    columns = np.floor(np.asarray(points) / cell_px).astype(int)
    order = np.lexsort((-np.asarray(confidences), columns[:, 0], columns[:, 1]))
    cells = columns[order]
    begins = np.r_[True, np.any(cells[1:] != cells[:-1], axis=1)]
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(begins, place, 0))
    by_rank = np.argsort(rank, kind="stable")
    last = rank[by_rank[count]]
    first = by_rank[: np.searchsorted(rank[by_rank], last)]
    # Of those of the last rank every few, or the first rows of the image would have them all.
    others = by_rank[rank[by_rank] == last]
    some = others[np.linspace(0, len(others) - 1, count - len(first)).round().astype(int)]
    kept: IntArray = np.sort(order[np.concatenate([first, some])])
    return kept


@dataclass(frozen=True)
class _Layout:
    """Where the images lie, (x, y) in pixels of the picture, and how much they are scaled."""

    width: int
    height: int
    scale: float
    offset0: tuple[int, int]
    offset1: tuple[int, int]


def _layout(image0: ImageArray, image1: ImageArray) -> _Layout:
    (h0, w0), (h1, w1) = image0.shape[:2], image1.shape[:2]
    above = min(w0 / h0, w1 / h1) >= _WIDE
    width, height = (max(w0, w1), h0 + h1) if above else (w0 + w1, max(h0, h1))
    scale = min(1.0, _MOST_SIDE / max(width, height))
    if width < _LEAST_WIDTH:
        scale = min(_LEAST_WIDTH / width, _MOST_SIDE / height)
    (w0, h0), (w1, h1) = _scaled(w0, h0, scale), _scaled(w1, h1, scale)
    # Never narrower than a legend.
    if above:
        width = max(w0, w1, _LEGEND_WIDTH)
        return _Layout(width, h0 + _GAP_PX + h1, scale, (0, 0), (0, h0 + _GAP_PX))
    width = max(w0 + _GAP_PX + w1, _LEGEND_WIDTH)
    return _Layout(width, max(h0, h1), scale, (0, 0), (w0 + _GAP_PX, 0))


def _scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shown(image: ImageArray, scale: float) -> ImageArray:
    if scale != 1:
        size = _scaled(image.shape[1], image.shape[0], scale)
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, size, interpolation=way))
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image


def _to_canvas(points: FloatArray, scale: float) -> FloatArray:
    """Points of an image, in the scaled one; (0, 0) is the centre of a pixel in both."""
    return (np.asarray(points, float).reshape(-1, 2) + 0.5) * scale - 0.5


def _legend(
    width: int, matches: int, drawn: int, inliers: BoolArray | None, title: str
) -> ImageArray:
    bar = np.full((_BAR_PX, width, 3), _PAPER, np.uint8)
    text = f"{matches} matches" if drawn == matches else f"{drawn} of {matches} matches drawn"
    _write(bar, f"{title}: {text}" if title else text, 8)
    if inliers is not None:
        right = int(np.sum(inliers))
        left = _write_before(bar, f"{matches - right} outliers", width - 8, _OUTLIER_BGR)
        _write_before(bar, f"{right} inliers", left - 16, _INLIER_INK)
        return bar
    left = _write_before(bar, "1", width - 8)
    ramp = confidence_colours(np.linspace(0, 1, 120)).astype(np.uint8)
    bar[8:-8, left - 126 : left - 6] = ramp
    _write_before(bar, "confidence 0", left - 132)
    return bar


def _write(bar: ImageArray, text: str, x: int, ink: tuple[int, int, int] = _INK) -> None:
    cv2.putText(bar, text, (x, _BAR_PX - 8), _FONT, _FONT_SCALE, ink, 1, cv2.LINE_AA)


def _write_before(bar: ImageArray, text: str, right: int, ink: tuple[int, int, int] = _INK) -> int:
    """Write text that ends at `right`; where it begins."""
    left = right - int(cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)[0][0])
    _write(bar, text, left, ink)
    return left


def _pixel(point: FloatArray) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _bgr(colour: FloatArray) -> tuple[int, int, int]:
    return int(colour[0]), int(colour[1]), int(colour[2])
