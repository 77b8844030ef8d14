"""Both nodes as processes over DDS: what they publish, to whom, and how they start and end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
import torch
from nav_msgs.msg import Path as PathMessage
from node_harness import (
    HEIGHT,
    SMALL,
    TOPICS,
    WIDTH,
    Harness,
    camera_info,
    depth_image,
    image,
    textured,
    wait_for,
)
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from superglue_ros.demo.node_process import NodeProcess, spinning
from superglue_ros.matching import KeyframeMatcher
from superglue_ros.msg import Features, Matches, OdometryStatus
from superglue_ros.nodes import matcher_node, subscribing, watchdog
from superglue_ros.nodes.conversions import (
    features_from_message,
    make_header,
    matches_from_message,
)
from superglue_ros.nodes.matcher_node import MOST_FAILURES, MatcherNode
from superglue_ros.nodes.odometry_node import OdometryNode
from superglue_ros.nodes.running import run_node
from superglue_ros.nodes.subscribing import ImageSubscription
from superglue_ros.types import Frame

pytestmark = pytest.mark.ros

S = 1_000_000_000


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory, harness: Harness) -> Iterator[NodeProcess]:
    log = tmp_path_factory.mktemp("nodes") / "matcher.log"
    with NodeProcess("matcher_node", [*TOPICS, *SMALL], log) as node:
        harness.wait_until_heard(node)
        yield node


def test_told_to_stop_between_two_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before those that share the harness, as a node of this process starts and ends ROS."""

    def spin(node: Node) -> None:
        if node.get_name() == "stopped":
            rclpy.shutdown()
        raise RuntimeError("failed to initialize wait set")

    monkeypatch.setattr(rclpy, "spin", spin)
    assert run_node(lambda: Node("stopped"), []) == 0
    with pytest.raises(RuntimeError, match="wait set"):
        run_node(lambda: Node("broken"), [])


def test_a_matcher_that_only_fails_ends_with_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(matcher: KeyframeMatcher, frame: Frame) -> None:
        if frame.stamp_ns == 0:
            raise torch.OutOfMemoryError("not now")
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def send(node: MatcherNode) -> None:
        for sent, stamp_ns in enumerate([0] * (MOST_FAILURES + 1) + [1] * MOST_FAILURES):
            wait_for(lambda sent=sent: sum(node._problems.counts.values()) == sent, "the worker")
            node._on_image(image(stamp_ns))

    def make() -> MatcherNode:
        node = MatcherNode()
        threading.Thread(target=send, args=(node,), daemon=True).start()
        return node

    monkeypatch.setattr(KeyframeMatcher, "process", fail)
    assert run_node(make, ["--ros-args", *SMALL]) == 1
    said = capfd.readouterr().err
    assert f"{MOST_FAILURES} failures in a row, the last CUDA error: an illegal memory" in said


def test_a_topic_on_which_nothing_comes_is_said(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.0)
    monkeypatch.setattr(watchdog, "REMIND_S", 0.0)
    node = Node("waiting")

    def said(topic: str, kind: type) -> str:
        watchdog.TopicWatchdog(node, topic, kind).check()
        lines = [line for line in capfd.readouterr().err.splitlines() if " yet: " in line]
        assert len(lines) == 1
        return lines[0].partition(f"no sensor_msgs/msg/{kind.__name__} on {topic} yet: ")[2]

    nobody = "nobody publishes there"
    assert said("/nothing_here/image", CameraInfo).startswith(nobody)
    squeezed = harness.create_publisher(CompressedImage, "/nothing_here/image", 1)
    wait_for(lambda: node.get_publishers_info_by_topic("/nothing_here/image"), "the publisher")
    there = "sensor_msgs/msg/CompressedImage is published there"
    assert said("/nothing_here/image", Image) == there
    where = ", but on /nothing_here/image (sensor_msgs/msg/CompressedImage)"
    assert said("/nothing_here/image/compressed", CompressedImage) == nobody + where
    harness.destroy_publisher(squeezed)

    # Beside it, what is awaited; where that is nowhere near, wherever it is.
    publishers = [
        harness.create_publisher(kind, f"/nothing_here/{name}", 1)
        for kind, name in ((Image, "image_raw"), (CameraInfo, "info"), (PathMessage, "path"))
    ]
    wait_for(lambda: node.count_publishers("/nothing_here/path"), "the publishers")
    wait_for(lambda: not node.count_publishers("/nothing_here/image"), "the end of the first")
    for near, kind, name in (
        ("/nothing_here/image", Image, "image_raw"),
        ("/nothing_here/camera_info", CameraInfo, "info"),
        ("/elsewhere/path", PathMessage, "path"),
    ):
        meant = f"/nothing_here/{name} ({kind.__module__.split('.')[0]}/msg/{kind.__name__})"
        watchdog.TopicWatchdog(node, near, kind).check()
        assert f"{near} yet: {nobody}, but on {meant}\n" in capfd.readouterr().err
    monkeypatch.setattr(watchdog, "REMIND_S", 30.0)
    awaited = watchdog.TopicWatchdog(node, "/elsewhere/image", Image)
    awaited.check()
    assert "yet" in capfd.readouterr().err
    awaited.check()
    assert "yet" not in capfd.readouterr().err
    for publisher in publishers:
        harness.destroy_publisher(publisher)
    node.destroy_node()


def test_a_matcher_that_loads_is_waited_for(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It publishes from its start on, and listens to images once it is warm."""
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.0)
    monkeypatch.setattr(watchdog, "REMIND_S", 0.0)
    warm = threading.Event()
    monkeypatch.setattr(matcher_node, "warm_up", lambda core: warm.wait(60.0))
    odometry = OdometryNode(cli_args=["--ros-args", "-r", "matches:=/loading/matches"])

    def said() -> str:
        odometry._check_topics()
        return "".join(
            line for line in capfd.readouterr().err.splitlines() if "/loading/matches yet" in line
        )

    assert said() == ""  # it may still import torch
    names = ["--ros-args", "-r", "__node:=loading", "-r", "image:=/loading_image", *SMALL]
    made: list[MatcherNode] = []
    loading = threading.Thread(
        target=lambda: made.append(MatcherNode(cli_args=names)), name="loading"
    )
    loading.start()
    wait_for(lambda: odometry.count_publishers("/loading/matches"), "the matcher to be there")
    for _ in range(3):
        assert said() == ""
    warm.set()
    loading.join()
    try:
        heard = "/loading/matches yet: 1 publishers have sent none"
        wait_for(lambda: heard in said(), "the line, as it is ready and sends none")
    finally:
        made[0].close()
        made[0].destroy_node()
    wait_for(lambda: not odometry.count_publishers("/loading/matches"), "its end")
    wait_for(lambda: "nobody publishes there" in said(), "the line, as it is gone")
    odometry.destroy_node()
    monkeypatch.setattr(watchdog, "IMPORT_S", 0.0)
    alone = watchdog.TopicWatchdog(harness, "/nowhere/matches", Matches, from_matcher=True)
    alone.check()
    assert "/nowhere/matches yet: nobody publishes there" in capfd.readouterr().err


def test_a_camera_info_that_was_sent_once_is_heard(harness: Harness) -> None:
    """And one that is sent again and again still is, whose sender is not bothered."""
    kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    topic = "/latched/camera_info"
    matches = ["-r", "matches:=/matcher_node/matches"]
    odometry = OdometryNode(cli_args=["--ros-args", "-r", f"camera_info:={topic}", *matches])

    def heard() -> float | None:
        camera = odometry._infos.of("eye")
        return None if camera is None else float(camera.matrix[0, 0])

    with spinning(odometry):
        plain = harness.create_publisher(CameraInfo, topic, qos_profile_sensor_data)
        wait_for(plain.get_subscription_count, "the odometry to listen")

        def hears(publisher: Publisher, focal: float) -> bool:
            publisher.publish(camera_info(1, focal))
            return heard() == focal

        wait_for(lambda: hears(plain, 140.0), "a CameraInfo of a stream")
        odometry._check_topics()
        assert len(harness.get_subscriptions_info_by_topic(topic)) == 1
        once = harness.create_publisher(CameraInfo, topic, kept)
        once.publish(camera_info(2, 150.0))
        wait_for(lambda: heard() == 150.0, "the latched CameraInfo")
        wait_for(lambda: hears(plain, 160.0), "the stream once more")
    harness.destroy_publisher(plain)
    harness.destroy_publisher(once)


def test_costly_topics_only_for_listeners(harness: Harness, matcher: NodeProcess) -> None:
    first = harness.send_and_match(image(1 * S))
    assert first.keyframe_id == 0
    assert first.is_keyframe
    assert first.header == first.keyframe_header
    assert first.header.frame_id == "eye"
    assert not harness.features
    features = harness.listen(Features, "/matcher_node/features", harness.features)
    harness.listen(Image, "/matcher_node/match_picture", harness.pictures)
    wait_for(lambda: harness.count_publishers("/matcher_node/features"), "the features' topic")

    def heard() -> bool:
        harness.send_and_match(image(2 * S))
        return bool(harness.features and harness.pictures)

    wait_for(heard, "features and a picture")
    moved = harness.send_and_match(image(3 * S, textured(4)), matcher)
    wait_for(lambda: harness.features[-1].header.stamp.sec == 3, "its features")
    found, listed = matches_from_message(moved), features_from_message(harness.features[-1])
    assert found.keyframe_stamp_ns == 1 * S
    assert len(found) > 20
    np.testing.assert_array_equal(listed.keypoints[found.indices], found.points)
    np.testing.assert_allclose(np.linalg.norm(listed.descriptors, axis=1), 1, atol=1e-3)
    shifts = np.median(found.points - found.keyframe_points, axis=0)
    np.testing.assert_allclose(shifts, [-4, 0], atol=0.5)
    assert harness.pictures[-1].encoding == "bgr8"
    assert moved.weights_hash
    harness.destroy_subscription(features)


def test_newest_frame_wins_and_drops_are_counted(harness: Harness, matcher: NodeProcess) -> None:
    before, count = len(harness.matches), 40
    for i in range(count):
        harness.images.publish(image((10 + i) * S, textured(i % 20)))
    last_s = 10 + count - 1
    wait_for(
        lambda: harness.matches and harness.matches[-1].header.stamp.sec == last_s, "the last one"
    )

    def values() -> dict[str, str]:
        return harness.values.get("/matcher_node", {})

    wait_for(lambda: int(values().get("images matched", 0)) == len(harness.matches), "the counts")
    assert len(harness.matches) > before
    dropped = int(values()["dropped: a newer image came"])
    assert int(values()["images received"]) == len(harness.matches) + dropped
    assert dropped > 0
    assert values()["device"] == "cpu"
    assert "median" in values()["latency"]


def test_parameters_while_running(harness: Harness, matcher: NodeProcess) -> None:
    client = harness.create_client(SetParameters, "/matcher_node/set_parameters")
    assert client.wait_for_service(30.0)

    def attempt(name: str, value: ParameterValue) -> tuple[bool, str]:
        request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
        future = client.call_async(request)
        wait_for(future.done, "the answer of set_parameters")
        result = future.result().results[0]
        return result.successful, result.reason

    whole = ParameterType.PARAMETER_INTEGER
    assert attempt("min_matches", ParameterValue(type=whole, integer_value=7)) == (True, "")
    good, reason = attempt("min_matches", ParameterValue(type=whole, integer_value=-3))
    assert not good
    assert "min_matches" in reason
    good, reason = attempt("max_keypoints", ParameterValue(type=whole, integer_value=50))
    assert not good
    assert "read-only" in reason
    harness.send_and_match(image(60 * S), matcher)


def test_odometry_of_a_plane_that_moves(
    harness: Harness, matcher: NodeProcess, tmp_path: Path
) -> None:
    """A flat picture sliding by: whatever the odometry says of it, it says it well formed."""
    with NodeProcess("odometry_node", list(TOPICS), tmp_path / "odometry.log") as odometry:
        harness.wait_until_heard(matcher, odometry)
        harness.listen(PathMessage, "/odometry_node/path", harness.paths)
        harness.listen(PointCloud2, "/odometry_node/landmarks", harness.landmarks)
        wait_for(lambda: harness.count_publishers("/odometry_node/path"), "the path's topic")
        harness.infos.publish(camera_info(100 * S))

        def answered() -> bool:
            harness.send_and_match(image(99 * S))
            return bool(harness.statuses)

        # Who has just started may not have found all others yet, and misses what they send.
        wait_for(answered, "the odometry's first status")
        for i in range(12):
            harness.send_and_match(image((100 + i) * S, textured(6 * i)), matcher)
        wait_for(lambda: harness.statuses[-1].header.stamp.sec == 111, "a status of the last")
        assert {s.header.stamp.sec for s in harness.statuses} >= set(range(100, 112))
        odometry.check()
    for status in harness.statuses:
        assert status.state in ("initialising", "tracking", "lost")
        assert (status.reason == "") == (status.state == "tracking")
        assert not status.scale_is_metric
    assert harness.odometry
    for message in harness.odometry:
        covariance = np.reshape(message.pose.covariance, (6, 6))
        assert np.all(np.diag(covariance) > 0)
        assert message.header.frame_id == "odom"
        assert message.child_frame_id == "eye"


def test_odometry_in_metres_by_depth(
    harness: Harness, matcher: NodeProcess, tmp_path: Path
) -> None:
    """A wall 2 m away that slides by as the camera moves to the right."""
    options = ["-p", "use_depth:=true", "-r", "depth:=/camera/depth", "-p", "min_inliers:=10"]
    depths = harness.create_publisher(Image, "/camera/depth", 100)
    step_m = 6 * 2.0 / 150.0

    def send(i: int) -> None:
        depths.publish(depth_image((200 + i) * S + S // 100, 2000))
        harness.send_and_match(image((200 + i) * S, textured(6 * i)), matcher)

    with NodeProcess("odometry_node", [*TOPICS, *options], tmp_path / "odometry.log") as odometry:
        harness.wait_until_heard(matcher, odometry)
        wait_for(depths.get_subscription_count, "a listener to depth")
        harness.infos.publish(camera_info(200 * S))
        harness.statuses.clear()
        harness.odometry.clear()
        count = 0
        # The first ones may be missed, as above.

        def tracked_s() -> list[int]:
            return [s.header.stamp.sec for s in harness.statuses if s.state == "tracking"]

        while count < 25 and len(tracked_s()) < 8:
            send(count)
            count += 1
        wait_for(lambda: len(tracked_s()) >= 8, "the odometry's answers")
        tracked = tracked_s()
        wait_for(
            lambda: harness.odometry[-1].header.stamp.sec >= tracked[-1], "the odometry of it"
        )
        odometry.check()
        wait_for(
            lambda: "depth images received" in harness.values.get("/odometry_node", {}), "a count"
        )
    assert all(s.scale_is_metric for s in harness.statuses)
    positions = {m.header.stamp.sec: m.pose.pose.position for m in harness.odometry}
    first, last = positions[tracked[0]], positions[tracked[-1]]
    assert last.y - first.y == pytest.approx(-step_m * (tracked[-1] - tracked[0]), rel=0.1)
    assert abs(last.x - first.x) < 0.1


def test_compressed_images_by_the_topics_names(harness: Harness) -> None:
    """The wall once more, sent as image_transport sends it."""
    images = harness.create_publisher(CompressedImage, "/camera/image_raw/compressed", 100)
    depths = harness.create_publisher(CompressedImage, "/camera/depth/compressedDepth", 100)
    png = bytes(12) + cv2.imencode(".png", np.full((HEIGHT, WIDTH), 2000, np.uint16))[1].tobytes()
    statuses: list[OdometryStatus] = []
    harness.listen(OdometryStatus, "/squeezed/odometry_node/status", statuses)
    names = ["--ros-args", "-r", "__ns:=/squeezed", "-r", "camera_info:=/camera/camera_info"]
    image_name = ["-r", "image:=/camera/image_raw/compressed"]
    depth_name = ["-r", "depth:=/camera/depth/compressedDepth", "-p", "use_depth:=true"]
    matches_name = ["-r", "matches:=matcher_node/matches", "-p", "min_inliers:=10"]
    matcher = MatcherNode(cli_args=[*names, *image_name, *SMALL])
    odometry = OdometryNode(cli_args=[*names, *depth_name, *matches_name])

    def send(i: int, length: int | None = None) -> None:
        header, before = make_header((300 + i) * S, "eye"), len(statuses)
        jpeg = cv2.imencode(".jpg", textured(6 * i))[1].tobytes()[:length]
        depth_format = "16UC1; compressedDepth png"
        depths.publish(CompressedImage(header=header, format=depth_format, data=png))
        images.publish(CompressedImage(header=header, format="mono8; jpeg compressed ", data=jpeg))
        if length is None:
            wait_for(lambda: len(statuses) > before, "a status of a good image")

    try:
        with spinning(matcher, odometry):
            for publisher in (images, depths, harness.infos, matcher._matches_out):
                wait_for(publisher.get_subscription_count, "the nodes to listen")
            harness.infos.publish(camera_info(300 * S))
            wait_for(lambda: odometry._infos, "the CameraInfo")
            for i in range(6):
                send(i)
            send(6, length=2000)
            wait_for(lambda: matcher._problems.counts.get("image is truncated"), "a drop")
            send(7)
    finally:
        matcher.close()
    assert [status.header.stamp.sec for status in statuses] == [*range(300, 306), 307]
    assert statuses[-1].state == "tracking"
    assert statuses[-1].scale_is_metric


def test_rectified_images_by_a_raw_calibration_are_said(
    harness: Harness, capfd: pytest.CaptureFixture[str]
) -> None:
    matcher = Node("rectified_matcher")
    matcher.create_publisher(Matches, "/rectified_matches", 1)
    for topic in ("/left/image_rect_color", "/left/image_raw"):
        matcher.create_subscription(Image, topic, lambda _: None, 1)
    odometry = Node("rectified_odometry")
    checks = {
        rectified: subscribing.RectifiedCheck(odometry, "/rectified_matches", rectified)
        for rectified in (True, False)
    }

    def said() -> str:
        checks[False].check()
        return capfd.readouterr().err

    # What DDS calls the node of a publisher that it knows before the node's name.
    assert (
        subscribing.images_heard_by(odometry, "_NODE_NAME_UNKNOWN_", "_NODE_NAMESPACE_UNKNOWN_")
        == []
    )
    wait_for(
        lambda: subscribing.images_heard_by(odometry, "rectified_matcher", "/"),
        "the graph to be known",
    )
    line = said()
    assert line.count("look rectified by their name") == 1
    assert "/left/image_rect_color" in line
    assert "rectified:=true" in line
    assert said() == ""  # once
    checks[True].check()
    assert capfd.readouterr().err == ""
    for node in (matcher, odometry):
        node.destroy_node()


@pytest.mark.parametrize("humble", [False, True])
def test_a_subscription_follows_its_publishers(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, humble: bool
) -> None:
    """As reliable as all of them, unless a parameter says otherwise."""
    if humble:
        monkeypatch.setattr(subscribing, "BEST_AVAILABLE", None)
    topic = f"/followed_{humble}".lower()
    override = f"qos_overrides.{topic}.subscription.reliability:=best_effort"
    free = Node("free", cli_args=["--ros-args", "-r", f"image:={topic}"])
    bound = Node("bound", cli_args=["--ros-args", "-r", f"image:={topic}", "-p", override])
    followers = [ImageSubscription(node, "image", lambda _: None, 5) for node in (free, bound)]

    def heard() -> dict[str, ReliabilityPolicy]:
        for follower in followers:
            follower.follow()
        listeners = harness.get_subscriptions_info_by_topic(topic)
        return {info.node_name: info.qos_profile.reliability for info in listeners}

    reliable, best_effort = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
    first = harness.create_publisher(Image, topic, QoSProfile(depth=5))
    wait_for(lambda: heard() == {"free": reliable, "bound": best_effort}, "reliable listening")
    second = harness.create_publisher(Image, topic, qos_profile_sensor_data)
    wait_for(lambda: heard() == {"free": best_effort, "bound": best_effort}, "best effort")
    harness.destroy_publisher(second)
    wait_for(lambda: heard() == {"free": reliable, "bound": best_effort}, "reliable once more")
    harness.destroy_publisher(first)
    for node in (free, bound):
        node.destroy_node()


def test_both_nodes_end_cleanly(harness: Harness, matcher: NodeProcess, tmp_path: Path) -> None:
    """By SIGTERM, and by SIGINT twice in a row. Last in this module, as it ends the matcher."""
    with NodeProcess("odometry_node", list(TOPICS), tmp_path / "odometry.log") as odometry:
        harness.wait_until_heard(matcher, odometry)
        harness.images.publish(image(200 * S))
        for _ in range(2):
            os.kill(odometry.pid, signal.SIGINT)
        assert matcher.stop() == 0, matcher.output()
        assert odometry.wait() == 0, odometry.output()
    for node in (matcher, odometry):
        assert "Traceback" not in node.output()
