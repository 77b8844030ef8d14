"""Image decoding, calibration files, folder layouts and videos."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from superglue_ros.errors import ImageError, SourceError
from superglue_ros.sources import (
    ImageFileSource,
    find_groundtruth,
    open_source,
    read_calibration,
    read_depth,
    read_image,
)
from superglue_ros.sources.calibration import camera_from_info
from superglue_ros.sources.encodings import (
    ENCODINGS,
    decode_compressed,
    decode_raw,
    depth_of_message,
)
from superglue_ros.sources.image_headers import decoded_bytes

CALIB = "700 0 300 0 0 700 100 0 0 0 1 0\n700 0 300 -350 0 700 100 0 0 0 1 0\n"


def write_images(folder: Path, names: list[str], rng: np.random.Generator) -> list[np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    images = [rng.integers(0, 256, (24, 32), dtype=np.uint8) for _ in names]
    for name, image in zip(names, images):
        cv2.imwrite(str(folder / name), image)
    return images


def decode(data: np.ndarray, encoding: str, **options: int) -> np.ndarray:
    height, width = options.pop("height", data.shape[0]), options.pop("width", data.shape[1])
    step = options.pop("step", data.strides[0])
    return decode_raw(
        data.tobytes(), width=width, height=height, encoding=encoding, step=step, **options
    )


class TestRawEncodings:
    colour = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)  # BGR

    def test_gray_is_unchanged(self) -> None:
        gray = np.arange(6, dtype=np.uint8).reshape(2, 3)
        for encoding in ("mono8", "8UC1"):
            np.testing.assert_array_equal(decode(gray, encoding), gray)

    @pytest.mark.parametrize(
        ("encoding", "channels"),
        [("bgr8", [0, 1, 2]), ("8UC3", [0, 1, 2]), ("rgb8", [2, 1, 0])],
    )
    def test_three_channels_become_bgr(self, encoding: str, channels: list[int]) -> None:
        data = np.ascontiguousarray(self.colour[:, :, channels])
        np.testing.assert_array_equal(decode(data, encoding), self.colour)

    @pytest.mark.parametrize(
        ("encoding", "channels"), [("bgra8", [0, 1, 2]), ("rgba8", [2, 1, 0])]
    )
    def test_alpha_is_dropped(self, encoding: str, channels: list[int]) -> None:
        alpha = np.full((1, 2, 1), 9, np.uint8)
        data = np.concatenate([self.colour[:, :, channels], alpha], axis=2)
        np.testing.assert_array_equal(decode(data, encoding), self.colour)

    def test_16_bits_are_scaled_whatever_the_byte_order(self) -> None:
        values = np.array([[0, 257, 65535, 32768]], np.uint16)
        expected = [[0, 1, 255, 128]]
        for encoding in ("mono16", "16UC1"):
            little = decode(values.astype("<u2"), encoding)
            big = decode(values.astype(">u2"), encoding, big_endian=True)
            np.testing.assert_array_equal(little, expected)
            np.testing.assert_array_equal(big, expected)

    @pytest.mark.parametrize(
        ("pattern", "red"),
        [("rggb", (0, 0)), ("bggr", (1, 1)), ("gbrg", (1, 0)), ("grbg", (0, 1))],
    )
    def test_bayer_finds_red(self, pattern: str, red: tuple[int, int]) -> None:
        mosaic = np.zeros((8, 8), np.uint8)
        mosaic[red[0] :: 2, red[1] :: 2] = 200
        image = decode(mosaic, f"bayer_{pattern}8")
        np.testing.assert_array_equal(image[3, 3], [0, 0, 200])
        assert decode(mosaic.astype("<u2") * 257, f"bayer_{pattern}16").dtype == np.uint8

    def test_padded_rows(self) -> None:
        padded = np.zeros((2, 5), np.uint8)
        padded[:, :3] = [[1, 2, 3], [4, 5, 6]]
        np.testing.assert_array_equal(decode(padded, "mono8", width=3), padded[:, :3])

    def test_last_row_may_lack_its_padding(self) -> None:
        image = decode_raw(b"\1\2\0\3\4", width=2, height=2, encoding="mono8", step=3)
        np.testing.assert_array_equal(image, [[1, 2], [3, 4]])

    def test_every_listed_encoding_decodes(self) -> None:
        for encoding in ENCODINGS:
            image = decode(np.zeros((4, 32), np.uint8), encoding, width=4)
            assert image.dtype == np.uint8
            assert image.shape[:2] == (4, 4)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"width": 0}, "empty image"),
            ({"height": 0}, "empty image"),
            ({"height": 9}, "bytes of data for 9 rows"),
            ({"step": 2}, "step of 2"),
            ({"encoding": "32FC1"}, "unknown image encoding"),
            ({"encoding": ""}, "unknown image encoding"),
            ({"width": 1, "encoding": "yuv422"}, "no yuv422 image has 1x2 pixels"),
        ],
    )
    def test_bad_messages(self, options: dict, message: str) -> None:
        arguments = {"width": 4, "height": 2, "encoding": "mono8", "step": 4} | options
        with pytest.raises(ImageError, match=message):
            decode_raw(b"12345678", **arguments)


def test_camera_of_a_binned_part_of_the_sensor() -> None:
    def info(binning: int, **roi: int) -> SimpleNamespace:
        region = {"x_offset": 0, "y_offset": 0, "width": 0, "height": 0} | roi
        return SimpleNamespace(
            **{"width": 1280, "height": 1024, "distortion_model": "plumb_bob", "d": [0.1] * 5},
            **{"k": [800, 0, 639.5, 0, 800, 511.5, 0, 0, 1], "roi": SimpleNamespace(**region)},
            **{"binning_x": binning, "binning_y": binning},
        )

    for none in (0, 1):
        whole = camera_from_info(info(none))
        assert (whole.width, whole.height) == (1280, 1024)
        assert whole.matrix[0].tolist() == [800, 0, 639.5]
    # The middle of the sensor stays the middle of the image.
    binned = camera_from_info(info(2))
    assert (binned.width, binned.height) == (640, 512)
    np.testing.assert_allclose(binned.matrix, [[400, 0, 319.5], [0, 400, 255.5], [0, 0, 1]])
    part = camera_from_info(info(2, x_offset=320, y_offset=256, width=640, height=512))
    assert (part.width, part.height) == (320, 256)
    np.testing.assert_allclose(part.matrix, [[400, 0, 159.5], [0, 400, 127.5], [0, 0, 1]])


class TestFiles:
    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    def test_truncated_image(self, tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
        write_images(tmp_path, [f"a{suffix}"], rng)
        path = tmp_path / f"a{suffix}"
        path.write_bytes(path.read_bytes()[:-60])
        with pytest.raises(ImageError, match=f"a{suffix} is truncated"):
            read_image(path)

    def test_empty_missing_and_no_image(self, tmp_path: Path) -> None:
        (tmp_path / "empty.png").touch()
        (tmp_path / "text.png").write_text("hello")
        for name, message in (
            ("empty", "is empty"),
            ("text", "no image"),
            ("gone", "cannot read"),
        ):
            with pytest.raises(ImageError, match=message):
                read_image(tmp_path / f"{name}.png")

    def test_16_bit_and_alpha(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4), 65535, np.uint16))
        cv2.imwrite(str(tmp_path / "b.png"), np.full((4, 4, 4), 7, np.uint8))
        assert read_image(tmp_path / "a.png").max() == 255
        assert read_image(tmp_path / "b.png").shape == (4, 4, 3)

    def test_depth(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "d.png"), np.array([[0, 5000, 12500]], np.uint16))
        np.testing.assert_allclose(read_depth(tmp_path / "d.png"), [[0, 1, 2.5]])
        cv2.imwrite(str(tmp_path / "g.png"), np.zeros((2, 2), np.uint8))
        with pytest.raises(ImageError, match="16-bit"):
            read_depth(tmp_path / "g.png")

    def test_compressed_bytes(self) -> None:
        image = np.full((8, 8), 90, np.uint8)
        data = cv2.imencode(".jpg", image)[1]
        np.testing.assert_allclose(decode_compressed(data), image, atol=2)


class TestWholeFiles:
    """What follows the end of a file is not its own; what comes before must all be there."""

    picture = np.add.outer(np.arange(60), np.arange(80)).astype(np.uint8)

    @pytest.mark.parametrize("ending", [".jpg", ".png"])
    @pytest.mark.parametrize("padding", [1, 1023, 1024, 5000, 100_000])
    def test_padded_to_the_size_of_a_buffer(self, ending: str, padding: int) -> None:
        data = cv2.imencode(ending, self.picture)[1].tobytes()
        expected = decode_compressed(data)
        np.testing.assert_array_equal(decode_compressed(data + bytes(padding)), expected)
        stale = (data * (padding // len(data) + 1))[:padding]
        np.testing.assert_array_equal(decode_compressed(data + stale), expected)

    @pytest.mark.parametrize("ending", [".jpg", ".png"])
    @pytest.mark.parametrize("padding", [0, 2000])
    def test_cut_off(self, ending: str, padding: int) -> None:
        data = cv2.imencode(ending, self.picture)[1].tobytes()
        for length in (len(data) - 13, len(data) // 2, 12):
            with pytest.raises(ImageError, match="is truncated"):
                decode_compressed(data[:length] + bytes(padding))

    def test_the_end_of_a_preview_is_not_the_end(self) -> None:
        data = cv2.imencode(".jpg", self.picture)[1].tobytes()
        preview = b"Exif\0\0" + data
        segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
        whole = data[:2] + segment + data[2:]
        np.testing.assert_array_equal(decode_compressed(whole), decode_compressed(data))
        with pytest.raises(ImageError, match="is truncated"):
            decode_compressed(whole[:-20])

    def test_motion_jpeg_has_no_tables(self) -> None:
        """Its Huffman tables are the standard's, and are left out."""
        encode = [cv2.IMWRITE_JPEG_OPTIMIZE, 0]
        data = cv2.imencode(".jpg", self.picture, encode)[1].tobytes()
        bare = data
        while (place := bare.find(b"\xff\xc4")) >= 0:
            length = int.from_bytes(bare[place + 2 : place + 4], "big")
            bare = bare[:place] + bare[place + 2 + length :]
        assert len(bare) < len(data)
        np.testing.assert_array_equal(
            decode_compressed(bare + bytes(2000)), decode_compressed(data)
        )

    @pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".tif", ".webp", ".pgm"])
    def test_sizes_said_before_decoding(self, ending: str) -> None:
        gray = cv2.imencode(ending, self.picture)[1].tobytes()
        assert decoded_bytes(gray) in (60 * 80, 60 * 80 * 3, 60 * 80 * 4)
        colour = cv2.imencode(
            ".ppm" if ending == ".pgm" else ending, np.zeros((60, 80, 3), np.uint8)
        )[1]
        assert decoded_bytes(colour.tobytes()) in (60 * 80 * 3, 60 * 80 * 4)
        for length in range(0, 40):
            decoded_bytes(gray[:length])

    def test_a_small_file_of_a_huge_picture(self) -> None:
        small = bytearray(cv2.imencode(".png", self.picture)[1].tobytes())
        small[16:24] = struct.pack(">II", 30_000, 30_000)
        with pytest.raises(ImageError, match="more pixels than fit"):
            decode_compressed(bytes(small))
        with pytest.raises(ImageError, match="more pixels than fit"):
            decode_compressed(b"P5 30000 30000 255\n" + bytes(10))


class TestCompressedDepth:
    """As image_transport's plugins compress it."""

    millimetres = np.array([[0, 500], [1500, 65535]], np.uint16)

    @staticmethod
    def decode(how: str, pixels: np.ndarray, header: bytes = b"", ending: str = ".png"):
        data = header + cv2.imencode(ending, pixels)[1].tobytes()
        return depth_of_message(SimpleNamespace(format=how, data=np.frombuffer(data, np.uint8)))

    def test_millimetres(self) -> None:
        for how, header in (
            ("16UC1; png compressed ", b""),
            ("16UC1; compressedDepth", bytes(12)),
            ("16UC1; compressedDepth png", bytes(12)),
        ):
            depth = self.decode(how, self.millimetres, header)
            np.testing.assert_allclose(depth, self.millimetres / 1000)
            assert depth.dtype == np.float32

    def test_metres_are_kept_as_inverse_depths(self) -> None:
        """The plugin's defaults: up to 10 m, quantised for 100."""
        a = 100.0 * 101.0
        b = 1.0 - a / 10.0
        depth = np.array([[0.5, 2.0], [9.9, 0.0]])
        known = depth > 0
        kept = np.where(known, a / np.where(known, depth, 1.0) + b, 0).astype(np.uint16)
        found = self.decode("32FC1; compressedDepth png", kept, struct.pack("<iff", 0, a, b))
        np.testing.assert_allclose(found[known], depth[known], rtol=2e-3)
        assert found.dtype == np.float32
        assert np.isnan(found[1, 1])

    @pytest.mark.parametrize(
        ("how", "header", "ending", "words"),
        [
            ("16UC1; compressedDepth rvl", bytes(20), ".png", "must be a PNG"),
            ("16UC1; jpeg compressed ", b"", ".jpg", "must be a PNG"),
            ("32FC1; png compressed ", b"", ".png", "by compressedDepth, not by 'png comp"),
            ("32FC1; compressedDepth png", b"", ".png", "must be a PNG"),
            ("rgb8; png compressed bgr8", b"", ".png", "not 'rgb8'"),
            ("png", b"", ".png", "not 'png'"),
            ("16UC1; png compressed ", b"", ".png", "one channel of 16 bits"),
        ],
    )
    def test_what_is_no_depth(self, how: str, header: bytes, ending: str, words: str) -> None:
        with pytest.raises(ImageError, match=words):
            self.decode(how, np.zeros((4, 4), np.uint8), header, ending)

    def test_nothing_and_half_of_it(self) -> None:
        data = bytes(12) + cv2.imencode(".png", self.millimetres)[1].tobytes()
        for length in (0, 5, 12, 40):
            message = SimpleNamespace(format="16UC1; compressedDepth png", data=data[:length])
            with pytest.raises(ImageError):
                depth_of_message(message)


class TestCalibration:
    size = (640, 480)

    def read(self, folder: Path, text: str, name: str = "calib.txt"):
        (folder / name).write_text(text)
        return read_calibration(folder / name, self.size)

    def test_kitti_with_and_without_labels(self, tmp_path: Path) -> None:
        labelled = "P0: " + CALIB.replace("\n", "\nP1: ", 1)
        for text in (CALIB, labelled):
            camera = self.read(tmp_path, text)
            assert (camera.matrix[0, 0], camera.matrix[0, 2], camera.model) == (700, 300, "none")
            assert (camera.width, camera.height) == self.size

    def test_tum(self, tmp_path: Path) -> None:
        plain = self.read(tmp_path, "# fx\n500 501 320 240\n")
        assert (plain.model, plain.matrix[1, 1]) == ("none", 501)
        lens = self.read(tmp_path, "500 501 320 240 .1 .2 .3 .4 .5\n")
        assert lens.model == "plumb_bob"
        np.testing.assert_allclose(lens.distortion, [0.1, 0.2, 0.3, 0.4, 0.5])

    def test_euroc_and_ros_yaml(self, tmp_path: Path) -> None:
        euroc = self.read(
            tmp_path,
            "resolution: [752, 480]\nintrinsics: [458., 457., 367., 248.]\n"
            "distortion_model: radial-tangential\ndistortion_coefficients: [-.28, .07, 0, 0]\n",
            "sensor.yaml",
        )
        assert (euroc.width, euroc.model, len(euroc.distortion)) == (752, "plumb_bob", 5)
        ros = self.read(
            tmp_path,
            "image_width: 320\nimage_height: 200\ndistortion_model: equidistant\n"
            "camera_matrix: {rows: 3, cols: 3, data: [1, 0, 2, 0, 3, 4, 0, 0, 1]}\n"
            "distortion_coefficients: {rows: 1, cols: 4, data: [.1, 0, 0, 0]}\n",
            "camera.yaml",
        )
        assert (ros.width, ros.model, ros.matrix[1, 2]) == (320, "equidistant", 4)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1 2 3\n", "3 numbers in the first row"),
            ("", "no numbers"),
            ("nan 1 1 1\n", "not a finite number"),
            ("0 " * 12, "focal length"),
        ],
    )
    def test_bad_files(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            self.read(tmp_path, text)

    def test_bad_yaml(self, tmp_path: Path) -> None:
        for text in ("a: [", "a: 1", "", "intrinsics: [1, 2]"):
            with pytest.raises(SourceError, match="no camera calibration"):
                self.read(tmp_path, text, "camera.yaml")


class TestFolders:
    def test_plain_images(self, tmp_path: Path, rng: np.random.Generator) -> None:
        images = write_images(tmp_path, ["b.png", "a.png"], rng)
        source = open_source(tmp_path)
        frames = list(source)
        assert (len(source), source.camera, source.name) == (2, None, tmp_path.name)
        np.testing.assert_array_equal(frames[0].image, images[1])
        assert [frame.stamp_ns for frame in frames] == [0, 100_000_000]
        assert len(list(source)) == 2

    def test_kitti_stereo(self, tmp_path: Path, rng: np.random.Generator) -> None:
        write_images(tmp_path / "image_l", ["000000.png", "000001.png"], rng)
        rights = write_images(tmp_path / "image_r", ["000000.png", "000001.png"], rng)
        (tmp_path / "calib.txt").write_text(CALIB)
        (tmp_path / "times.txt").write_text("0.0\n0.25\n")
        frames = list(open_source(tmp_path))
        np.testing.assert_array_equal(frames[1].right, rights[1])
        assert frames[1].baseline_m == pytest.approx(0.5)
        assert frames[1].stamp_ns == 250_000_000
        assert (frames[0].camera.width, frames[0].camera.height) == (32, 24)

    def test_kitti_odometry_layout(self, tmp_path: Path, rng: np.random.Generator) -> None:
        write_images(tmp_path / "image_2", ["000000.png"], rng)
        rows = [f"P{i}: {700 + i} 0 300 {-100 * i} 0 700 100 0 0 0 1 0" for i in range(4)]
        (tmp_path / "calib.txt").write_text("\n".join(rows))
        assert open_source(tmp_path).camera.matrix[0, 0] == 702

    def test_kitti_lacks(self, tmp_path: Path, rng: np.random.Generator) -> None:
        write_images(tmp_path / "image_0", ["000000.png"], rng)
        with pytest.raises(SourceError, match=r"calib.txt is missing"):
            open_source(tmp_path)
        (tmp_path / "other.txt").write_text("500 500 16 12\n")
        other = open_source(tmp_path, calibration=tmp_path / "other.txt")
        assert other.camera.matrix[0, 0] == 500
        (tmp_path / "calib.txt").write_text(CALIB)
        (tmp_path / "times.txt").write_text("0.0\n0.1\n")
        with pytest.raises(SourceError, match="2 times for 1 images"):
            open_source(tmp_path)

    def test_tum_with_depth(self, tmp_path: Path, rng: np.random.Generator) -> None:
        write_images(tmp_path / "rgb", ["1.5.png"], rng)
        (tmp_path / "depth").mkdir()
        cv2.imwrite(str(tmp_path / "depth" / "1.6.png"), np.full((24, 32), 5000, np.uint16))
        (tmp_path / "calibration.txt").write_text("500 500 16 12\n")
        for order in ("1.5 rgb/1.5.png 1.6 depth/1.6.png", "1.6 depth/1.6.png 1.5 rgb/1.5.png"):
            (tmp_path / "associations.txt").write_text(f"# a comment\n{order}\n")
            frame = next(iter(open_source(tmp_path)))
            assert frame.stamp_ns == 1_500_000_000
            np.testing.assert_allclose(frame.depth_m, 1.0)
        (tmp_path / "associations.txt").write_text("1.5 rgb/1.5.png 1.6\n")
        with pytest.raises(SourceError, match=r"associations.txt:1: 3 columns"):
            open_source(tmp_path)

    def test_tum_stamps_from_names_and_lists(
        self, tmp_path: Path, rng: np.random.Generator
    ) -> None:
        write_images(tmp_path / "rgb", ["1305031230.197772.png"], rng)
        assert next(iter(open_source(tmp_path))).stamp_ns == 1305031230_197772000
        (tmp_path / "rgb.txt").write_text("7.25 rgb/1305031230.197772.png\n")
        assert next(iter(open_source(tmp_path))).stamp_ns == 7_250_000_000

    def test_tum_as_it_is_downloaded(self, tmp_path: Path, rng: np.random.Generator) -> None:
        write_images(tmp_path / "rgb", ["1.00.png", "2.00.png", "3.00.png"], rng)
        (tmp_path / "depth").mkdir()
        for name in ("1.01", "1.015", "2.1"):
            cv2.imwrite(str(tmp_path / "depth" / f"{name}.png"), np.ones((24, 32), np.uint16))
        rows = "".join(f"{n}.00 rgb/{n}.00.png\n" for n in (1, 2, 3))
        (tmp_path / "rgb.txt").write_text("# color images\n" + rows)
        assert not open_source(tmp_path).has_depth
        rows = "".join(f"{n} depth/{n}.png\n" for n in ("1.01", "1.015", "2.1"))
        (tmp_path / "depth.txt").write_text("# depth maps\n" + rows)
        source = open_source(tmp_path)
        assert source.has_depth
        assert not source.is_stereo
        assert isinstance(source, ImageFileSource)
        assert [entry.depth and entry.depth.name for entry in source.entries] == [
            "1.01.png", None, None
        ]  # fmt: skip
        (tmp_path / "depth.txt").write_text("1.0\n")
        with pytest.raises(SourceError, match=r"depth.txt:1: expected a stamp"):
            open_source(tmp_path)

    def test_euroc(self, tmp_path: Path, rng: np.random.Generator) -> None:
        cam0 = tmp_path / "mav0" / "cam0"
        write_images(cam0 / "data", ["1403.png"], rng)
        (cam0 / "data.csv").write_text("#timestamp [ns],filename\n1403,1403.png\n")
        (cam0 / "sensor.yaml").write_text(
            "resolution: [32, 24]\nintrinsics: [40., 40., 16., 12.]\n"
            "distortion_model: equidistant\ndistortion_coefficients: [0.1, 0, 0, 0]\n"
        )
        for path in (tmp_path, cam0):
            source = open_source(path)
            assert next(iter(source)).stamp_ns == 1403
            assert source.camera.model == "equidistant"

    def test_unreadable_frames_are_counted_and_skipped(
        self, tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_images(tmp_path, ["a.png", "b.png", "c.png"], rng)
        (tmp_path / "b.png").write_bytes(b"\x89PNG broken")
        source = open_source(tmp_path)
        assert [frame.stamp_ns for frame in source] == [0, 200_000_000]
        assert source.skipped == 1
        assert "b.png is truncated" in caplog.text

    def test_a_frame_with_unreadable_depth_comes_without(
        self, tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_images(tmp_path / "rgb", ["1.5.png", "2.5.png"], rng)
        (tmp_path / "depth").mkdir()
        cv2.imwrite(str(tmp_path / "depth" / "1.6.png"), np.full((24, 32), 5000, np.uint16))
        (tmp_path / "depth" / "2.6.png").write_bytes(b"\x89PNG broken")
        rows = "1.5 rgb/1.5.png 1.6 depth/1.6.png\n2.5 rgb/2.5.png 2.6 depth/2.6.png\n"
        (tmp_path / "associations.txt").write_text(rows)
        source = open_source(tmp_path)
        first, second = source
        assert first.depth_m is not None
        assert second.depth_m is None
        assert source.skipped == 0
        assert "a frame without depth" in caplog.text
        assert source.has_depth
        assert not open_source(tmp_path / "rgb").has_depth

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda path: None, "does not exist"),
            (lambda path: path.mkdir(), "no images in"),
            (lambda path: path.write_text("x"), "neither a folder"),
        ],
    )
    def test_no_source(self, tmp_path: Path, make, message: str) -> None:
        make(tmp_path / "thing")
        with pytest.raises(SourceError, match=message):
            open_source(tmp_path / "thing")

    def test_topics_are_for_bags(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no topics"):
            open_source(tmp_path, topic="/camera")

    def test_shared_data(self, shared_data: Path) -> None:
        kitti = open_source(shared_data / "kitti_06")
        assert (len(kitti), kitti.camera.matrix[0, 0]) == (51, 707.0912)
        stereo = next(iter(open_source(shared_data / "kitti_00_stereo")))
        assert stereo.baseline_m == pytest.approx(0.537, abs=1e-3)
        rgbd = open_source(shared_data / "tum_fr1_rpy_a")
        frame = next(iter(rgbd))
        assert (len(rgbd), rgbd.camera.model) == (80, "plumb_bob")
        assert 0.3 < np.median(frame.depth_m[frame.depth_m > 0]) < 5
        assert find_groundtruth(shared_data / "kitti_06").name == "poses.txt"
        assert find_groundtruth(shared_data / "textures") is None


def test_video(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MJPG")
    for value in (40, 120, 200):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    source = open_source(path)
    frames = list(source)
    assert (len(source), len(frames), source.camera) == (3, 3, None)
    assert [frame.stamp_ns for frame in frames] == [0, 50_000_000, 100_000_000]
    assert frames[2].image.mean() == pytest.approx(200, abs=6)


def test_no_video(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"not a video")
    with pytest.raises(SourceError, match="as a video"):
        open_source(tmp_path / "clip.mp4")
