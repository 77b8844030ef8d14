"""Bags of ROS 1 and ROS 2, written and read without ROS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from bag_maker import BagMaker

from superglue_ros.errors import SourceError
from superglue_ros.sources import bag_reader, open_source, write_bag
from superglue_ros.types import CameraModel, Frame

CAMERA = CameraModel(
    48, 32, np.array([[50.0, 0, 24], [0, 51, 16], [0, 0, 1]]), "plumb_bob", np.full(5, 0.01)
)
STAMPS = [1_000_000_007, 2_500_000_000, 4_000_000_001]


def frames(rng: np.random.Generator, camera: CameraModel | None = CAMERA) -> list[Frame]:
    images = [
        rng.integers(0, 256, (32, 48), dtype=np.uint8),
        rng.integers(0, 256, (32, 48, 3), dtype=np.uint8),
        rng.integers(0, 256, (32, 48), dtype=np.uint8),
    ]
    return [Frame(image, stamp, "cam", camera) for image, stamp in zip(images, STAMPS)]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_written_bags_are_read_back(
    tmp_path: Path, rng: np.random.Generator, storage: str
) -> None:
    written = frames(rng)
    assert write_bag(tmp_path / "bag", written, storage=storage) == 3
    inside = next(path for path in (tmp_path / "bag").iterdir() if path.suffix != ".yaml")
    for path in (tmp_path / "bag", inside):
        source = open_source(path)
        read = list(source)
        assert (len(source), source.skipped) == (3, 0)
        assert [frame.stamp_ns for frame in read] == STAMPS
        for frame, expected in zip(read, written):
            np.testing.assert_array_equal(frame.image, expected.image)
        assert source.camera is not None
        np.testing.assert_allclose(source.camera.matrix, CAMERA.matrix)
        np.testing.assert_allclose(source.camera.distortion, CAMERA.distortion)
        assert (source.camera.model, read[0].frame_id) == ("plumb_bob", "cam")
        assert [frame.stamp_ns for frame in source] == STAMPS


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_written_for_humble(tmp_path: Path, rng: np.random.Generator, storage: str) -> None:
    """What Humble's rosbag2 (0.15) reads of metadata.yaml, and of which types."""
    write_bag(tmp_path / "bag", frames(rng, None), storage=storage, depth_topic="/depth")
    read = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())
    said = read["rosbag2_bagfile_information"]
    file = {
        "path": str,
        "starting_time": {"nanoseconds_since_epoch": int},
        "duration": {"nanoseconds": int},
        "message_count": int,
    }
    topic = {
        "topic_metadata": {
            "name": str,
            "type": str,
            "serialization_format": str,
            "offered_qos_profiles": str,
        },
        "message_count": int,
    }
    expected = {
        "version": int,
        "storage_identifier": str,
        "duration": {"nanoseconds": int},
        "starting_time": {"nanoseconds_since_epoch": int},
        "message_count": int,
        "topics_with_message_count": [topic],
        "compression_format": str,
        "compression_mode": str,
        "relative_file_paths": [str],
        "files": [file],
    }

    def types(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: types(v) for name, v in value.items()}
        if isinstance(value, list):
            assert all(types(v) == types(value[0]) for v in value)
            return [types(value[0])]
        return type(value)

    assert types(said) == expected
    assert said["version"] == 5
    assert said["storage_identifier"] == storage
    assert len(list(open_source(tmp_path / "bag"))) == 3


def test_rectified_and_unknown_cameras(tmp_path: Path, rng: np.random.Generator) -> None:
    rectified = CameraModel(48, 32, CAMERA.matrix)
    write_bag(tmp_path / "a", frames(rng, rectified))
    write_bag(tmp_path / "b", frames(rng, None))
    camera = open_source(tmp_path / "a").camera
    assert camera is not None
    assert (camera.model, len(camera.distortion)) == ("none", 0)
    assert open_source(tmp_path / "b").camera is None
    # A fisheye without coefficients bends rays all the same.
    write_bag(
        tmp_path / "d", frames(rng, CameraModel(48, 32, CAMERA.matrix, "equidistant", np.zeros(4)))
    )
    fisheye = open_source(tmp_path / "d").camera
    assert fisheye is not None
    assert (fisheye.model, len(fisheye.distortion)) == ("equidistant", 4)
    (tmp_path / "c.txt").write_text("70 70 24 16\n")
    given = open_source(tmp_path / "a", calibration=tmp_path / "c.txt").camera
    assert given is not None
    assert (given.matrix[0, 0], given.width) == (70, 48)


def test_rosbag1_raw_and_compressed(tmp_path: Path, rng: np.random.Generator) -> None:
    image = np.full((32, 48, 3), (10, 100, 200), np.uint8)
    maker = BagMaker(tmp_path / "one.bag", ros1=True)
    maker.compressed(7, cv2.imencode(".jpg", image)[1].ravel(), "/cam/image_raw/compressed")
    maker.info(1, CAMERA.matrix, (0.0,) * 5, topic="/cam/camera_info")
    maker.close()
    source = open_source(tmp_path / "one.bag")
    frame = next(iter(source))
    assert frame.stamp_ns == 7
    np.testing.assert_allclose(frame.image.mean(axis=(0, 1)), image[0, 0], atol=3)
    assert source.camera is not None
    np.testing.assert_allclose(source.camera.matrix, CAMERA.matrix)


def test_depth_goes_with_its_image(
    tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    depth = rng.uniform(0.5, 9, (32, 48)).astype(np.float32)
    written = [replace(frame, depth_m=depth + i) for i, frame in enumerate(frames(rng))]
    write_bag(tmp_path / "written", written, depth_topic="/depth")
    for i, frame in enumerate(open_source(tmp_path / "written", depth_topic="/depth")):
        np.testing.assert_array_equal(frame.depth_m, depth + i)
    # A camera's: in millimetres, a little later than the images, one missing, one of no depth.
    maker = BagMaker(tmp_path / "made")
    gray = frames(rng)[0].image
    millimetres = np.full((32, 48), 1500, np.uint16)
    for stamp in range(1, 6):
        maker.image(stamp * 10**9, gray)
        values = {"encoding": "rgb8" if stamp == 4 else "16UC1"}
        if stamp != 3:
            maker.image(stamp * 10**9 + 10**7, millimetres, "/depth", **values)
    maker.close()
    with pytest.raises(SourceError, match="no image topic /deep; it has /depth, /image"):
        open_source(tmp_path / "made", topic="/image", depth_topic="/deep")
    with pytest.raises(SourceError, match="is no bag and has no topics"):
        open_source(tmp_path, depth_topic="/depth")
    source = open_source(tmp_path / "made", depth_topic="/depth")
    found = [frame.depth_m for frame in source]
    assert [depth is not None for depth in found] == [True, True, False, False, True]
    assert found[0] is not None
    np.testing.assert_allclose(found[0], 1.5)
    assert "a frame without depth" in caplog.text


def test_compressed_depth(tmp_path: Path) -> None:
    """As a bag of an RGB-D camera holds it whose raw images were too large to record."""
    maker = BagMaker(tmp_path / "made")
    jpeg = cv2.imencode(".jpg", np.full((32, 48), 90, np.uint8))[1].ravel()
    png = cv2.imencode(".png", np.full((32, 48), 1500, np.uint16))[1].ravel()
    header = np.zeros(12, np.uint8)
    for stamp in (10**9, 2 * 10**9):
        maker.compressed(stamp, jpeg, "/rgb/compressed")
        maker.compressed(stamp, png, "/depth/compressed", "16UC1; png compressed ")
        depth = np.concatenate((header, png))
        maker.compressed(stamp, depth, "/depth/compressedDepth", "16UC1; compressedDepth png")
    maker.close()
    for topic in ("/depth/compressed", "/depth/compressedDepth"):
        source = open_source(tmp_path / "made", depth_topic=topic)
        assert [frame.image.shape for frame in source] == [(32, 48)] * 2
        for frame in source:
            np.testing.assert_allclose(frame.depth_m, 1.5)


def test_depth_after_the_clock_jumped_back_and_without_stamps(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    maker = BagMaker(tmp_path / "made")
    gray = frames(rng)[0].image
    millimetres = np.full((32, 48), 1500, np.uint16)
    kind = "sensor_msgs/msg/Image"
    logged = 0
    for stamp in (10, 11, 2, 3, 0, 0):
        logged += 10**9
        for topic, image, encoding in (
            ("/image", gray, "mono8"),
            ("/depth", millimetres, "16UC1"),
        ):
            values = {
                "header": maker.header(stamp * 10**9), "height": 32, "width": 48,
                "encoding": encoding, "is_bigendian": 0, "step": image.strides[0],
                "data": np.frombuffer(image.tobytes(), np.uint8),
            }  # fmt: skip
            maker.write(topic, kind, logged + (topic == "/depth"), **values)
    maker.close()
    found = list(open_source(tmp_path / "made", depth_topic="/depth"))
    assert len(found) == 6
    assert all(frame.depth_m is not None for frame in found)


def test_corrupt_messages_are_counted_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = np.full((4, 4), 9, np.uint8)
    maker = BagMaker(tmp_path / "bag")
    maker.image(1, image)
    maker.image(2, image, data=np.zeros(3, np.uint8))
    maker.image(3, image, encoding="strange")
    maker.image(4, image, width=0, height=0, data=np.zeros(0, np.uint8))
    maker.write_raw("/image", "sensor_msgs/msg/Image", 5, b"\0\1\0\0torn")
    maker.image(6, image)
    maker.close()
    source = open_source(tmp_path / "bag")
    assert [frame.stamp_ns for frame in source] == [1, 6]
    assert source.skipped == 4
    assert "unknown image encoding 'strange'" in caplog.text
    assert len(list(source)) == 2
    assert source.skipped == 4


def test_zero_stamps_take_the_time_of_recording(tmp_path: Path) -> None:
    maker = BagMaker(tmp_path / "bag")
    maker.image(0, np.zeros((4, 4), np.uint8))
    maker.close()
    assert next(iter(open_source(tmp_path / "bag"))).stamp_ns == 5


def test_topics(tmp_path: Path) -> None:
    image = np.zeros((4, 4), np.uint8)
    maker = BagMaker(tmp_path / "two")
    maker.image(1, image, "/left/image")
    maker.image(2, image, "/right/image")
    maker.close()
    with pytest.raises(SourceError, match=r"2 image topics.*/left/image, /right/image.*--topic"):
        open_source(tmp_path / "two")
    assert next(iter(open_source(tmp_path / "two", topic="/right/image"))).stamp_ns == 2
    with pytest.raises(SourceError, match="no image topic /up; it has /left/image"):
        open_source(tmp_path / "two", topic="/up")
    with pytest.raises(SourceError, match="no CameraInfo topic /i; it has none"):
        open_source(tmp_path / "two", topic="/left/image", camera_info_topic="/i")


def test_compressed_sibling_is_no_second_topic(tmp_path: Path) -> None:
    image = np.zeros((4, 4), np.uint8)
    maker = BagMaker(tmp_path / "bag")
    maker.image(1, image, "/image")
    maker.compressed(1, cv2.imencode(".png", image)[1].ravel(), "/image/compressed")
    maker.close()
    assert len(list(open_source(tmp_path / "bag"))) == 1


def test_damaged_bags(tmp_path: Path, rng: np.random.Generator) -> None:
    write_bag(tmp_path / "bag", frames(rng))
    file = next((tmp_path / "bag").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:2000])
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "text.bag").write_text("not a bag")
    (tmp_path / "text.db3").write_text("not a database")
    maker = BagMaker(tmp_path / "imageless")
    maker.write("/text", "std_msgs/msg/String", 1, data="hello")
    maker.close()
    for name in ("bag", "empty.mcap", "text.bag", "text.db3"):
        with pytest.raises(SourceError, match=f"cannot read bag .*{name}"):
            open_source(tmp_path / name)
    with pytest.raises(SourceError, match="0 image topics where one is needed: none"):
        open_source(tmp_path / "imageless")


def test_storage_that_fails_half_way_ends_early(
    tmp_path: Path,
    rng: np.random.Generator,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_bag(tmp_path / "bag", frames(rng))
    source = open_source(tmp_path / "bag")
    whole = bag_reader._Mcap.messages

    def torn(storage: Any, topic: str) -> Any:
        yield from list(whole(storage, topic))[:2]
        raise OSError("database disk image is malformed")

    monkeypatch.setattr(bag_reader._Mcap, "messages", torn)
    assert len(list(source)) == 2
    assert source.skipped == 1
    assert "cannot be read any further: database disk image is malformed" in caplog.text


def test_writing_fails_clearly(tmp_path: Path, rng: np.random.Generator) -> None:
    write_bag(tmp_path / "bag", frames(rng))
    with pytest.raises(SourceError, match="cannot write bag"):
        write_bag(tmp_path / "bag", frames(rng))
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="cannot write bag"):
        write_bag(tmp_path / "file" / "bag", frames(rng))
    with pytest.raises(ValueError, match="storage"):
        write_bag(tmp_path / "other", [], storage="csv")


def test_empty_bag(tmp_path: Path) -> None:
    assert write_bag(tmp_path / "bag", []) == 0
    assert list(open_source(tmp_path / "bag")) == []
