"""Pictures of matches: where things are drawn, in which colour, and how many."""

from __future__ import annotations

import numpy as np
import pytest

from superglue_ros.matching import draw_matches
from superglue_ros.matching.drawing import MAX_LINES, confidence_colours, spread_choice

LEGEND_PX = 26
GRAY = 90


def plain(width: int, height: int) -> np.ndarray:
    return np.full((height, width), GRAY, np.uint8)


def drawn_rows(picture: np.ndarray) -> np.ndarray:
    """Rows of the picture above its legend that are not all gray or paper."""
    body = picture[:-LEGEND_PX].astype(int)
    coloured = np.ptp(body, axis=2) > 20
    return np.flatnonzero(coloured.any(axis=1))


def test_narrow_images_lie_side_by_side_and_wide_ones_above_each_other() -> None:
    nothing = np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)
    assert draw_matches(plain(640, 480), plain(640, 480), *nothing).shape[:2] == (506, 1286)
    assert draw_matches(plain(1226, 370), plain(1226, 370), *nothing).shape[:2] == (772, 1226)
    assert draw_matches(plain(640, 480), plain(480, 640), *nothing).shape[:2] == (666, 1126)


@pytest.mark.parametrize("size", [(160, 120), (4000, 3000), (9000, 1000), (20, 2000), (1, 1)])
def test_pictures_have_a_size_that_can_be_looked_at(size: tuple[int, int]) -> None:
    points = np.zeros((1, 2))
    picture = draw_matches(plain(*size), plain(*size), points, points, np.ones(1))
    assert 400 < max(picture.shape) <= 1960
    assert picture.dtype == np.uint8


def test_lines_join_the_points_in_scaled_images() -> None:
    point = np.array([[80.0, 60.0]])
    picture = draw_matches(plain(180, 120), plain(180, 120), point, point, np.ones(1))
    assert picture.shape == (240 + LEGEND_PX, 726, 3)
    rows = drawn_rows(picture)
    # y = 60 is the row (60 + 0.5) * 2 - 0.5, and a dot is two pixels thick.
    assert rows.min() >= 117
    assert rows.max() <= 124
    row = picture[120]
    assert (row[200:500, 1] > row[200:500, 2] + 30).all()
    assert (row[:150] == GRAY).all()


def test_confidence_runs_from_red_to_green() -> None:
    colours = confidence_colours(np.array([0.0, 0.5, 1.0, 7.0]))
    assert colours[0, 2] > 200 > colours[0, 1]
    assert min(colours[1, 1:]) > 200
    assert colours[2, 1] > 200 > colours[2, 2]
    np.testing.assert_array_equal(colours[2], colours[3])


def test_inliers_are_green_and_outliers_red_whatever_their_confidence() -> None:
    points = np.array([[100.0, 100.0], [100.0, 300.0]])
    inliers = np.array([True, False])
    picture = draw_matches(
        plain(640, 480), plain(640, 480), points, points, np.array([0.0, 1.0]), inliers=inliers
    ).astype(int)
    right, wrong = picture[100, 101:740], picture[300, 101:740]
    assert (right[:, 1] > right[:, 2] + 30).all()
    assert (wrong[:, 2] > wrong[:, 1] + 30).all()
    with_legend = picture[-LEGEND_PX:]
    assert (np.ptp(with_legend, axis=2) > 60).any()


def test_many_matches_leave_the_images_visible() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform((0, 0), (1226, 370), (900, 2))
    images = plain(1226, 370), plain(1226, 370)
    picture = draw_matches(*images, points, points, np.ones(900))[:-LEGEND_PX].astype(int)
    assert (np.ptp(picture, axis=2) < 20).mean() > 0.75


def test_lines_are_spread_and_prefer_the_sure() -> None:
    rng = np.random.default_rng(0)
    crowd = rng.uniform((0, 0), (40, 40), (500, 2))
    lone = np.array([[600.0, 400.0], [600.0, 60.0], [60.0, 400.0]])
    points = np.concatenate([crowd, lone])
    confidences = rng.uniform(0, 1, len(points))
    chosen = spread_choice(points, confidences, (480, 640), 60)
    assert len(chosen) == len(set(chosen.tolist())) == 60
    assert {500, 501, 502} <= set(chosen.tolist())
    assert confidences[chosen].mean() > confidences.mean() + 0.2
    np.testing.assert_array_equal(spread_choice(points, confidences, (480, 640), 600), range(503))


def test_a_uniform_image_gets_lines_in_all_its_parts() -> None:
    points = np.random.default_rng(0).uniform((0, 0), (640, 480), (4000, 2))
    chosen = points[spread_choice(points, np.ones(4000), (480, 640), MAX_LINES)]
    parts = np.histogram2d(chosen[:, 0], chosen[:, 1], bins=(3, 3))[0]
    assert parts.min() > MAX_LINES / 9 / 3


def test_lengths_must_agree() -> None:
    image, points = plain(64, 48), np.zeros((2, 2))
    with pytest.raises(ValueError, match="one length"):
        draw_matches(image, image, points, points[:1], np.ones(2))
    with pytest.raises(ValueError, match="one length"):
        draw_matches(image, image, points, points, np.ones(2), inliers=np.ones(1, bool))
