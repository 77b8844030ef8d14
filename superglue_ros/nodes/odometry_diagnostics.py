"""What odometry_node says of itself in /diagnostics."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from superglue_ros.nodes.health import Milliseconds, Problems, Rate, diagnostics, shortened
from superglue_ros.odometry import OdometryEstimate, TrackingState


class OdometryDiagnostics:
    """Counts what comes, and publishes it with the last estimate when asked to.

    received: of messages, and what came is estimated, dropped or waits; problems: by cause;
    num_camera_infos, num_unusable_infos: those that came, and how many of them were unusable.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.problems = Problems(node.get_logger().warning)
        self.received = Rate()
        self._refusal = ""
        self._num_estimated, self._num_dropped = 0, 0
        self.num_camera_infos, self.num_unusable_infos = 0, 0
        self._estimate_ms = Milliseconds()
        self._last: OdometryEstimate | None = None

    def add(self, estimate: OdometryEstimate, elapsed_ms: float) -> None:
        """Take in an estimate, made in so long."""
        self._last, self._refusal = estimate, ""
        self._num_estimated += 1
        self._estimate_ms.add(elapsed_ms)

    def drop(self, cause: str, text: str, why: str = "") -> None:
        """Count a message that gives no estimate, and report it; why: where that is no cause of
        its own."""
        self._refusal = shortened(why or cause)
        self._num_dropped += 1
        self.problems.report(cause, text)

    def drop_waiting(self, count: int = 1) -> None:
        """Count messages that waited until too many did, or all was started anew."""
        self._num_dropped += count
        for _ in range(count):
            text = "messages dropped that waited to be estimated"
            self.problems.report("waited in vain", text)

    def publish(self, state: str, depth: Rate | None) -> None:
        """Publish the values, and the worst of what is wrong now; depth: of its images."""
        last = self._last
        values: dict[str, object] = {
            "messages received": self.received.count,
            "messages estimated": self._num_estimated,
            "messages dropped": self._num_dropped,
            "rate [Hz]": f"{self.received.per_second():.2f}",
            "estimate": self._estimate_ms,
            "camera_info": "received" if self.num_camera_infos else "none yet",
            "camera_infos received": self.num_camera_infos,
            "camera_infos unusable": self.num_unusable_infos,
            "state": state or "no estimate yet",
            "reason": self._refusal or (last.reason if last else ""),
            "inliers": last.num_inliers if last else 0,
            "matches": last.num_matches if last else 0,
            "scale is metric": last.scale_is_metric if last else False,
        }
        if depth is not None:
            values["depth images received"] = depth.count
            values["depth rate [Hz]"] = f"{depth.per_second():.2f}"
        values.update({f"problem: {cause}": n for cause, n in self.problems.counts.items()})
        stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_fully_qualified_name()
        self._publisher.publish(diagnostics(stamp, name, "", self._problem(depth), values))

    def _problem(self, depth: Rate | None) -> str:
        if not self.received.count:
            return "no matches yet"
        if silent_s := self.received.silent_s():
            return f"no matches for {silent_s:.0f} s"
        if depth is not None and (silent_s := depth.silent_s()):
            return f"no depth for {silent_s:.0f} s"
        if self._refusal:
            return self._refusal
        tracking = self._last is not None and self._last.state is TrackingState.TRACKING
        return "" if tracking else "not tracking"
