"""Features on homographies: measures by hand, and both folder layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from superglue_ros.errors import ImageError, SourceError
from superglue_ros.evaluation.estimators import HOMOGRAPHY_REPEATS
from superglue_ros.evaluation.features import (
    evaluate_features,
    find_sequences,
    repeatability,
    summarise_features,
)
from superglue_ros.evaluation.methods import baselines, limits_text, orb_method, sift_method
from superglue_ros.evaluation.metrics import corner_error_px, warp_points
from superglue_ros.evaluation.pair_pictures import draw_features
from superglue_ros.evaluation.rotations import evaluate_rotations
from superglue_ros.matching import MatcherConfig

SHIFT = np.array([[1.0, 0, 20], [0, 1, 0], [0, 0, 1]])


def write_sequence(folder: Path, rng: np.random.Generator, pattern: str = "H1to2p") -> None:
    folder.mkdir(parents=True)
    noise = rng.integers(0, 256, (200, 300), dtype=np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    first, second = ("img1.png", "img2.png") if pattern == "H1to2p" else ("1.ppm", "2.ppm")
    shifted = cv2.warpPerspective(texture, SHIFT, (300, 200))
    for name, image in ((first, texture), (second, shifted)):
        cv2.imwrite(str(folder / name), cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    np.savetxt(folder / pattern, SHIFT)


def test_repeatability_by_hand() -> None:
    size = (100, 100)
    points0 = np.array([[10.0, 10], [30, 30], [95, 50]])  # the last one leaves image 1
    points1 = np.array([[31.0, 10], [60, 60]])  # 1 px off, not repeated
    repeated, distance = repeatability(points0, points1, SHIFT, size, size)
    # Of image 0, one of two; of image 1, one of two.
    assert (repeated, distance) == (0.5, pytest.approx(1.0))


def test_repeatability_of_nothing() -> None:
    none, some = np.zeros((0, 2)), np.full((2, 2), 50.0)
    for first, second in ((none, none), (none, some), (some, none)):
        repeated, distance = repeatability(first, second, SHIFT, (100, 100), (100, 100))
        assert repeated == 0
        assert np.isnan(distance)


def test_corner_error() -> None:
    assert corner_error_px(SHIFT, np.eye(3), (100, 80)) == pytest.approx(20)
    assert corner_error_px(SHIFT, SHIFT, (100, 80)) == 0
    assert corner_error_px(None, SHIFT, (100, 80)) == np.inf
    assert corner_error_px(np.zeros((3, 3)), SHIFT, (100, 80)) == np.inf


def test_warp_to_infinity() -> None:
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, -5]])
    assert np.isinf(warp_points(horizon, np.array([[5.0, 1]]))).all()


@pytest.mark.parametrize("pattern", ["H1to2p", "H_1_2"])
def test_known_shift(
    tmp_path: Path, rng: np.random.Generator, pattern: str, shows_something: Callable[[Path], bool]
) -> None:
    write_sequence(tmp_path / "data" / "shift", rng, pattern)
    for folder in (tmp_path / "data", tmp_path / "data" / "shift"):
        sequences = find_sequences(folder)
        assert [sequence.name for sequence in sequences] == ["shift"]
    results = evaluate_features(sequences, [sift_method(300), orb_method(300)])
    rows = summarise_features(results)
    assert [row.method for row in rows] == ["SIFT", "ORB"]
    for row in rows:
        assert row.repeatability_percent > 70
        assert row.matching_accuracy_percent[1] > 90
        assert row.homography_auc_percent[0] > 70
    files = draw_features(tmp_path, sequences, results, sift_method(300))
    assert len(files) == 4
    assert all(map(shows_something, files))


def test_a_turned_view_shows_the_photograph_turned(rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (700, 900), dtype=np.uint8)
    photograph = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    results = evaluate_rotations([photograph], [sift_method(300)], (0, 45, 180))
    assert [result.sequence for result in results] == [
        "turned 0 deg", "turned 45 deg", "turned 180 deg"
    ]  # fmt: skip
    for result in results:
        assert result.num_matches > 100
        assert result.matching_accuracy[1] > 0.9
        assert len(result.corner_px) == HOMOGRAPHY_REPEATS
        assert max(result.corner_px) < 1
    assert results[0].matching_accuracy[0] == 1.0


def test_several_sequences_have_a_common_row(tmp_path: Path, rng: np.random.Generator) -> None:
    for name in ("a", "b"):
        write_sequence(tmp_path / name, rng)
    rows = summarise_features(evaluate_features(find_sequences(tmp_path), [orb_method(100)]))
    assert [(row.sequence, row.num_pairs) for row in rows] == [("a", 1), ("b", 1), ("all", 2)]


def test_bad_folders(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(SourceError, match="is no folder"):
        find_sequences(tmp_path / "gone")
    with pytest.raises(SourceError, match="no images with homography"):
        find_sequences(tmp_path)
    write_sequence(tmp_path / "a", rng)
    (tmp_path / "a" / "img2.png").write_bytes(b"\x89PNG torn")
    with pytest.raises(ImageError, match=r"img2.png is truncated"):
        evaluate_features(find_sequences(tmp_path), [orb_method(10)])
    for text, message in (
        ("1 2 3\n4 5 6", "3x3"),
        ("a b", "no homography"),
        ("nan 0 0\n0 1 0\n0 0 1", "3x3"),
    ):
        (tmp_path / "a" / "H1to2p").write_text(text)
        with pytest.raises(SourceError, match=message):
            find_sequences(tmp_path)


@pytest.mark.slow
def test_sift_on_oxford(shared_data: Path) -> None:
    results = evaluate_features(find_sequences(shared_data / "oxford"), [sift_method()])
    overall = summarise_features(results)[-1]
    # Measured elsewhere: homography AUC@3/5/10 52.3/63.0/77.7, MMA@3 72.8.
    np.testing.assert_allclose(overall.homography_auc_percent, (52.3, 63.0, 77.7), atol=5)
    assert overall.matching_accuracy_percent[1] == pytest.approx(72.8, abs=3)


def test_baselines_have_our_limits(rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (400, 600), dtype=np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    limited = baselines(MatcherConfig(max_keypoints=50, resize=300))
    free = baselines(MatcherConfig(max_keypoints=-1))
    for few, all_of_them in zip(limited, free):
        found, more = few.detector.detect(image), all_of_them.detector.detect(image)
        assert 40 < len(found) <= 50 < len(more)
        # Found in half the image, in pixels of the whole: as if it had been halved before.
        half = cv2.resize(image, (300, 200), interpolation=cv2.INTER_AREA)
        direct = (sift_method if few.name == "SIFT" else orb_method)(50).detector.detect(half)
        np.testing.assert_allclose(found.keypoints, direct.keypoints * 2 + 0.5, atol=1e-4)
    assert limits_text(MatcherConfig(max_keypoints=50, resize=300)) == (
        "all methods: at most 50 keypoints of an image, images shrunk to 300 px"
    )
    assert "all keypoints of an image, images as they are" in limits_text(
        MatcherConfig(max_keypoints=-1)
    )
