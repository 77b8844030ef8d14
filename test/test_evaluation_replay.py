"""Replay and its report, with a stand-in for the networks that tracks known points."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odometry_world import depth_of

from superglue_ros.errors import CameraError, ImageError, SuperGlueRosError
from superglue_ros.evaluation.accuracy import measure_accuracy
from superglue_ros.evaluation.trajectory import absolute_trajectory_error
from superglue_ros.geometry import exp_rotation, project_points
from superglue_ros.matching import FeatureMatches, KeyframeMatcher, KeyframePolicy
from superglue_ros.odometry import VisualOdometry
from superglue_ros.replay.gallery import Gallery
from superglue_ros.replay.records import check_poses
from superglue_ros.replay.report import write_report
from superglue_ros.replay.run import run_replay
from superglue_ros.replay.trajectory_plots import spanned_axes
from superglue_ros.reporting.files import make_folder, plain_numbers, write_json
from superglue_ros.reporting.tables import format_table
from superglue_ros.sources import read_trajectory, trajectory_from_poses
from superglue_ros.types import CameraModel, Frame, Pose

CAMERA = CameraModel(320, 240, np.array([[250.0, 0, 160], [0, 250, 120], [0, 0, 1]]))
PERIOD_NS = 100_000_000


@dataclass(frozen=True)
class Points:
    """Stands in for ExtractedFeatures: points of known identity."""

    image_size: tuple[int, int]
    points: np.ndarray
    identities: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


class PointMatcher:
    """Stands in for ImageMatcher: an image's first pixel is the number of its view."""

    device, precision, model, weights_hash = "cpu", "float32", "points", "0123abcd"

    def __init__(self, world: World) -> None:
        self.world = world

    def extract(self, image: np.ndarray) -> Points:
        if image[0, 0] == 255:
            raise ImageError("an image of 0 x 0")
        points, identities = self.world.view(int(image[0, 0]))
        return Points((320, 240), points.astype(np.float32), identities)

    def match_features(self, keyframe: Points, frame: Points) -> FeatureMatches:
        _, first, second = np.intersect1d(
            keyframe.identities, frame.identities, return_indices=True
        )
        return FeatureMatches(
            first.astype(np.int32), second.astype(np.int32), np.full(len(first), 0.9, np.float32)
        )

    def refine(
        self, image0: Any, image1: Any, points0: np.ndarray, points1: np.ndarray, *_: Any
    ) -> np.ndarray:
        return points1


class World:
    """A cloud of points and a camera that flies sideways past it; a source of frames."""

    name = "cloud"
    skipped = 0
    has_depth = is_stereo = False

    def __init__(self, count: int = 30, camera: CameraModel | None = CAMERA) -> None:
        rng = np.random.default_rng(3)
        low, high = [-6, -3, 4], [10, 3, 12]
        self.points = rng.uniform(low, high, (1500, 3))
        self.camera = camera
        self.poses = [
            Pose(exp_rotation(np.array([0, 0.01 * i, 0])), np.array([0.1 * i, 0.02 * i, 0.03 * i]))
            for i in range(count)
        ]
        self.broken: set[int] = set()

    def __len__(self) -> int:
        return len(self.poses)

    def __iter__(self) -> Iterator[Frame]:
        for i in range(len(self.poses)):
            image = np.full((240, 320), 90, np.uint8)
            image[0, 0] = 255 if i in self.broken else i
            yield Frame(image, i * PERIOD_NS, camera=self.camera)

    def view(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        inverse = self.poses[index].inverse()
        pixels = project_points(self.points @ inverse.rotation.T + inverse.position, CAMERA)
        inside = np.all((pixels >= 0) & (pixels < [320, 240]), axis=1)
        noise = np.random.default_rng(index).normal(0, 0.2, pixels.shape)
        return (pixels + noise)[inside], np.flatnonzero(inside)

    def groundtruth(self):
        return trajectory_from_poses(PERIOD_NS * np.arange(len(self)), self.poses)


def replay(world: World, **options):
    matcher = KeyframeMatcher(PointMatcher(world), KeyframePolicy())  # type: ignore[arg-type]
    return run_replay(world, matcher, VisualOdometry(), **options)


def test_trajectory_is_right_and_the_same_each_time() -> None:
    world = World()
    result, again = replay(world), replay(world)
    errors = absolute_trajectory_error(result.trajectory, world.groundtruth())
    assert errors.num_poses == len(world)
    assert errors.rmse_percent < 2
    assert not result.scale_is_metric
    np.testing.assert_array_equal(result.trajectory.positions, again.trajectory.positions)
    np.testing.assert_array_equal(
        result.trajectory.quaternions_xyzw, again.trajectory.quaternions_xyzw
    )


class DeepWorld(World):
    """The same with a depth image for each frame; that of frame 0 is of another size if wanted."""

    wrong_first = False

    def __iter__(self) -> Iterator[Frame]:
        for i, frame in enumerate(super().__iter__()):
            depth = depth_of(self.points, self.poses[i], CAMERA)
            if self.wrong_first and i == 0:
                depth = depth[:120]
            yield replace(frame, depth_m=depth)


def test_depth_gives_metres() -> None:
    world = DeepWorld()
    matcher = KeyframeMatcher(PointMatcher(world), KeyframePolicy())  # type: ignore[arg-type]
    result = run_replay(world, matcher, VisualOdometry(use_depth=True))
    assert result.scale_is_metric
    errors = absolute_trajectory_error(result.trajectory, world.groundtruth(), "se3")
    assert errors.num_poses == len(world)
    assert errors.rmse_percent < 1
    assert not run_replay(world, matcher, VisualOdometry()).scale_is_metric


def test_a_keyframe_without_depth_is_said(caplog: pytest.LogCaptureFixture) -> None:
    world = DeepWorld()
    world.wrong_first = True
    matcher = KeyframeMatcher(PointMatcher(world), KeyframePolicy())  # type: ignore[arg-type]
    result = run_replay(world, matcher, VisualOdometry(use_depth=True))
    assert "a keyframe without depth: depth of 320x120 for images of 320x240" in caplog.text
    assert result.records[2].state == "initialising"
    assert len(result.trajectory) == len(world)  # placed once the next keyframe has depth


def test_records_say_what_happened() -> None:
    world = World()
    result = replay(world)
    assert len(result.records) == len(world)
    assert result.records[0].is_keyframe
    assert result.records[0].num_matches == 0
    assert np.isnan(result.records[0].displacement_px)
    assert all(record.num_matches > 50 for record in result.records[1:])
    assert result.records[-1].state == "tracking"
    assert 1 < result.num_keyframes < len(world)
    assert (result.model, result.weights_hash) == ("points", "0123abcd")


def test_broken_frames_are_skipped_and_counted() -> None:
    world = World()
    world.broken = {4, 5}
    result = replay(world)
    assert (result.skipped, len(result.records)) == (2, len(world) - 2)


def test_without_camera_there_are_matches_only(tmp_path: Path) -> None:
    result = replay(World(5, camera=None))
    assert len(result.trajectory) == 0
    assert result.records[-1].state == ""
    write_report(tmp_path, result)
    with pytest.raises(CameraError):
        replay(World(5, camera=CameraModel(320, 240, np.zeros((3, 3)))))
    with pytest.raises(CameraError, match="is of 640 x 480 pixels, the images are of 320 x 240"):
        replay(World(5, camera=replace(CAMERA, width=640, height=480)))


def test_max_frames_and_empty_source(tmp_path: Path) -> None:
    assert len(replay(World(), max_frames=4).records) == 4
    result = replay(World(0))
    assert result.records == result.pictures == ()
    summary = write_report(tmp_path, result)
    assert summary["frames"] == 0
    json.loads((tmp_path / "summary.json").read_text())


def test_report_holds_every_figure(tmp_path: Path) -> None:
    world = World()
    result = replay(world)
    accuracy = measure_accuracy(result.trajectory, world.groundtruth(), "sim3")
    errors = accuracy.absolute
    about = {"image topic": "/camera/<raw>"}
    write_report(tmp_path / "new" / "folder", result, accuracy, about)
    folder = tmp_path / "new" / "folder"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["frames"] == len(world)
    assert summary["scale"] == "up to scale"
    assert summary["ate"]["alignment"] == "sim3"
    assert "similarity alignment" in summary["ate"]["frame"]
    assert summary["ate"]["rmse_m"] == pytest.approx(errors.rmse_m)
    assert summary["rpe_one_frame"]["num_segments"] == len(world) - 1
    assert summary["drift"]["segment"] == "0.5 m"
    assert summary["t_rel"]["reason"] == "the path is shorter than 100 m"
    read = read_trajectory(folder / "trajectory.txt")
    np.testing.assert_allclose(read.positions, result.trajectory.positions, atol=1e-8)
    page = (folder / "report.html").read_text()
    pictures = {path.name for path in folder.glob("*.png")}
    assert pictures == {
        f"{n}.png" for n in ("trajectory", "components", "errors", "matches", "times")
    }
    pairs = sorted(folder.glob("*.jpg"))
    assert pairs
    # Whole in itself: every picture is inside, nothing is loaded.
    assert page.count('src="data:image/') == len(pictures) + len(pairs) == page.count("<img ")
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    for text in ("/camera/&lt;raw&gt;", "fx 250.00", f"{errors.rmse_m:.4f} m", "drift over 0.5 m"):
        assert text in page
    lines = (folder / "matches.csv").read_text().splitlines()
    assert lines[0].startswith("stamp_ns,keyframe_id,is_keyframe")
    assert len(lines) == len(world) + 1


def test_the_page_says_what_went_wrong(tmp_path: Path) -> None:
    world = World()
    world.broken = {7}
    result = replay(world)
    lost = [replace(r, state="lost", reason="too few inliers") for r in result.records[10:13]]
    records = (*result.records[:10], *lost, *result.records[13:])
    warnings = (("a topic went away", 3),)
    write_report(tmp_path, replace(result, records=records, warnings=warnings, interrupted=True))
    page = (tmp_path / "report.html").read_text()
    for text in (
        "frames 10 to 12: lost: too few inliers", "3 x a topic went away", "1 frames were skipped",
        "Interrupted", "No ground truth was given",
    ):  # fmt: skip
        assert text in page
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert summary["warnings"] == {"a topic went away": 3}


def test_a_stopped_replay_keeps_what_it_has(tmp_path: Path) -> None:
    asked = iter([False] * 12 + [True] * 99)
    result = replay(World(), stop=lambda: next(asked))
    assert result.interrupted
    assert len(result.records) == 12
    assert len(result.trajectory) == 12
    assert not replay(World(), stop=lambda: False).interrupted
    write_report(tmp_path, replay(World()), measure_accuracy(*[World().groundtruth()] * 2, "se3"))
    assert (tmp_path / "errors.png").exists()
    write_report(tmp_path, replace(result, pictures=()))
    assert not list(tmp_path.glob("*.jpg")) + list(tmp_path.glob("errors.png"))


def test_unwritable_output(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SuperGlueRosError, match="cannot make folder"):
        make_folder(tmp_path / "file" / "inside")
    with pytest.raises(SuperGlueRosError, match="cannot write"):
        write_json(tmp_path / "gone" / "a.json", {})


def test_gallery_chooses_few() -> None:
    world = World(20)
    matcher = KeyframeMatcher(PointMatcher(world))  # type: ignore[arg-type]
    gallery = Gallery(20)
    assert gallery.pictures() == ()
    for frame in world:
        inliers = None if frame.stamp_ns == 0 else 40 + abs(frame.stamp_ns // PERIOD_NS - 13)
        gallery.offer(frame.image, matcher.process(frame), inliers)
    pictures = gallery.pictures()
    assert 1 <= len(pictures) <= 4
    titles = ", ".join(picture.title for picture in pictures)
    assert all(word in titles for word in ("widest", "fewest matches", "half way"))
    (worst,) = (picture for picture in pictures if "fewest inliers" in picture.title)
    assert worst.stamp_ns == 13 * PERIOD_NS
    assert all(picture.image.shape[:2] == (296, 726) for picture in pictures)
    # With the poses known, right matches are green: of confidence 0.9 they were greenish yellow.
    poses = {index * PERIOD_NS: pose for index, pose in enumerate(world.poses)}
    told = gallery.pictures(poses, CAMERA)
    ink = told[0].image[240:270].reshape(-1, 3).astype(int)
    assert not (ink[:, 2] > ink[:, 1] + 40).any()
    wrong = gallery.pictures({stamp: Pose.identity() for stamp in poses}, CAMERA)
    ink = wrong[0].image[200:270].reshape(-1, 3).astype(int)
    assert (ink[:, 2] > ink[:, 1] + 40).any()


def test_json_has_no_nan() -> None:
    content = {"a": float("nan"), "b": (np.int64(3), np.float32(0.5), True), "c": Path("x")}
    assert plain_numbers(content) == {"a": None, "b": [3, 0.5, True], "c": "x"}


def test_table() -> None:
    table = format_table(["name", "share"], [["long one", 12.34], ["b", float("nan")]])
    assert table.splitlines() == [
        "name      share", "--------  -----", "long one   12.3", "b             -"
    ]  # fmt: skip
    assert format_table(["a"], []).splitlines() == ["a", "-"]


class TestStampsThatRepeat:
    """Poses and counts are the frames', not the stamps'."""

    @staticmethod
    def world(stamps: dict[int, int], count: int = 30) -> World:
        """A world whose frames have these stamps, in periods, or their own."""

        class Stamped(World):
            def __iter__(self) -> Iterator[Frame]:
                for i, frame in enumerate(super().__iter__()):
                    yield replace(frame, stamp_ns=stamps.get(i, i) * PERIOD_NS)

        return Stamped(count)

    def test_all_equal(self, caplog: pytest.LogCaptureFixture) -> None:
        world = self.world(dict.fromkeys(range(30), 7))
        result = replay(world)
        tracked = [record.state == "tracking" for record in result.records]
        # Of the first frame nothing but its stamp says which view it is.
        assert 30 == len(result.records) == len(result.trajectory) + 1
        assert sum(tracked) > 20
        assert set(result.trajectory.stamps_ns.tolist()) == {7 * PERIOD_NS}
        assert "29 frames have the stamp of another" in caplog.text
        times = PERIOD_NS * np.arange(1, 30)
        errors = absolute_trajectory_error(
            replace(result.trajectory, stamps_ns=times), world.groundtruth()
        )
        assert errors.num_poses == 29
        assert errors.rmse_percent < 2

    def test_some_equal(self) -> None:
        result = replay(self.world({3: 2, 12: 11, 13: 11, 29: 28}))
        assert len(result.trajectory) == 30
        assert result.trajectory.stamps_ns.tolist() == sorted(r.stamp_ns for r in result.records)

    def test_depth_is_that_of_the_keyframe(self) -> None:
        class Still(DeepWorld):
            def __iter__(self) -> Iterator[Frame]:
                for frame in super().__iter__():
                    yield replace(frame, stamp_ns=PERIOD_NS)

        world = Still()
        matcher = KeyframeMatcher(PointMatcher(world), KeyframePolicy())  # type: ignore[arg-type]
        result = run_replay(world, matcher, VisualOdometry(use_depth=True))
        assert len(result.trajectory) == len(world) - 1
        steps = np.linalg.norm(np.diff(result.trajectory.positions, axis=0), axis=1)
        np.testing.assert_allclose(steps, np.linalg.norm([0.1, 0.02, 0.03]), atol=0.02)


def test_depth_at_half_the_resolution() -> None:
    class Half(DeepWorld):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                assert frame.depth_m is not None
                yield replace(frame, depth_m=frame.depth_m[1::2, 1::2])

    world = Half()
    matcher = KeyframeMatcher(PointMatcher(world), KeyframePolicy())  # type: ignore[arg-type]
    result = run_replay(world, matcher, VisualOdometry(use_depth=True))
    assert result.scale_is_metric
    errors = absolute_trajectory_error(result.trajectory, world.groundtruth(), "se3")
    assert errors.num_poses == len(world)


def test_a_run_that_yields_nothing_says_why() -> None:
    check_poses(replay(World()))
    check_poses(replay(World(3, camera=None)))
    with pytest.raises(SuperGlueRosError, match="cloud: no frame could be read, 0 skipped"):
        check_poses(replay(World(0)))
    with pytest.raises(SuperGlueRosError, match=r"none of 2 frames has a pose: .+ frames\)"):
        check_poses(replay(World(2)))


@pytest.mark.parametrize(
    ("motion", "down", "expected"),
    [
        ([1.0, 1.2, 60.0], "y", (0, 2)),  # KITTI: the camera's own axes, z forward
        ([5.0, 4.0, 0.5], "-z", (0, 1)),  # a world whose z is up
        ([0.1, 4.0, 3.0], "y", (1, 2)),  # a lift
        ([0.0, 0.0, 0.0], "y", (0, 2)),
    ],
)
def test_drives_are_seen_from_above(motion, down, expected) -> None:
    rotation = np.eye(3) if down == "y" else np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    poses = [Pose(rotation, share * np.array(motion)) for share in np.linspace(0, 1, 9)]
    assert spanned_axes(trajectory_from_poses(range(9), poses)) == expected
