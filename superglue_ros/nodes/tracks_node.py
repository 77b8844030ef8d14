"""Matches in, tracks out: for trackers' consumers, and for VINS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, PointCloud
from std_msgs.msg import Bool, Header

from superglue_ros.errors import CameraError, MessageError
from superglue_ros.geometry import check_camera, check_camera_fits
from superglue_ros.msg import Matches, Tracks
from superglue_ros.nodes.camera_infos import CameraInfos
from superglue_ros.nodes.conversions import matches_from_message
from superglue_ros.nodes.health import (
    Problems,
    Rate,
    diagnose_regularly,
    diagnostics,
)
from superglue_ros.nodes.parameters import NodeParameters
from superglue_ros.nodes.running import run_node
from superglue_ros.nodes.subscribing import CameraInfoSubscription, subscribe
from superglue_ros.nodes.tracks_messages import tracks_message, vins_message
from superglue_ros.nodes.tracks_options import TracksNodeOptions
from superglue_ros.nodes.watchdog import TopicWatchdog
from superglue_ros.tracks import FrameTracks, TrackChain, VinsTracker, agree_with_one_motion
from superglue_ros.types import BoolArray, CameraModel, FrameMatches

MATCHES_QUEUE_SIZE = 50
VINS_TOPIC = "feature_tracker/feature"
VINS_RESTART_TOPICS = {"mono": "feature_tracker/restart", "fusion": "vins_restart"}


class TracksNode(Node):
    """Chains each Matches message to the ones before.

    Subscribes matches, and camera_info where options need it; publishes ~/tracks, with `vins` the
    topics that its estimator listens to, and /diagnostics. Raises ValueError where its parameters
    do not suit.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("tracks_node", **options)
        self._options = NodeParameters(self, fixed=[TracksNodeOptions]).get(TracksNodeOptions)
        self._chain = TrackChain()
        self._problems = Problems(self.get_logger().warning)
        self._received = Rate()
        self._infos = CameraInfos(self._problems.report, self._options.rectified)
        self._refusal = ""
        self._last: FrameTracks | None = None
        self._tracks_out = self.create_publisher(Tracks, "~/tracks", MATCHES_QUEUE_SIZE)
        self._diagnostics_out = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._vins: VinsTracker | None = None
        if self._options.vins != "none":
            self._vins = VinsTracker(self._options.max_tracks)
            restart = VINS_RESTART_TOPICS[self._options.vins]
            self._vins_out = self.create_publisher(PointCloud, VINS_TOPIC, MATCHES_QUEUE_SIZE)
            self._restart_out = self.create_publisher(Bool, restart, MATCHES_QUEUE_SIZE)
        self._listen()
        diagnose_regularly(self, self._check_topics)

    def _listen(self) -> None:
        self._watchdog = TopicWatchdog(self, "matches", Matches, from_matcher=True)
        subscribe(self, Matches, "matches", self._on_matches, MATCHES_QUEUE_SIZE)
        if self._options.needs_camera:
            CameraInfoSubscription(self, "camera_info", self._on_camera_info)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._infos.add(message)

    def _on_matches(self, message: Matches) -> None:
        self._received.tick()
        try:
            matches = matches_from_message(message)
            needed = self._options.needs_camera
            camera = self._infos.of(matches.frame_id) if needed else None
            agree = self._verified(matches, camera) if needed else None
            tracks = self._chain.process(matches, agree)
            self._tracks_out.publish(tracks_message(tracks, message.header))
            if self._vins is not None and camera is not None:
                self._publish_to_vins(self._vins, camera, tracks, message.header)
        except (MessageError, CameraError) as error:
            # The tracks of a keyframe that is missed end; the next one begins others.
            self._refusal = str(error)
            self._problems.report(str(error), f"no tracks: {error}")
            return
        self._last, self._refusal = tracks, ""

    def _verified(self, matches: FrameMatches, camera: CameraModel | None) -> BoolArray:
        """(M,) matches that agree with one motion; CameraError where that cannot be said."""
        if camera is None:
            topic = self.resolve_topic_name("camera_info")
            raise CameraError(f"no CameraInfo on {topic} yet")
        check_camera(camera)
        check_camera_fits(camera, matches.image_size)
        threshold_px = self._options.epipolar_threshold_px
        return agree_with_one_motion(matches, camera, threshold_px)

    def _publish_to_vins(
        self, vins: VinsTracker, camera: CameraModel, tracks: FrameTracks, header: Header
    ) -> None:
        features = vins.process(tracks, camera)
        if features.restart:
            self._restart_out.publish(Bool(data=True))
        self._vins_out.publish(vins_message(features, header, self._options.vins))

    def _check_topics(self) -> None:
        if not self._received.count:
            self._watchdog.check()
        last = self._last
        values: dict[str, object] = {
            "messages received": self._received.count,
            "rate [Hz]": f"{self._received.per_second():.2f}",
            "tracks": len(last) if last else 0,
            "oldest track [frames]": int(last.ages.max(initial=0)) if last else 0,
            "camera_info": "received" if self._infos else "none yet",
        }
        if not self._options.needs_camera:
            values["camera_info"] = "not needed"
        counts = self._problems.counts
        values.update({f"problem: {cause}": n for cause, n in counts.items()})
        problem = self._refusal
        if silent_s := self._received.silent_s():
            problem = f"no matches for {silent_s:.0f} s"
        elif not self._received.count:
            problem = "no matches yet"
        stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name()
        self._diagnostics_out.publish(diagnostics(stamp, name, "", problem, values))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(TracksNode, arguments)
