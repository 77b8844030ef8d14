"""What matcher_node says of itself in /diagnostics."""

from __future__ import annotations

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from superglue_ros.matching import ImageMatcher
from superglue_ros.nodes.health import OVERHEAD, Milliseconds, Problems, Rate, diagnostics
from superglue_ros.sources import GrayRange
from superglue_ros.types import FrameMatches

REPLACED = "a newer image came"
"""Cause of the drops that are as they should be: the newest image wins."""


class MatcherDiagnostics:
    """Counts what comes and goes, and publishes it when asked to.

    gray: what makes the images 8 bit; received, matched: of images, and what came is matched,
    dropped or waits; search: of right images; problems: by cause; num_camera_infos: CameraInfos
    that came, num_unusable_infos: how many of them were unusable, which is no problem here.
    """

    def __init__(self, node: Node, gray: GrayRange) -> None:
        self._node, self._gray = node, gray
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.problems = Problems(node.get_logger().warning)
        self.received, self.matched = Rate(), Rate()
        # Each is counted in one thread only.
        self._num_replaced, self._num_failed, self._num_others = 0, 0, 0
        self.num_camera_infos, self.num_unusable_infos = 0, 0
        self._latency, self._overhead = Milliseconds(), Milliseconds()
        self._extract, self._match = Milliseconds(), Milliseconds()
        self.search = Milliseconds()
        self._last: FrameMatches | None = None
        self._problems_before, self._matched_before = 0, 0

    def count_replaced(self) -> None:
        """Count an image that a newer one made room for, which is as it should be."""
        self.problems.count(REPLACED)
        self._num_replaced += 1

    def drop_other(self, cause: str, text: str) -> None:
        """Count an image that comes and is not taken in, as another camera's, and report it."""
        self.received.tick()
        self.problems.report(cause, text)
        self._num_others += 1

    def drop(self, cause: str, text: str) -> None:
        """Count an image that cannot be matched, and report it."""
        self.problems.report(cause, text)
        self._num_failed += 1

    def add(self, matches: FrameMatches, latency_ms: float) -> None:
        """Take in a result, published so long after its image came."""
        self._last = matches
        self._extract.add(matches.extract_ms)
        self._match.add(matches.match_ms)
        self._latency.add(latency_ms)
        self._overhead.add(latency_ms - matches.extract_ms - matches.match_ms)

    def publish(self, matcher: ImageMatcher, listeners: int) -> None:
        """Publish the values, and the worst of what is wrong since the last call."""
        problem, failing = self._judge()
        stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_fully_qualified_name()
        values = self._values(matcher, listeners)
        if not problem and self.matched.count and self._gray.few:
            problem = f"images use {self._gray} grey levels"
        self._publisher.publish(diagnostics(stamp, name, matcher.device, problem, values, failing))

    def _judge(self) -> tuple[str, bool]:
        """What is wrong, "" for nothing, and whether nothing is matched any more."""
        wrong = sum(n for cause, n in self.problems.counts.items() if cause != REPLACED)
        new, matched = wrong - self._problems_before, self.matched.count - self._matched_before
        self._problems_before, self._matched_before = wrong, self.matched.count
        if new:
            return f"{new} new problems", matched == 0
        if silent_s := self.received.silent_s():
            return f"no image for {silent_s:.0f} s", False
        return "" if self.received.count else "no image yet", False

    def _values(self, matcher: ImageMatcher, listeners: int) -> dict[str, object]:
        last = self._last
        counts = {
            f"problem: {cause}" if cause != REPLACED else "dropped: " + REPLACED: n
            for cause, n in self.problems.counts.items()
        }
        return {
            "images received": self.received.count,
            "images matched": self.matched.count,
            "images dropped": self._num_replaced + self._num_failed + self._num_others,
            "rate in [Hz]": f"{self.received.per_second():.2f}",
            "rate out [Hz]": f"{self.matched.per_second():.2f}",
            "latency": self._latency,
            OVERHEAD: self._overhead,
            "extract": self._extract,
            "match": self._match,
            "search of a right image": self.search,
            "listeners": listeners,
            "matches": len(last) if last is not None else 0,
            "features": last.num_features if last is not None else 0,
            "right points": self._right_points(),
            "grey levels": self._gray,
            "keyframe": last.keyframe_id if last is not None else 0,
            "camera_info": "received" if self.num_camera_infos else "none yet",
            "camera_infos received": self.num_camera_infos,
            "camera_infos unusable": self.num_unusable_infos,
            "device": matcher.device,
            "precision": matcher.precision,
            "model": matcher.model,
            "weights": matcher.weights_hash,
            **counts,
        }

    def _right_points(self) -> int:
        """Of the last matches, those that are found in the keyframe's right image."""
        right = self._last.keyframe_right_points if self._last is not None else None
        return 0 if right is None else int(np.isfinite(right[:, 0]).sum())
