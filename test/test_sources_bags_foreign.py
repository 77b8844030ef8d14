"""Bags as other people's robots record them: compressed, split, with topics that nobody knows."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_maker import BagMaker
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin

from superglue_ros.errors import SourceError
from superglue_ros.sources import open_source

STORAGES = [StoragePlugin.SQLITE3, StoragePlugin.MCAP]
K = np.array([[50.0, 0, 24], [0, 51, 16], [0, 0, 1]])
SECOND = 10**9


def picture(value: int) -> np.ndarray:
    return np.full((32, 48), value, np.uint8)


def fill(maker: BagMaker, stamps: list[int]) -> None:
    for stamp in stamps:
        maker.image(stamp * SECOND, picture(stamp))


def stamps_s(path: Path, **options: str) -> list[int]:
    return [frame.stamp_ns // SECOND for frame in open_source(path, **options)]


class TestTopicsNobodyNeeds:
    service = "int64 a\nint64 b\n---\nint64 sum\n"

    def bag(self, folder: Path, storage: StoragePlugin) -> Path:
        maker = BagMaker(folder, storage_plugin=storage)
        definition = {"msgdef": self.service, "rihs01": "RIHS01_" + "0" * 64}
        kind = "example_interfaces/srv/AddTwoInts_Event"
        maker.write_raw("/add/_service_event", kind, 1, b"\0\1\0\0", **definition)
        fill(maker, [1, 2])
        maker.info(SECOND, K)
        maker.close()
        return next(path for path in folder.iterdir() if path.suffix != ".yaml")

    @pytest.mark.parametrize("storage", STORAGES)
    def test_a_definition_that_cannot_be_parsed(
        self, tmp_path: Path, storage: StoragePlugin
    ) -> None:
        file = self.bag(tmp_path / "bag", storage)
        for path in (tmp_path / "bag", file):
            assert stamps_s(path) == [1, 2]
            assert open_source(path).camera is not None

    def test_definitions_in_an_unknown_language(self, tmp_path: Path) -> None:
        """As ROS 2 records them where it finds no definition."""
        file = self.bag(tmp_path / "db3", StoragePlugin.SQLITE3)
        with sqlite3.connect(file) as database:
            database.execute(
                "UPDATE message_definitions SET encoding='unknown', encoded_message_definition=''"
            )
        database.close()
        assert stamps_s(tmp_path / "db3") == [1, 2]
        file = self.bag(tmp_path / "mcap", StoragePlugin.MCAP)
        data = file.read_bytes()
        assert b"ros2msg" in data
        file.write_bytes(data.replace(b"ros2msg", b"unknown"))
        assert stamps_s(tmp_path / "mcap") == [1, 2]

    def test_topics_without_messages_and_in_other_formats(self, tmp_path: Path) -> None:
        maker = BagMaker(tmp_path / "bag", storage_plugin=StoragePlugin.SQLITE3)
        fill(maker, [1])
        maker.writer.add_connection("/empty", "sensor_msgs/msg/Image", typestore=maker.store)
        maker.writer.add_connection(
            "/json", "sensor_msgs/msg/Image", typestore=maker.store, serialization_format="json"
        )
        maker.close()
        source = open_source(tmp_path / "bag")
        assert source.topic == "/image"
        assert len(list(source)) == 1

    def test_other_kinds_are_named_where_there_are_no_images(self, tmp_path: Path) -> None:
        maker = BagMaker(tmp_path / "bag")
        kind = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
        definition = {"msgdef": "uint8[] data", "rihs01": "RIHS01_" + "0" * 64}
        maker.write_raw("/image/ffmpeg", kind, 1, b"\0\1\0\0", **definition)
        maker.close()
        with pytest.raises(SourceError, match=rf"0 image topics .*/image/ffmpeg \({kind}, 1 mess"):
            open_source(tmp_path / "bag")


class TestCompressedBags:
    @pytest.mark.parametrize("storage", STORAGES)
    @pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
    def test_zstd(self, tmp_path: Path, storage: StoragePlugin, mode: CompressionMode) -> None:
        compression = (mode, CompressionFormat.ZSTD)
        maker = BagMaker(tmp_path / "bag", compression=compression, storage_plugin=storage)
        fill(maker, [1, 2, 3])
        maker.info(SECOND, K)
        maker.close()
        file = next(path for path in (tmp_path / "bag").iterdir() if path.suffix != ".yaml")
        assert (file.suffix == ".zstd") == (mode == CompressionMode.FILE)
        for path in (tmp_path / "bag", file):
            source = open_source(path)
            assert [int(frame.image[0, 0]) for frame in source] == [1, 2, 3]
            assert len(list(source)) == 3
            assert source.camera is not None
        (tmp_path / "bag" / "metadata.yaml").unlink()
        assert stamps_s(tmp_path / "bag") == [1, 2, 3]

    def test_chunks_of_mcap(self, tmp_path: Path) -> None:
        compression = (CompressionMode.STORAGE, CompressionFormat.ZSTD)
        maker = BagMaker(
            tmp_path / "bag", compression=compression, storage_plugin=StoragePlugin.MCAP
        )
        fill(maker, [1, 2])
        maker.close()
        assert stamps_s(tmp_path / "bag") == [1, 2]

    @pytest.mark.parametrize(
        "form", [Writer1.CompressionFormat.BZ2, Writer1.CompressionFormat.LZ4]
    )
    def test_chunks_of_ros1(self, tmp_path: Path, form: Writer1.CompressionFormat) -> None:
        maker = BagMaker(tmp_path / "one.bag", ros1=True, compression=(form,))
        fill(maker, [1, 2])
        maker.info(SECOND, K)
        maker.close()
        assert stamps_s(tmp_path / "one.bag") == [1, 2]
        assert open_source(tmp_path / "one.bag").camera is not None

    def test_damaged(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        compression = (CompressionMode.MESSAGE, CompressionFormat.ZSTD)
        maker = BagMaker(
            tmp_path / "bag", compression=compression, storage_plugin=StoragePlugin.SQLITE3
        )
        fill(maker, [1, 2, 3])
        maker.close()
        file = next((tmp_path / "bag").glob("*.db3"))
        with sqlite3.connect(file) as database:
            (data,) = database.execute("SELECT data FROM messages WHERE id = 2").fetchone()
            for number, bad in ((2, data[:-10]), (3, data[:6] + b"\xff" * 8)):
                database.execute("UPDATE messages SET data = ? WHERE id = ?", (bad, number))
        database.close()
        source = open_source(tmp_path / "bag")
        assert len(list(source)) == 1
        assert source.skipped == 2
        assert "a compressed message is " in caplog.text
        packed = tmp_path / "bag.db3.zstd"
        packed.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(50))
        with pytest.raises(SourceError, match=r"cannot (unpack|read).*bag.db3"):
            open_source(packed)


class TestFilesOfABag:
    metadata = (
        "rosbag2_bagfile_information:\n  version: 5\n  storage_identifier: {}\n"
        "  topics_with_message_count:\n    - topic_metadata: nonsense\n"
        '  compression_format: ""\n  relative_file_paths:\n    - bag_0.{}\n    - bag_1.{}\n'
        "  files:\n    - path: bag_0\n"
    )

    def split(self, folder: Path, storage: StoragePlugin) -> list[Path]:
        """Two parts, each with its own image, of one recording."""
        folder.mkdir()
        parts = []
        for number, stamps in enumerate(([1, 2], [3, 4])):
            maker = BagMaker(folder / "part", storage_plugin=storage)
            fill(maker, stamps)
            maker.info(stamps[0] * SECOND, K)
            maker.close()
            file = next(path for path in (folder / "part").iterdir() if path.suffix != ".yaml")
            parts.append(folder / f"bag_{number}{file.suffix}")
            file.rename(parts[-1])
            shutil.rmtree(folder / "part")
        return parts

    @pytest.mark.parametrize("storage", STORAGES)
    def test_split_with_metadata_and_without(
        self, tmp_path: Path, storage: StoragePlugin, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = tmp_path / "bag"
        first, second = self.split(folder, storage)
        suffix = first.suffix[1:]
        text = self.metadata.format(storage.name.lower(), suffix, suffix)
        for metadata in (text, None, "", text.replace("bag_1", "gone_1"), "rosbag2: ["):
            (folder / "metadata.yaml").unlink(missing_ok=True)
            caplog.clear()
            if metadata is not None:
                (folder / "metadata.yaml").write_text(metadata)
            source = open_source(folder)
            assert [int(frame.image[0, 0]) for frame in source] == [1, 2, 3, 4]
            assert len(source) == 4
            assert source.camera is not None
            assert "files: 2 parts of one recording" in source.notes
            trusted = metadata in (text, None)
            assert ("the files in the folder are read" in caplog.text) is not trusted
        assert stamps_s(second) == [3, 4]

    def test_parts_are_read_in_the_order_of_recording(self, tmp_path: Path) -> None:
        folder = tmp_path / "bag"
        first, second = self.split(folder, StoragePlugin.MCAP)
        (folder / "metadata.yaml").write_text(
            f"a:\n  relative_file_paths: [{second.name}, {first.name}]\n"
        )
        assert stamps_s(folder) == [1, 2, 3, 4]

    def test_split_by_ros1(self, tmp_path: Path) -> None:
        for number, stamps in enumerate(([1, 2], [3])):
            name = f"run_2024-01-01-10-0{number}-00_{number}.bag"
            maker = BagMaker(tmp_path / name, ros1=True)
            fill(maker, stamps)
            maker.close()
        assert stamps_s(tmp_path) == [1, 2, 3]
        (tmp_path / "run_2024-01-01-10-00-00_0.orig.bag").write_bytes(b"")
        (tmp_path / "._run_2024-01-01-10-00-00_0.bag").write_bytes(b"")
        assert stamps_s(tmp_path) == [1, 2, 3]

    @pytest.mark.parametrize(
        "names", [("run_1", "run_2"), ("a", "b"), ("MH_01", "MH_02"), ("a_0", "b_1")]
    )
    def test_several_recordings_are_not_one(self, tmp_path: Path, names: tuple[str, str]) -> None:
        first, second = self.split(tmp_path / "bag", StoragePlugin.SQLITE3)
        for path, name in zip((first, second), names):
            path.rename(path.with_name(f"{name}.db3"))
        with pytest.raises(SourceError, match=f"2 bags; give one of them: {names[0]}.db3"):
            open_source(tmp_path / "bag")

    def test_no_files(self, tmp_path: Path) -> None:
        (tmp_path / "metadata.yaml").write_text(self.metadata.format("mcap", "mcap", "mcap"))
        with pytest.raises(SourceError, match=r"metadata.yaml: bag_0.mcap, bag_1.mcap missing"):
            open_source(tmp_path)
        (tmp_path / "metadata.yaml").write_text("")
        with pytest.raises(SourceError, match="no list of relative_file_paths"):
            open_source(tmp_path)

    @pytest.mark.skipif(sys.platform == "win32", reason="locks")
    def test_a_recorder_that_was_killed(self, tmp_path: Path) -> None:
        """What SQLite had not moved into the file yet is beside it."""
        maker = BagMaker(tmp_path / "bag", storage_plugin=StoragePlugin.SQLITE3)
        fill(maker, [1, 2])
        maker.close()
        file = next((tmp_path / "bag").glob("*.db3"))
        database = sqlite3.connect(file)
        database.execute("PRAGMA journal_mode=WAL")
        (data,) = database.execute("SELECT data FROM messages WHERE id = 2").fetchone()
        values = (1, 3 * SECOND, data)
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", values)
        database.commit()
        killed = tmp_path / "killed.db3"
        for end in ("", "-wal"):
            shutil.copy(f"{file}{end}", f"{killed}{end}")
        database.close()
        assert len(list(open_source(killed))) == 3


class TestStampsThatRepeat:
    @staticmethod
    def bag(folder: Path, stamps: list[int]) -> Path:
        maker = BagMaker(folder)
        for number, stamp in enumerate(stamps, 1):
            maker.image(stamp, picture(number), logged_ns=100 * SECOND + number)
            millimetres = np.full((32, 48), 1000 * number, np.uint16)
            logged = 100 * SECOND + number
            maker.image(stamp, millimetres, "/depth", logged, encoding="16UC1")
        maker.close()
        return folder

    @pytest.mark.parametrize(
        "stamps", [[7 * SECOND] * 5, [0] * 5, [SECOND] * 3 + [2 * SECOND] * 3], ids=str
    )
    def test_the_time_of_recording_is_taken(self, tmp_path: Path, stamps: list[int]) -> None:
        source = open_source(self.bag(tmp_path / "bag", stamps), depth_topic="/depth")
        frames = list(source)
        assert [frame.stamp_ns - 100 * SECOND for frame in frames] == list(
            range(1, len(stamps) + 1)
        )
        assert "times: those of recording, for the stamps of the images repeat" in source.notes
        for number, frame in enumerate(frames, 1):
            np.testing.assert_allclose(frame.depth_m, number)

    def test_a_stamp_that_comes_twice_now_and_then_stays(self, tmp_path: Path) -> None:
        stamps = [1, 2, 2, 3, 4]
        source = open_source(self.bag(tmp_path / "bag", stamps), topic="/image")
        assert [frame.stamp_ns for frame in source] == stamps
        assert not any(note.startswith("times") for note in source.notes)


def test_motion_jpeg_padded_to_its_buffer(tmp_path: Path) -> None:
    maker = BagMaker(tmp_path / "bag")
    data = cv2.imencode(".jpg", picture(90))[1].ravel()
    for stamp, padding in ((1, 0), (2, 1023), (3, 60_000)):
        maker.compressed(stamp * SECOND, np.append(data, np.zeros(padding, np.uint8)))
    maker.compressed(4 * SECOND, data[:-30])
    maker.close()
    source = open_source(tmp_path / "bag")
    assert [frame.stamp_ns // SECOND for frame in source] == [1, 2, 3]
    assert source.skipped == 1


class TestCameras:
    fisheye = (-0.004, 0.04, -0.03, 0.005)

    def test_a_fifth_coefficient_of_zero(self, tmp_path: Path) -> None:
        """As a T265's driver publishes it."""
        maker = BagMaker(tmp_path / "bag")
        fill(maker, [1])
        maker.info(1, K, (*self.fisheye, 0.0), "equidistant")
        maker.close()
        camera = open_source(tmp_path / "bag").camera
        assert camera is not None
        assert camera.model == "equidistant"
        np.testing.assert_array_equal(camera.distortion, self.fisheye)

    def test_the_first_that_is_calibrated(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        maker = BagMaker(tmp_path / "bag")
        fill(maker, [1])
        maker.write_raw("/camera_info", "sensor_msgs/msg/CameraInfo", 1, b"\0\1\0\0torn")
        maker.info(2, np.zeros((3, 3)))
        maker.info(3, K)
        maker.close()
        source = open_source(tmp_path / "bag")
        np.testing.assert_array_equal(source.camera.matrix, K)
        assert "skipped a message of /camera_info" in caplog.text
        assert "calibration: CameraInfo of /camera_info" in source.notes

    def test_a_kalibr_camchain_knows_topics(self, tmp_path: Path) -> None:
        maker = BagMaker(tmp_path / "bag")
        for topic in ("/left", "/right"):
            maker.image(SECOND, picture(1), topic)
        maker.close()
        block = (
            "cam{}:\n  camera_model: pinhole\n  distortion_model: none\n"
            "  intrinsics: [5{}, 50, 24, 16]\n  resolution: [48, 32]\n  rostopic: {}\n"
        )
        chain = tmp_path / "camchain.yaml"
        chain.write_text(block.format(0, 0, "/left") + block.format(1, 1, "/right"))
        for topic, focal in (("/left", 50), ("/right", 51)):
            source = open_source(tmp_path / "bag", topic=topic, calibration=chain)
            assert source.camera.matrix[0, 0] == focal


def test_what_was_chosen_is_said(tmp_path: Path) -> None:
    maker = BagMaker(tmp_path / "bag")
    fill(maker, [1, 2])
    maker.image(SECOND, picture(1), "/other")
    maker.close()
    source = open_source(tmp_path / "bag", topic="/image")
    expected = "images: /image (sensor_msgs/msg/Image, 2 messages), of /image, /other"
    assert source.notes == (expected,)


def test_good_messages_between_unknown_encodings(tmp_path: Path) -> None:
    maker = BagMaker(tmp_path / "bag")
    for stamp, encoding in enumerate(("mono8", "h264", "32FC1", "mono8"), 1):
        maker.image(stamp * SECOND, picture(stamp), encoding=encoding)
    maker.close()
    source = open_source(tmp_path / "bag")
    assert [int(frame.image[0, 0]) for frame in source] == [1, 4]
    assert source.skipped == 2
