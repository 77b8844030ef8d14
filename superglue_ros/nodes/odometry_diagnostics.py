"""What odometry_node says of itself in /diagnostics."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from superglue_ros.nodes.health import Milliseconds, Problems, Rate, diagnostics
from superglue_ros.odometry import OdometryEstimate, TrackingState


class OdometryDiagnostics:
    """Counts what comes, and publishes it with the last estimate when asked to.

    received: of messages; problems: each dropped message is one; refusal: why the last message
    gave no estimate, "" where it gave one; camera_received: whether there has been a CameraInfo.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.problems = Problems(node.get_logger().warning)
        self.received = Rate()
        self.refusal = ""
        self.camera_received = False
        self._estimate_ms = Milliseconds()
        self._last: OdometryEstimate | None = None

    def add(self, estimate: OdometryEstimate, elapsed_ms: float) -> None:
        """Take in an estimate, made in so long."""
        self._last, self.refusal = estimate, ""
        self._estimate_ms.add(elapsed_ms)

    def publish(self, state: str, depth: Rate | None) -> None:
        """Publish the values, and the worst of what is wrong now; depth: of its images."""
        last = self._last
        values: dict[str, object] = {
            "messages received": self.received.count,
            "rate [Hz]": f"{self.received.per_second():.2f}",
            "estimate": self._estimate_ms,
            "camera_info": "received" if self.camera_received else "none yet",
            "state": state or "no estimate yet",
            "reason": self.refusal or (last.reason if last else ""),
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
        if self.refusal:
            return self.refusal
        tracking = self._last is not None and self._last.state is TrackingState.TRACKING
        return "" if tracking else "not tracking"
