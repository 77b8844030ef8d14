"""Collects what the two nodes publish: trajectory, matches, problems."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from rclpy.qos import QoSProfile

from superglue_ros.msg import Matches, OdometryStatus
from superglue_ros.nodes.conversions import matches_from_message, stamp_to_ns
from superglue_ros.nodes.odometry_messages import pose_from_message
from superglue_ros.odometry import TrackingState
from superglue_ros.odometry.base_frame import BaseFrame
from superglue_ros.sources import trajectory_from_poses
from superglue_ros.types import FrameMatches, Pose, Trajectory

QUEUE_SIZE = 1000
CAMERA_IN_ODOM = BaseFrame.of_camera()
"""Of an odometry without a base frame."""


FrameKey: TypeAlias = tuple[int, int]
"""A frame's stamp, and how many frames before had the same one."""


class FrameKeys:
    """Keys of frames that come one after the other."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()

    def next(self, stamp_ns: int) -> FrameKey:
        """The key of the next frame, which has this stamp."""
        key = stamp_ns, self._seen[stamp_ns]
        self._seen[stamp_ns] += 1
        return key


@dataclass
class Recording:
    """What was published, by frame: poses in the core's world, in tracking."""

    matches: dict[FrameKey, FrameMatches] = field(default_factory=dict)
    statuses: dict[FrameKey, OdometryStatus] = field(default_factory=dict)
    poses: dict[FrameKey, Pose] = field(default_factory=dict)
    late_poses: dict[FrameKey, Pose] = field(default_factory=dict)
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)

    def trajectory(self) -> Trajectory:
        """Poses of the tracked frames, and of those before them that were found late."""
        tracked = {
            key: pose
            for key, pose in self.poses.items()
            if key in self.statuses and self.statuses[key].state == TrackingState.TRACKING.value
        }
        poses = {**self.late_poses, **tracked}
        keys = sorted(poses)
        return trajectory_from_poses([key[0] for key in keys], [poses[key] for key in keys])

    def dropped(self, sent: int) -> dict[str, int]:
        """Images that were not matched, by cause, as the matcher's diagnostics count them."""
        values = self.diagnostics.get("/matcher_node", {})
        causes = {
            key.split(": ", 1)[1]: int(value)
            for key, value in values.items()
            if key.startswith(("dropped: ", "problem: "))
        }
        lost = sent - int(values.get("images received", sent))
        return {**causes, "lost on the way": lost} if lost else causes


class Recorder(Node):
    """Listens to the nodes of one camera and keeps what they say in `recording`."""

    def __init__(self, matcher: str = "/matcher_node", odometry: str = "/odometry_node") -> None:
        super().__init__("recorder")
        self.recording = Recording()
        self.diagnostics_count = 0
        self._keys = FrameKeys(), FrameKeys(), FrameKeys()
        quality = QoSProfile(depth=QUEUE_SIZE)
        listened = (
            (Matches, f"{matcher}/matches", self._on_matches),
            (Odometry, f"{odometry}/odometry", self._on_odometry),
            (OdometryStatus, f"{odometry}/status", self._on_status),
            (Path, f"{odometry}/path", self._on_path),
            (DiagnosticArray, "/diagnostics", self._on_diagnostics),
        )
        for kind, topic, callback in listened:
            self.create_subscription(kind, topic, callback, quality)

    def _on_matches(self, message: Matches) -> None:
        matches = matches_from_message(message)
        self.recording.matches[self._keys[0].next(matches.stamp_ns)] = matches

    def _on_odometry(self, message: Odometry) -> None:
        pose = CAMERA_IN_ODOM.camera_pose(pose_from_message(message.pose.pose))
        self.recording.poses[self._keys[1].next(stamp_to_ns(message.header.stamp))] = pose

    def _on_status(self, message: OdometryStatus) -> None:
        self.recording.statuses[self._keys[2].next(stamp_to_ns(message.header.stamp))] = message

    def _on_path(self, message: Path) -> None:
        """Poses of frames before tracking began come with the path only."""
        keys = FrameKeys()
        for stamped in message.poses:
            key = keys.next(stamp_to_ns(stamped.header.stamp))
            if key not in self.recording.late_poses:
                pose = CAMERA_IN_ODOM.camera_pose(pose_from_message(stamped.pose))
                self.recording.late_poses[key] = pose

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.diagnostics_count += 1
        for status in message.status:
            self.recording.diagnostics[status.name] = values_of(status)


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    """The values of one diagnostics status, by key."""
    return {value.key: value.value for value in status.values}
