"""Maps of keyframes and localisation in them: synthetic scenes with exact poses, and real ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mapping_scene import POINTS, POSES, Extracted, Scene, frame_of, make_map
from odometry_world import CAMERA

from superglue_ros.cli import main as console
from superglue_ros.errors import MapError, SuperGlueRosError
from superglue_ros.evaluation.localization import SourcePart, judge_queries
from superglue_ros.evaluation.pairs import frame_stamps
from superglue_ros.geometry import exp_rotation
from superglue_ros.geometry.pose_errors import pose_errors_deg
from superglue_ros.mapping import (
    KeyframeMap,
    Localization,
    LocalizerConfig,
    MapBuilder,
    MapLocalizer,
    read_map,
    write_map,
)
from superglue_ros.matching import FeatureMatches, KeyframeMatcher
from superglue_ros.matching.retrieval import ImageIndex
from superglue_ros.networks.checkpoints import shipped_path
from superglue_ros.sources import open_source, read_trajectory, trajectory_from_poses
from superglue_ros.types import Features, Pose

S = 1_000_000_000


@pytest.fixture(scope="module")
def scene_map() -> KeyframeMap:
    return make_map()


def localizer(keyframe_map: KeyframeMap, scene: Scene | None = None) -> MapLocalizer:
    matcher: Any = scene or Scene(POSES)
    return MapLocalizer(matcher, keyframe_map, LocalizerConfig())


class TestMaps:
    def test_landmarks_are_where_the_points_are(self, scene_map: KeyframeMap) -> None:
        assert len(scene_map.keyframes) >= 3
        assert scene_map.num_landmarks > 500
        for keyframe in scene_map.keyframes:
            landmarks = keyframe.landmarks[keyframe.has_landmark]
            distances = np.linalg.norm(landmarks[:, None] - POINTS[None], axis=2).min(axis=1)
            away = np.linalg.norm(landmarks - keyframe.pose.position, axis=1)
            assert np.median(distances / away) < 0.01

    def test_there_and_back(self, scene_map: KeyframeMap, tmp_path: Path) -> None:
        write_map(tmp_path / "map.npz", scene_map)
        back = read_map(tmp_path / "map.npz")
        assert (back.weights_hash, back.is_metric) == ("abc", True)
        for found, wanted in zip(back.keyframes, scene_map.keyframes, strict=True):
            assert found.stamp_ns == wanted.stamp_ns
            assert found.features.image_size == (640, 480)
            np.testing.assert_allclose(found.pose.matrix, wanted.pose.matrix)
            np.testing.assert_array_equal(found.landmarks, wanted.landmarks)
            np.testing.assert_array_equal(found.features.keypoints, wanted.features.keypoints)
            np.testing.assert_allclose(
                found.features.descriptors, wanted.features.descriptors, atol=1e-3
            )

    def test_files_that_are_none(self, scene_map: KeyframeMap, tmp_path: Path) -> None:
        with pytest.raises(MapError, match="cannot read a map"):
            read_map(tmp_path / "gone.npz")
        (tmp_path / "text.npz").write_text("no")
        with pytest.raises(MapError, match="cannot read a map"):
            read_map(tmp_path / "text.npz")
        np.savez(tmp_path / "other.npz", x=1)
        with pytest.raises(MapError, match="is no map"):
            read_map(tmp_path / "other.npz")
        with pytest.raises(SuperGlueRosError, match="cannot write"):
            write_map(tmp_path / "gone" / "map.npz", scene_map)

    def test_nothing_to_make_one_of(self) -> None:
        matcher = KeyframeMatcher(Scene(POSES))  # type: ignore[arg-type]
        builder = MapBuilder(matcher)
        frame = frame_of(0)
        matches = matcher.process(frame)
        builder.add(frame, matches)
        with pytest.raises(MapError, match="no landmark in 1 keyframes"):
            builder.finish({0: POSES[0]}, True)
        with pytest.raises(MapError, match="needs a calibration"):
            builder.add(replace(frame, camera=None), matches)


class TestLocalisation:
    def test_between_the_keyframes(self, scene_map: KeyframeMap) -> None:
        finder = localizer(scene_map)
        for number in range(1, len(POSES), 6):
            found = finder.localize(frame_of(number).image, CAMERA)
            assert found.pose is not None, found.reason
            away_m = np.linalg.norm(found.pose.position - POSES[number].position)
            turned_deg = pose_errors_deg(found.pose, POSES[number])[0]
            assert away_m < 0.1
            assert turned_deg < 0.5
            assert found.inliers >= 0.5 * found.matched
            assert found.covariance is not None
            # Honest: the error is one that the covariance allows.
            offset = found.pose.position - POSES[number].position
            assert offset @ np.linalg.solve(found.covariance[:3, :3], offset) < 30

    def test_another_place_is_not_found(self, scene_map: KeyframeMap) -> None:
        found = localizer(scene_map, Scene(POSES, seed=9)).localize(frame_of(3).image, CAMERA)
        assert found.pose is None
        assert "landmarks matched, 30 needed" in found.reason

    def test_wrong_matches_agree_on_nothing(self, scene_map: KeyframeMap) -> None:
        class Confused(Scene):
            def match_features(self, first: Any, second: Any) -> FeatureMatches:
                found = super().match_features(first, second)
                return replace(found, indices1=np.roll(found.indices1, 7))

        found = localizer(scene_map, Confused(POSES)).localize(frame_of(4).image, CAMERA)
        assert isinstance(found, Localization)
        assert found.pose is None
        assert "agree" in found.reason

    def test_without_features(self, scene_map: KeyframeMap) -> None:
        class Blind(Scene):
            def extract(self, image: Any) -> Any:
                return Extracted(Features((640, 480), *(np.zeros((0, n)) for n in (2, 1, 64))))

        found = localizer(scene_map, Blind(POSES)).localize(frame_of(4).image, CAMERA)
        assert (found.pose, found.reason) == (None, "no features")

    def test_other_networks(self, scene_map: KeyframeMap) -> None:
        with pytest.raises(MapError, match=r"weights other, and the matcher has abc"):
            localizer(replace(scene_map, weights_hash="other"))

    def test_what_looks_alike_comes_first(self) -> None:
        rng = np.random.default_rng(0)
        images = [rng.normal(size=(200, 64)) for _ in range(10)]
        images = [d / np.linalg.norm(d, axis=1, keepdims=True) for d in images]
        index = ImageIndex(images)
        for place, descriptors in enumerate(images):
            seen = descriptors[50:] + 0.02 * rng.normal(size=(150, 64))
            assert index.most_alike(seen, 3)[0] == place
        assert len(index.most_alike(images[0], 3)) == 3


@pytest.mark.parametrize(
    "wrong", [{"candidates": 0}, {"min_inliers": 3}, {"min_inlier_ratio": 1.5}]
)
def test_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LocalizerConfig(**wrong)


weights = pytest.mark.skipif(
    not shipped_path("superglue").is_file(), reason="no shipped weights yet"
)


def test_every_other_frame() -> None:
    frames: Any = list(range(7))
    assert list(SourcePart(frames, 0, 2)) == [0, 2, 4, 6]
    assert list(SourcePart(frames, 1, 3)) == [1, 4]
    assert len(SourcePart(frames, 1, 2)) == 3


def test_errors_of_queries_by_hand() -> None:
    stamps, truth = [0, S, 2 * S, 3 * S], []
    for number in range(4):
        turned = exp_rotation(np.array([0.0, 0, 0.1 * number]))
        truth.append(Pose(turned, np.array([number, number**2, 0.0])))
    # The map's world is half as large.
    mapped = [Pose(pose.rotation, pose.position / 2) for pose in truth]
    poses = trajectory_from_poses(stamps, mapped)
    off = Pose(mapped[1].rotation @ exp_rotation([0.02, 0, 0]), mapped[1].position + [0.02, 0, 0])
    nothing = Localization(None, None, 12, 40, 0, "no")
    asked = [(S, Localization(off, np.eye(6), 50, 60, 1)), (2 * S, nothing), (9 * S, nothing)]
    found, missed = judge_queries(
        "road", asked, poses, trajectory_from_poses(stamps, truth), False
    )
    assert (found.found, found.near, found.inliers) == (True, True, 50)
    assert found.position_m == pytest.approx(0.04)
    assert found.rotation_deg == pytest.approx(np.degrees(0.02))
    assert (missed.found, missed.near, missed.inliers) == (False, False, 12)
    with pytest.raises(ValueError, match="0 poses of the map"):
        judge_queries("road", asked, poses, trajectory_from_poses([9 * S], truth[:1]), True)


@pytest.mark.shared
@pytest.mark.slow
@weights
def test_odd_frames_among_even_ones(shared_data: Path, tmp_path: Path) -> None:
    words = ["evaluate", "localization", str(shared_data / "tum_fr3_office")]
    assert console.main([*words, "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "localization.json").read_text())["own"]
    near = [x["found"] and x["position_m"] < 0.1 and x["rotation_deg"] < 5 for x in found]
    assert len(found) >= 7
    assert sum(near) >= 0.9 * len(found)


@pytest.mark.shared
@pytest.mark.slow
@weights
def test_another_road_is_not_found(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "map.npz"
    words = ["map", str(shared_data / "kitti_06"), "--output", str(made), "--max-frames", "10"]
    assert console.main(words) == 0
    found = tmp_path / "found.txt"
    words = ["localize", str(made), str(shared_data / "kitti_01"), "--every", "10"]
    assert console.main([*words, "--output", str(found)]) == 0
    assert "0 of 6 images found" in capsys.readouterr().out
    words = ["localize", str(made), str(shared_data / "kitti_06"), "--every", "17"]
    assert console.main([*words, "--output", str(found)]) == 0
    stamps = frame_stamps(open_source(shared_data / "kitti_06"))
    assert stamps[0] in read_trajectory(found).stamps_ns
