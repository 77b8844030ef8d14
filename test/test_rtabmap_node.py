"""rtabmap_node: what rtabmap reads of its messages, and what it is not sent."""

from __future__ import annotations

import builtins
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from node_harness import WIDTH, camera_info, depth_image, image, wait_for
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rtabmap_listener import uncompressed
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from superglue_ros.demo.node_process import NodeProcess, spinning
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.msg import Features as FeaturesMessage
from superglue_ros.nodes import rtabmap_node
from superglue_ros.nodes.conversions import features_message, make_header
from superglue_ros.nodes.rtabmap_messages import (
    compressed_matrix,
    import_rtabmap_msgs,
    rgbd_image,
)
from superglue_ros.nodes.rtabmap_node import RtabmapNode
from superglue_ros.types import Features

pytestmark = pytest.mark.ros

S = 1_000_000_000


@dataclass
class RGBDImage:
    header: Header = field(default_factory=Header)
    rgb: Image = field(default_factory=Image)
    depth: Image = field(default_factory=Image)
    rgb_compressed: CompressedImage | None = None
    depth_compressed: CompressedImage | None = None
    rgb_camera_info: CameraInfo | None = None
    depth_camera_info: CameraInfo | None = None
    key_points: list[Any] = field(default_factory=list)
    points: list[Any] = field(default_factory=list)
    descriptors: Any = b""


STAND_INS = SimpleNamespace(
    RGBDImage=RGBDImage,
    KeyPoint=lambda **fields: SimpleNamespace(**fields),
    Point2f=lambda **fields: SimpleNamespace(**fields),
)


def some_features(count: int = 5) -> Features:
    rng = np.random.default_rng(0)
    return Features(
        (WIDTH, 120),
        rng.uniform(0, 100, (count, 2)).astype(np.float32),
        rng.uniform(0, 1, count).astype(np.float32),
        rng.normal(size=(count, 256)).astype(np.float32),
    )


@pytest.mark.parametrize("count", [1, 1024])
def test_descriptors_as_rtabmap_reads_them(count: int) -> None:
    matrix = np.random.default_rng(1).normal(size=(count, 256)).astype(np.float32)
    np.testing.assert_array_equal(uncompressed(compressed_matrix(matrix)), matrix)


def test_fields() -> None:
    features, infos = some_features(), (camera_info(S), camera_info(S, 200.0))
    compressed = CompressedImage(format="jpeg")
    message = rgbd_image(STAND_INS, compressed, depth_image(S, 900), infos, features)
    assert message.rgb_compressed is compressed
    assert not message.rgb.data
    assert message.depth.encoding == "16UC1"
    assert (message.rgb_camera_info, message.depth_camera_info) == infos
    assert len(message.key_points) == len(uncompressed(bytes(message.descriptors))) == 5
    first = message.key_points[0]
    np.testing.assert_allclose([first.pt.x, first.pt.y], features.keypoints[0])
    assert first.response == pytest.approx(float(features.scores[0]))
    assert (first.class_id, message.points) == (-1, [])


@pytest.fixture
def node(
    monkeypatch: pytest.MonkeyPatch, published: Callable[[type], list[Any]]
) -> Iterator[tuple[RtabmapNode, list[RGBDImage]]]:
    """A node that sends stand-ins of rtabmap's messages to a list, 2 a second at most."""
    monkeypatch.setattr(rtabmap_node, "import_rtabmap_msgs", lambda: STAND_INS)
    sent = published(RGBDImage)
    context = rclpy.Context()
    rclpy.init(context=context)
    made = RtabmapNode(context=context)
    yield made, sent
    made.destroy_node()
    rclpy.try_shutdown(context=context)


def test_joins_by_stamp_and_keeps_the_rate(node: tuple[RtabmapNode, list[RGBDImage]]) -> None:
    made, sent = node
    images, depths, features = (partial(made._joined.add, place) for place in range(3))

    def send(stamp_ns: int, count: int = 5) -> None:
        images(image(stamp_ns))
        depths(depth_image(stamp_ns + 5_000_000, 1000))
        features(features_message(some_features(count), make_header(stamp_ns, "eye")))

    def problems() -> set[str]:
        return set(made._problems.counts)

    send(1 * S)
    assert not sent
    assert any("no CameraInfo on /camera_info" in cause for cause in problems())
    made._cameras["camera_info"] = camera_info(S)
    send(2 * S, count=0)
    assert not sent
    assert "an image without features" in problems()
    for step in range(10):  # 10 Hz, 2 of them a second
        send(3 * S + step * S // 10)
    assert [m.header.stamp.nanosec for m in sent] == [0, 500_000_000]
    # Late features of an earlier image, after a later image has come.
    images(image(5 * S))
    images(image(5 * S + 10_000_000))
    depths(depth_image(5 * S, 1000))
    features(features_message(some_features(), make_header(5 * S, "eye")))
    assert sent[-1].header.stamp.sec == 5
    assert sent[-1].header.stamp.nanosec == 0
    send(1 * S)  # the clock jumped back
    assert sent[-1].header.stamp.sec == 1


def test_without_rtabmap_msgs(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("rtabmap_msgs"):
            raise ImportError("No module named 'rtabmap_msgs'")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SuperGlueRosError, match="apt install"):
        import_rtabmap_msgs()


@pytest.fixture(scope="module")
def rtabmap_msgs(repository: Path) -> Iterator[None]:
    """rtabmap's messages for processes that tests start: built once where they are missing."""
    if importlib.util.find_spec("rtabmap_msgs") is not None:
        yield
        return
    base = repository / "build" / "rtabmap_msgs"
    prefix = base / "install" / "rtabmap_msgs"
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not list(prefix.glob("lib/python*/site-packages/rtabmap_msgs/msg")):
        command = [
            *("colcon", "--log-base", str(base / "log"), "build"),
            *("--base-paths", str(repository / "test" / "interfaces" / "rtabmap_msgs")),
            *("--build-base", str(base / "build"), "--install-base", str(base / "install")),
            *("--cmake-args", "-DBUILD_TESTING=OFF", "-Wno-dev"),
            f"-DPython3_EXECUTABLE={sys.executable}",
        ]
        built = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr[-2000:]
    folders = {
        "AMENT_PREFIX_PATH": prefix,
        "LD_LIBRARY_PATH": prefix / "lib",
        "PYTHONPATH": next(prefix.glob("lib/python*/site-packages")),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in folders.items():
            patch.setenv(name, str(folder), prepend=os.pathsep)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("rtabmap_msgs")
def test_rtabmap_reads_it(tmp_path: Path) -> None:
    features, output = some_features(40), tmp_path / "read.npz"
    rclpy.init()
    sender = Node("sender")
    quality = QoSProfile(depth=10)
    publishers = [
        sender.create_publisher(kind, topic, quality)
        for kind, topic in (
            (Image, "/image"),
            (Image, "/depth"),
            (CameraInfo, "/camera_info"),
            (FeaturesMessage, "/features"),
        )
    ]
    listener = str(Path(__file__).with_name("rtabmap_listener.py"))
    try:
        with (
            spinning(sender),
            NodeProcess("rtabmap_node", [], tmp_path / "rtabmap.log") as node,
            subprocess.Popen(
                [sys.executable, listener, "/rtabmap_node/rgbd_image", str(output)]
            ) as read,
        ):

            def heard() -> bool:
                node.check()
                listening = all(out.get_subscription_count() for out in publishers)
                return listening and sender.count_subscribers("/rtabmap_node/rgbd_image") == 1

            wait_for(heard, "rtabmap_node and its listener")
            stamp = [0]

            def send() -> bool:
                stamp[0] += 1
                at = stamp[0] * S
                messages = (
                    image(at),
                    depth_image(at, 1500),
                    camera_info(at),
                    features_message(features, make_header(at, "eye")),
                )
                for publisher, message in zip(publishers, messages, strict=True):
                    publisher.publish(message)
                return read.poll() is not None

            wait_for(send, "a message to be read")
    finally:
        rclpy.try_shutdown()
    with np.load(output) as found:
        np.testing.assert_array_equal(found["keypoints"], features.keypoints)
        np.testing.assert_array_equal(found["responses"], features.scores)
        np.testing.assert_array_equal(found["descriptors"], features.descriptors)
        assert set(found["class_ids"]) == {-1}
        assert (found["sizes"] > 0).all()
        assert found["points"] == 0
        assert str(found["frame"]) == "eye"
        assert found["stamps"][0] == found["stamps"][1]
        assert (found["depth"] == 1500).all()
        assert len(found["rgb"]) == WIDTH * 120
        assert (found["focals"] == 150.0).all()
