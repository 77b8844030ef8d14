"""Tracks of a rendered flight over DDS: our networks match, the rendered surfaces judge."""

from __future__ import annotations

import array
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from node_harness import TOPICS, Harness, wait_for

from superglue_ros.demo.node_process import NodeProcess, spinning
from superglue_ros.evaluation.tracks import TrackTruth
from superglue_ros.msg import Tracks
from superglue_ros.networks.checkpoints import shipped_path
from superglue_ros.nodes.conversions import (
    camera_info_message,
    image_message,
    make_header,
    stamp_to_ns,
)
from superglue_ros.world import render_flight

pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(not shipped_path("superglue").is_file(), reason="no shipped weights yet"),
]

FRAMES = 20
MATCHER = (
    *("-p", "device:=cpu", "-p", "precision:=float32", "-p", "max_keypoints:=400"),
    *("-p", "max_age_s:=0.7"),
)
TRACKS = (*TOPICS, "-p", "verify:=true")


def test_ids_stay_on_their_surfaces(tmp_path: Path) -> None:
    flown = list(render_flight(FRAMES, 320, 240, gray=True, start_ns=1_000_000_000))
    camera = flown[0].frame.camera
    assert camera is not None
    rclpy.init()
    harness = Harness()
    tracks: list[Tracks] = []
    harness.listen(Tracks, "/tracks_node/tracks", tracks)
    try:
        with (
            spinning(harness),
            NodeProcess("matcher_node", (*TOPICS, *MATCHER), tmp_path / "m.log") as matcher,
            NodeProcess("tracks_node", TRACKS, tmp_path / "t.log") as node,
        ):
            harness.wait_until_heard(matcher, node)
            for frame in flown:
                count, header = len(tracks), make_header(frame.frame.stamp_ns, "eye")
                harness.infos.publish(camera_info_message(camera, header))
                harness.images.publish(image_message(frame.frame.image, header))
                wait_for(lambda count=count: len(tracks) > count, "tracks of an image")
                matcher.check()
                node.check()
    finally:
        rclpy.try_shutdown()
    assert [stamp_to_ns(m.header.stamp) for m in tracks] == [f.frame.stamp_ns for f in flown]
    assert sum(m.is_keyframe for m in harness.matches) >= 3
    truth = TrackTruth(camera)
    for message, frame in zip(tracks, flown, strict=True):
        points = np.frombuffer(array.array("f", message.points), np.float32).reshape(-1, 2)
        ids = np.array(message.ids, np.int64)
        assert len(set(message.ids)) == len(ids)
        truth.see(ids, points, frame.pose, frame.depth)
    scores = truth.scores()
    assert scores.num_sightings > 200 * FRAMES
    assert scores.kept_percent >= 95
    assert scores.errors_px[0] < 1
    # Wrong matches that are on their epipolar line and move as what is beside them: 5 of 598.
    assert scores.num_tracks_astray <= 0.02 * scores.num_tracks
    assert scores.num_astray <= 0.01 * scores.num_sightings
