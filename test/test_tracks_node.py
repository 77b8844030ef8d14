"""tracks_node over DDS: identities against the truth, and what VINS's estimators read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from node_harness import wait_for
from odometry_world import CAMERA, box_of_points, matches_of
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, PointCloud
from std_msgs.msg import Bool

from superglue_ros.demo.node_process import NodeProcess, spinning
from superglue_ros.geometry import normalize_points, project_points
from superglue_ros.msg import Matches, Tracks
from superglue_ros.nodes.conversions import (
    camera_info_message,
    make_header,
    matches_message,
    stamp_to_ns,
)
from superglue_ros.nodes.tracks_messages import tracks_message, vins_message
from superglue_ros.nodes.tracks_options import TracksNodeOptions
from superglue_ros.tracks import FrameTracks, TrackChain, VinsFeatures
from superglue_ros.types import FloatArray, FrameMatches, Pose
from superglue_ros.world import flight_poses

pytestmark = pytest.mark.ros

POSES = flight_poses(60, 10.0)
POINTS = box_of_points(3000, depth=8.0) @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]).T
MATCHES = matches_of(POINTS, POSES, max_age=12)


class Sender(Node):
    """Sends matches and keeps what tracks_node makes of them."""

    def __init__(self) -> None:
        super().__init__("sender")
        quality = QoSProfile(depth=100)
        self.matches = self.create_publisher(Matches, "/matcher_node/matches", quality)
        self.infos = self.create_publisher(CameraInfo, "/camera/camera_info", quality)
        self.tracks: list[Tracks] = []
        self.clouds: list[PointCloud] = []
        self.restarts: list[Bool] = []
        for kind, topic, messages in (
            (Tracks, "/robot1/tracks_node/tracks", self.tracks),
            (PointCloud, "/robot1/feature_tracker/feature", self.clouds),
            (Bool, "/robot1/feature_tracker/restart", self.restarts),
        ):
            self.create_subscription(kind, topic, messages.append, quality)

    def send(self, matches: FrameMatches) -> None:
        header = make_header(matches.stamp_ns, "eye")
        keyframe = make_header(matches.keyframe_stamp_ns, "eye")
        self.matches.publish(matches_message(matches, header, keyframe))

    def send_first(self) -> bool:
        """Whether the first matches are answered: the CameraInfo may come after them."""
        if not self.clouds:
            self.send(MATCHES[0])
            time.sleep(0.2)
        return bool(self.clouds)


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    log = tmp_path_factory.mktemp("tracks") / "tracks.log"
    options = (
        *("-r", "matches:=/matcher_node/matches", "-r", "camera_info:=/camera/camera_info"),
        *("-r", "__ns:=/robot1", "-p", "vins:=mono", "-p", "max_tracks:=100"),
        *("-p", "qos_overrides./camera/camera_info.subscription.reliability:=reliable"),
    )
    rclpy.init()
    node = Sender()
    try:
        with spinning(node), NodeProcess("tracks_node", options, log) as process:
            ends = node.matches, node.infos

            def heard() -> bool:
                process.check()
                there = all(end.get_subscription_count() for end in ends)
                return there and node.count_publishers("/robot1/feature_tracker/restart") == 1

            wait_for(heard, "tracks_node to listen")
            # Without a CameraInfo it has nothing to say.
            node.infos.publish(camera_info_message(CAMERA, make_header(0, "eye")))
            wait_for(node.send_first, "tracks of the first image")
            for matches in MATCHES[1:]:
                count = len(node.clouds)
                node.send(matches)
                wait_for(lambda count=count: len(node.clouds) > count, "its tracks")
            yield node
    finally:
        rclpy.try_shutdown()


def truth(pose: Pose) -> FloatArray:
    return project_points((POINTS - pose.position) @ pose.rotation, CAMERA)


def test_ids_stay_on_their_landmarks(sender: Sender) -> None:
    by_stamp = {stamp_to_ns(message.header.stamp): message for message in sender.tracks}
    assert sorted(by_stamp) == [m.stamp_ns for m in MATCHES]
    on: dict[int, int] = {}
    of: dict[int, int] = {}
    before: set[int] = set()
    kept = stayed = 0
    for number, pose in enumerate(POSES):
        message = by_stamp[MATCHES[number].stamp_ns]
        points = np.array(message.points).reshape(-1, 2)
        assert len(points) == len(message.ids) == len(message.ages) == len(message.confidences)
        distances = np.linalg.norm(points[:, None] - truth(pose)[None], axis=2)
        landmarks = np.nanargmin(distances, axis=1).tolist() if len(points) else []
        for track, landmark in zip(message.ids, landmarks, strict=True):
            assert on.setdefault(track, landmark) == landmark
            if landmark in before:
                stayed += 1
                kept += of[landmark] == track
            of[landmark] = track
        before = set(landmarks)
    assert sum(m.is_keyframe for m in MATCHES) > 3
    assert len(on) > 300
    assert kept / stayed >= 0.95


def test_what_vins_reads(sender: Sender) -> None:
    last: dict[float, tuple[float, FloatArray]] = {}
    seen = 0
    for cloud in sender.clouds:
        assert [channel.name for channel in cloud.channels] == ["id", "u", "v", "vx", "vy"]
        ids, u, v, vx, vy = (np.array(channel.values) for channel in cloud.channels)
        points = np.array([(p.x, p.y, p.z) for p in cloud.points]).reshape(-1, 3)
        assert len(points) == len(ids) <= 100
        assert len(set(ids)) == len(ids)
        assert (points[:, 2] == 1.0).all()
        np.testing.assert_allclose(
            normalize_points(np.stack([u, v], 1), CAMERA), points[:, :2], atol=1e-5
        )
        time_s = stamp_to_ns(cloud.header.stamp) * 1e-9
        for i, number in enumerate(ids):
            if number in last:
                before_s, point = last[number]
                # Never after a gap: the estimators count on tracks without any.
                assert time_s - before_s == pytest.approx(0.1)
                speed = (points[i, :2] - point) / (time_s - before_s)
                np.testing.assert_allclose([vx[i], vy[i]], speed, atol=1e-4)
                seen += 1
            last[number] = time_s, points[i, :2]
    assert seen > 2000


def test_restart_when_ids_begin_anew(sender: Sender) -> None:
    assert not sender.restarts
    count, used = len(sender.clouds), {i for m in sender.tracks for i in m.ids}
    sender.send(replace(MATCHES[-1], keyframe_id=99))
    wait_for(lambda: len(sender.clouds) > count, "tracks of another keyframe")
    wait_for(lambda: sender.restarts, "the word that ids begin anew")
    assert sender.restarts[0].data
    assert sender.tracks[-1].restarted
    assert not used & set(sender.tracks[-1].ids)


def test_channels_of_vins_fusion() -> None:
    features = VinsFeatures(
        np.array([7, 1 << 23]),
        np.array([[0.5, -0.25], [0.0, 1.0]]),
        np.array([[320.0, 200.0], [10.0, 20.0]]),
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        False,
    )
    message = vins_message(features, make_header(1, "eye"), "fusion")
    values = [channel.values.tolist() for channel in message.channels]
    assert values == [
        *([7.0, float(1 << 23)], [0.0, 0.0], [320.0, 10.0], [200.0, 20.0]),
        *([1.0, 3.0], [2.0, 4.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
    ]
    assert [(p.x, p.y, p.z) for p in message.points] == [(0.5, -0.25, 1.0), (0.0, 1.0, 1.0)]


def test_message_of_tracks() -> None:
    tracks: FrameTracks = TrackChain().process(MATCHES[3])
    message = tracks_message(replace(tracks, ids=tracks.ids + (1 << 40)), make_header(1, "eye"))
    assert list(message.ids) == [int(i) + (1 << 40) for i in tracks.ids]
    assert (message.width, message.height) == tracks.image_size
    assert message.restarted


@pytest.mark.parametrize("wrong", [{"vins": "both"}, {"max_tracks": 0}, {"verify": 1}])
def test_options(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TracksNodeOptions(**wrong)  # type: ignore[arg-type]


def test_a_bad_start_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "tracks.log"
    with NodeProcess("tracks_node", ["-p", "vins:=both"], log) as process:
        assert process._process is not None
        assert process._process.wait(60) == 1
    assert "error: vins must be one of none, mono, fusion" in log.read_text()
