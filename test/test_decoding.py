"""Images by this package's decoder and by cv_bridge: the same pixels, or a clear refusal."""

from __future__ import annotations

import array
import sys
import types
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

from node_harness import broken_image
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from superglue_ros.errors import ImageError
from superglue_ros.nodes.conversions import frame_from_image, image_message, make_header
from superglue_ros.nodes.decoding import Decoder, make_decoder
from superglue_ros.sources.encodings import image_of_message

pytestmark = pytest.mark.ros

HEADER = make_header(1_500_000_007, "eye")
BYTES = {
    **{"mono8": 1, "8UC1": 1, "mono16": 2, "16UC1": 2, "rgb8": 3, "bgr8": 3, "rgba8": 4},
    **{"bgra8": 4, "bayer_rggb8": 1, "bayer_bggr8": 1, "bayer_gbrg8": 1, "bayer_grbg8": 1},
}
"""Bytes a pixel of the encodings that both read."""


def image(encoding: str, padding: int = 12) -> Image:
    row = 24 * BYTES[encoding] + padding
    message = Image(header=HEADER, height=20, width=24, encoding=encoding, step=row)
    noise = np.random.default_rng(1).integers(0, 256, 20 * row, np.uint8)
    message.data = array.array("B", noise.tobytes())
    return message


class StandInBridge:
    """A cv_bridge.CvBridge that works, as far as the decoder calls it."""

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        if encoding not in BYTES:
            raise RuntimeError(f"Unrecognized image encoding\n[{encoding}]")
        deep = encoding.endswith("16") or encoding == "16UC1"
        return ("uint16", 1) if deep else ("uint8", BYTES[encoding])

    def imgmsg_to_cv2(self, message: Image, wanted: str) -> Any:
        if wanted == "bgr8":
            return image_of_message(message)
        dtype = self.encoding_to_dtype_with_channels(message.encoding)[0]
        rows = np.frombuffer(message.data, dtype).reshape(message.height, -1)
        return rows[:, : message.width]

    def compressed_imgmsg_to_cv2(self, message: CompressedImage, wanted: str) -> Any:
        return cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)

    def cv2_to_imgmsg(self, picture: Any, encoding: str, header: Header) -> Image:
        message = image_message(picture, header)
        assert message.encoding == encoding
        return message


def bridge_of(monkeypatch: pytest.MonkeyPatch, bridge: type) -> Decoder:
    module: Any = types.ModuleType("cv_bridge")
    module.CvBridge = bridge
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    return make_decoder("cv_bridge")


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("encoding", BYTES)
def test_the_same_pixels_as_cv_bridge(
    monkeypatch: pytest.MonkeyPatch, encoding: str, installed: bool
) -> None:
    if installed:
        pytest.importorskip("cv_bridge")
        try:
            decoder = make_decoder("cv_bridge")
        except ValueError as error:
            pytest.skip(str(error))
    else:
        decoder = bridge_of(monkeypatch, StandInBridge)
    expected = frame_from_image(image(encoding)).image
    found = frame_from_image(image(encoding), decode=decoder.image)
    np.testing.assert_array_equal(found.image, expected)
    assert (found.stamp_ns, found.frame_id) == (1_500_000_007, "eye")
    assert decoder.message(expected, HEADER) == image_message(expected, HEADER)


def test_compressed_images_by_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.full((24, 32, 3), (10, 120, 230), np.uint8)
    png = cv2.imencode(".png", picture)[1].tobytes()
    decoder = bridge_of(monkeypatch, StandInBridge)
    np.testing.assert_array_equal(decoder.image(CompressedImage(data=png)), picture)


def test_a_cv_bridge_that_ignores_padding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless(StandInBridge):
        def imgmsg_to_cv2(self, message: Image, wanted: str) -> Any:
            if message.encoding == "mono8":
                data = np.frombuffer(message.data, np.uint8)
                return data[: message.height * message.width].reshape(message.height, -1)
            return super().imgmsg_to_cv2(message, wanted)

    with pytest.raises(ValueError, match="wrong pixels of mono8: use own"):
        bridge_of(monkeypatch, Careless)


def test_no_cv_bridge_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(ValueError, match="decoder: there is no cv_bridge"):
        make_decoder("cv_bridge")


@pytest.mark.parametrize(
    "message",
    [
        broken_image(0, encoding="plaid13"),
        broken_image(0, data=bytes(100)),
        image("rgb8", padding=1),  # which cv_bridge would read askew
        CompressedImage(format="jpeg", data=b"none"),
    ],
)
def test_what_cv_bridge_cannot_read_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, message: Any
) -> None:
    decoder = bridge_of(monkeypatch, StandInBridge)
    with pytest.raises(ImageError) as raised:
        decoder.image(message)
    assert len(str(raised.value)) > 10
    assert "\n" not in str(raised.value)
