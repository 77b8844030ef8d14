"""A real drive as a rosbag2 through both node processes, and the same without ROS."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

from superglue_ros.demo.demo import DEPTH_TOPIC, LISTENERS, play, recorded_bag
from superglue_ros.demo.player import Playback
from superglue_ros.evaluation.trajectory import path_length
from superglue_ros.matching import ImageMatcher, KeyframeMatcher
from superglue_ros.odometry import VisualOdometry
from superglue_ros.replay.run import run_replay
from superglue_ros.sources import open_source, write_bag

pytestmark = [pytest.mark.ros, pytest.mark.shared, pytest.mark.slow]

OPTIONS = {
    "device": "cpu",
    "precision": "float32",
    "max_keypoints": 512,
    "sinkhorn_iterations": 20,
    "resize": 512,
}


@pytest.mark.parametrize(
    ("sequence", "frames", "depth_topic"),
    [("kitti_06", 25, None), ("tum_fr1_rpy_a", 12, DEPTH_TOPIC)],
)
def test_nodes_over_dds_agree_with_the_offline_replay(
    shared_data: Path, tmp_path: Path, sequence: str, frames: int, depth_topic: str | None
) -> None:
    recorded = islice(open_source(shared_data / sequence), frames)
    assert write_bag(tmp_path / "bag", recorded, depth_topic=depth_topic) == frames
    bag, _, _ = recorded_bag(tmp_path / "bag", tmp_path, depth_topic=depth_topic)
    source = open_source(bag, depth_topic=depth_topic)
    parameters = [word for name, value in OPTIONS.items() for word in ("-p", f"{name}:={value}")]
    playback = Playback(float("inf"), max_ahead=1, listeners=LISTENERS)
    recording, sent, _ = play(source, tmp_path, playback, parameters)

    matcher = KeyframeMatcher(ImageMatcher(**OPTIONS))  # type: ignore[arg-type]
    odometry = VisualOdometry(use_depth=depth_topic is not None)
    offline = run_replay(source, matcher, odometry)

    assert sent == len(recording.matches) == len(offline.records) == frames
    for record, (key, found) in zip(offline.records, recording.matches.items()):
        assert found.stamp_ns == record.stamp_ns
        assert found.is_keyframe == record.is_keyframe
        assert len(found) == record.num_matches
        status = recording.statuses[key]
        assert status.scale_is_metric == odometry.use_depth
        # A depth image may come after the matches, which then do without it.
        assert status.state == record.state or odometry.use_depth
    online = recording.trajectory()
    if odometry.use_depth:
        shared, first, second = np.intersect1d(
            online.stamps_ns, offline.trajectory.stamps_ns, return_indices=True
        )
        assert len(shared) >= frames - 4
        moved = online.positions[first] - offline.trajectory.positions[second]
        assert np.linalg.norm(moved - moved[0], axis=1).max() < 0.03  # metres
        return
    np.testing.assert_array_equal(online.stamps_ns, offline.trajectory.stamps_ns)
    assert len(online) >= frames - 5
    apart = np.linalg.norm(online.positions - offline.trajectory.positions, axis=1)
    # The networks' sums may differ in their last bits; nothing else does.
    assert apart.max() < 0.01 * path_length(offline.trajectory.positions)
