"""Stereo pairs of bags, rectified as they are or by their CameraInfo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore
from test_rectification import BASELINE_M, SIZE, TURNS, as_taken, cameras

from superglue_ros.errors import SourceError
from superglue_ros.geometry.rectification import rectify_pair
from superglue_ros.matching.stereo import find_right_points
from superglue_ros.sources import open_source, write_bag
from superglue_ros.sources.bag_writer import _camera_info, _header, _image
from superglue_ros.types import Frame, Pose
from superglue_ros.world import render_flight

LEFT, RIGHT = "/left/image_raw", "/right/image_raw"


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    flight = render_flight(3, *SIZE, start_ns=10**18, gray=True, baseline_m=BASELINE_M)
    return [flown.frame for flown in flight]


def written(path: Path, frames: list[Frame]) -> Path:
    topics = {"image_topic": LEFT, "info_topic": "/left/camera_info", "right_topic": RIGHT}
    assert write_bag(path, frames, **topics) == len(frames)
    return path


def test_a_rectified_pair_is_left_as_it_is(tmp_path: Path, frames: list[Frame]) -> None:
    source = open_source(written(tmp_path / "bag", frames), topic=LEFT, right_topic=RIGHT)
    assert (source.is_stereo, source.has_depth, len(source)) == (True, False, 3)
    for _ in range(2):
        found = list(source)
        assert [frame.stamp_ns for frame in found] == [frame.stamp_ns for frame in frames]
        for frame, true in zip(found, frames):
            np.testing.assert_array_equal(frame.image, true.image)
            np.testing.assert_array_equal(frame.right, true.right)
            assert frame.baseline_m == pytest.approx(BASELINE_M)
            assert frame.camera == source.camera
    assert source.skipped == 0


def test_a_frame_without_its_right_image_comes_alone(tmp_path: Path, frames: list[Frame]) -> None:
    frames = [frames[0], replace(frames[1], right=None), frames[2]]
    source = open_source(written(tmp_path / "bag", frames), topic=LEFT, right_topic=RIGHT)
    found = list(source)
    assert [frame.right is not None for frame in found] == [True, False, True]
    assert [frame.baseline_m is not None for frame in found] == [True, False, True]


def write_raw(path: Path, frames: list[Frame], change: Callable[[Any], None]) -> Path:
    """A bag as two turned cameras with lenses record it, with full CameraInfo."""
    store = get_typestore(Stores.ROS2_JAZZY)
    taken = cameras("plumb_bob")
    poses = [Pose(TURNS[i], np.array([i * BASELINE_M, 0, 0])) for i in range(2)]
    there = rectify_pair(*taken, poses[0].inverse() @ poses[1])
    # Both from their own axes over the rig's into the rectified ones.
    turns = there.left_rotation, there.left_rotation @ TURNS[0].T @ TURNS[1]
    with Writer(path, version=Writer.VERSION_LATEST) as bag:
        for side, topic in enumerate((LEFT, RIGHT)):
            kinds = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo")
            names = (topic, topic.rpartition("/")[0] + "/camera_info")
            image_out, info_out = (
                bag.add_connection(name, kind, typestore=store) for name, kind in zip(names, kinds)
            )
            for frame in frames:
                assert frame.camera is not None
                assert frame.right is not None
                header = _header(store, frame)
                picture = (frame.image, frame.right)[side]
                pixels = as_taken(picture, frame.camera, taken[side], TURNS[side])
                info = _camera_info(store, header, taken[side])
                info.r[:] = turns[side].ravel()
                info.p[:] = np.hstack([there.camera.matrix, np.zeros((3, 1))]).ravel()
                info.p[3] = -side * there.camera.matrix[0, 0] * BASELINE_M
                if side:
                    change(info)
                for connection, kind, message in zip(
                    (info_out, image_out), kinds[::-1], (info, _image(store, header, pixels))
                ):
                    bag.write(connection, frame.stamp_ns, store.serialize_cdr(message, kind))
    return path


def test_a_raw_pair_is_rectified_by_its_camera_info(tmp_path: Path, frames: list[Frame]) -> None:
    bag = write_raw(tmp_path / "bag", frames, lambda info: None)
    source = open_source(bag, topic=LEFT, right_topic=RIGHT)
    for frame in source:
        assert frame.right is not None
        assert frame.camera is not None
        assert frame.camera.model == "none"
        x, y = np.meshgrid(np.arange(60, 310, 7), np.arange(20, 220, 7))
        points = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
        found = find_right_points(frame.image, frame.right, points)
        assert np.isfinite(found[:, 0]).mean() > 0.9
        assert abs(np.nanmedian(found[:, 1] - points[:, 1])) < 0.05
    # As it is, nothing of it is found where it ought to be.
    plain = open_source(bag, topic=LEFT)
    assert plain.camera.model == "plumb_bob"


def test_what_is_no_pair_is_said(tmp_path: Path, frames: list[Frame]) -> None:
    def no_baseline(info: Any) -> None:
        info.p[3] = 0.0

    def other_camera(info: Any) -> None:
        info.p[2] += 3.0

    for number, (change, words) in enumerate(
        [
            (no_baseline, "CameraInfo of /right/image_raw: P\\[3\\] is 0, not -fx"),
            (other_camera, "P of /left/image_raw and of /right/image_raw differ"),
        ]
    ):
        bag = write_raw(tmp_path / str(number), frames[:1], change)
        with pytest.raises(SourceError, match=words):
            open_source(bag, topic=LEFT, right_topic=RIGHT)
    with pytest.raises(SourceError, match="--right-topic needs --topic"):
        open_source(bag, right_topic=RIGHT)
    with pytest.raises(SourceError, match="no image topic /elsewhere/image"):
        open_source(bag, topic=LEFT, right_topic="/elsewhere/image")
    with pytest.raises(SourceError, match="is no bag and has no topics"):
        open_source(tmp_path, right_topic=RIGHT)
