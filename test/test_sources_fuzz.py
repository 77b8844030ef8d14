"""Any bytes give every reader a result or one line of error, soon and in little memory."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from bag_maker import BagMaker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin

from superglue_ros.errors import CameraError, ImageError, SourceError
from superglue_ros.geometry import check_camera
from superglue_ros.sources import (
    find_groundtruth,
    load_trajectory,
    open_source,
    read_depth,
    read_stamped_trajectory,
)
from superglue_ros.sources.calibration import camera_from_info, load_calibration
from superglue_ros.sources.encodings import (
    ENCODINGS,
    decode_compressed,
    depth_of_message,
    image_of_message,
)
from superglue_ros.sources.image_files import read_depth_array

MAX_S = 2.0
MAX_BYTES = 500_000_000
SIZE = (48, 32)

fuzz = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is skipped is logged, a thousand times here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@contextmanager
def bounded() -> Iterator[None]:
    """Only the errors that users see as one line, in bounded time and memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The machine may have other work.
    started, said = time.process_time(), ""
    try:
        yield
    except (SourceError, ImageError, CameraError) as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 5000
    assert time.process_time() - started < MAX_S
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < MAX_BYTES


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A good file with some bytes replaced, left out, repeated, or cut off."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 40))
        how = draw(st.sampled_from(("replace", "remove", "repeat", "cut", "number")))
        if how == "replace":
            data[start : start + length] = draw(st.binary(max_size=length))
        elif how == "remove":
            del data[start : start + length]
        elif how == "repeat":
            data[start:start] = data[start : start + length]
        elif how == "number":
            number = draw(st.sampled_from((0, 1, 0x7FFFFFFF, 0xFFFFFFFF)))
            data[start : start + 4] = number.to_bytes(4, "little")
        else:
            del data[start:]
    return bytes(data)


def any_bytes(*seeds: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(mutated(seeds), st.binary(max_size=300))


CALIBRATIONS = (
    b"%YAML:1.0\n---\nimage_width: 48\nimage_height: 32\nfisheye_model: 0\n"
    b"camera_matrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n"
    b"   data:[ 50., 0., 24., 0., 50., 16., 0., 0., 1. ]\n"
    b"distortion_coefficients: !!opencv-matrix\n   data: [ .1, .2, .3, .4, .5 ]\n",
    b"cam0:\n  camera_model: pinhole\n  distortion_coeffs: [.1, .2, .3, .4]\n"
    b"  distortion_model: radtan\n  intrinsics: [50, 50, 24, 16]\n  resolution: [48, 32]\n"
    b"  rostopic: /cam0\ncam1:\n  camera_model: pinhole\n  distortion_model: none\n"
    b"  intrinsics: [50, 50, 24, 16]\n",
    b"Camera.type: KannalaBrandt8\nCamera1.fx: 1\nCamera1.fy: 1\nCamera1.cx: 1\nCamera1.cy: 1\n"
    b"Camera1.k1: 0.1\nCamera1.k2: 0.1\nCamera1.k3: 0.1\nCamera1.k4: 0.1\n",
    b"model_type: PINHOLE\nimage_width: 48\ndistortion_parameters:\n  k1: 1\n  k2: 1\n  p1: 1\n"
    b"  p2: 1\nprojection_parameters:\n  fx: 1\n  fy: 1\n  cx: 1\n  cy: 1\n",
    b"width: 48\nheight: 32\ndistortion_model: plumb_bob\nd: [1, 2, 3, 4, 5]\n"
    b"k: [1, 0, 1, 0, 1, 1, 0, 0, 1]\n",
)
TEXTS = (
    b"P0: 7 0 3 0 0 7 1 0 0 0 1 0\nP1: 7 0 3 -3 0 7 1 0 0 0 1 0\n",
    b"# c\n500 500 16 12 .1 .2 .3 .4 .5\n",
    b"Pinhole 50 50 24 16 0\n48 32\ncrop\n48 32\n",
    b"1 OPENCV 48 32 50 50 24 16 .1 .2 .3 .4\n",
    b"S_00: 48 32\nK_00: 5 0 2 0 5 1 0 0 1\nD_00: 1 2 3 4 5\nS_rect_00: 48 32\n"
    b"P_rect_00: 7 0 3 0 0 7 1 0 0 0 1 0\n",
)
TRAJECTORIES = (
    b"# timestamp tx ty tz qx qy qz qw\n1 1 2 3 0 0 0 1\n2 1 2 3 0 0 0 1\n",
    b"1403636579763555584.0 1 2 3 0 0 0 1\n",
    b"#timestamp [ns],p_RS_R_x [m]\n1403636579763555584,1,2,3,1,0,0,0\n",
    b"time,x,y,z,qx,qy,qz,qw\n1,1,2,3,0,0,0,1\n",
    b"1 0 0 0 0 1 0 0 0 0 1 0\n" * 2,
    b"0 0 0 0 0 0 1\n" * 2,
    b"1 0 0 5 0 1 0 6 0 0 1 7 0 0 0 1\n" * 2,
)
WORDS = st.sampled_from(
    ("nan", "inf", "-1e308", "1e999", "9" * 400, "0", "1", "", "a", "1_000", "\u0661", "#", ",")
)


@fuzz
@given(content=any_bytes(*CALIBRATIONS, *TEXTS), suffix=st.sampled_from((".yaml", ".txt", "")))
def test_calibrations(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"calibration{suffix}"
    path.write_bytes(content)
    with bounded():
        found = load_calibration(path, SIZE)
        assert np.all(np.isfinite(found.camera.matrix))
        check_camera(found.camera)


@fuzz
@given(
    keys=st.dictionaries(
        st.sampled_from(
            (
                "camera_matrix", "distortion_coefficients", "distortion_model", "camera_model",
                "intrinsics", "resolution", "distortion_coeffs", "image_width", "fisheye_model",
                "projection_parameters", "model_type", "Camera.fx", "Camera.type", "K", "D",
                "cam0",
            )
        ),
        st.sampled_from(
            (
                "[]", "{}", "", "x", "1", "[1, 2, 3, 4]", "{data: [1, 0, 1, 0, 1, 1, 0, 0, 1]}",
                "{data: x}", "[[1]]", "[.nan, .inf, 1, 1]", "pinhole", "none", "equidistant", "-1",
                "1e400", "!!python/object:os.system x", "&a [*a]", "2001-01-01",
            )
        ),
    )
)  # fmt: skip
def test_calibrations_of_known_words(tmp_path: Path, keys: dict[str, str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in keys.items()))
    with bounded():
        load_calibration(path, SIZE)


@fuzz
@given(content=any_bytes(*TRAJECTORIES, *TEXTS))
def test_trajectories(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "poses.txt"
    path.write_bytes(content)
    with bounded():
        trajectory = load_trajectory(path, np.arange(2)).trajectory
        assert np.all(np.isfinite(trajectory.positions))
        norms = np.linalg.norm(trajectory.quaternions_xyzw, axis=1)
        np.testing.assert_allclose(norms, 1)
    with bounded():
        read_stamped_trajectory(path)


@fuzz
@given(rows=st.lists(st.lists(WORDS, min_size=7, max_size=17), min_size=1, max_size=3))
def test_trajectories_of_strange_numbers(tmp_path: Path, rows: list[list[str]]) -> None:
    for separator in (" ", ","):
        path = tmp_path / "poses.txt"
        path.write_text("\n".join(separator.join(row) for row in rows), encoding="utf-8")
        with bounded():
            load_trajectory(path, np.arange(len(rows)))


def pictures() -> tuple[bytes, ...]:
    gray = np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8)
    colour, deep = np.dstack([gray] * 3), gray.astype(np.uint16) * 200
    return tuple(
        cv2.imencode(ending, image)[1].tobytes()
        for ending, image in (
            (".png", gray), (".png", colour), (".png", deep), (".jpg", gray), (".jpg", colour),
            (".bmp", colour), (".tif", deep), (".tif", gray), (".webp", colour), (".pgm", gray),
            (".ppm", colour),
        )
    )  # fmt: skip


@fuzz
@given(content=any_bytes(*pictures()))
def test_images(tmp_path: Path, content: bytes) -> None:
    with bounded():
        image = decode_compressed(content)
        assert image.dtype == np.uint8
        assert image.ndim in (2, 3)
    path = tmp_path / "depth.png"
    path.write_bytes(content)
    with bounded():
        read_depth(path)


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
def test_a_megabyte_of_a_huge_image(ending: str) -> None:
    """The largest that a file of this size can say to be, and the largest that is decoded."""
    for width in (12_000, 7_000) if ending != ".webp" else (8_000, 6_000):
        data = cv2.imencode(ending, np.zeros((width, width, 3), np.uint8))[1].tobytes()
        with bounded():
            decode_compressed(data[:1_000_000] if ending == ".tif" else data)


def array_file(shape: tuple[int, ...], folder: Path) -> bytes:
    np.save(folder / "a.npy", np.zeros(shape, np.float32))
    return (folder / "a.npy").read_bytes()


@fuzz
@given(data=st.data())
def test_depth_arrays(tmp_path: Path, data: st.DataObject) -> None:
    seeds = (array_file((4, 4), tmp_path), array_file((2, 2, 2), tmp_path))
    seeds += (seeds[0].replace(b"(4, 4)", b"(9**9,)"), seeds[0].replace(b"4, 4", b"99999999, 4"))
    path = tmp_path / "d.npy"
    path.write_bytes(data.draw(any_bytes(*seeds)))
    with bounded():
        assert read_depth_array(path).ndim == 2


NUMBERS = st.sampled_from((0, 1, 2, 3, 48, 65535, 2**31 - 1, 2**32 - 1))


@fuzz
@given(
    width=NUMBERS, height=NUMBERS, step=NUMBERS, data=st.binary(max_size=64),
    encoding=st.one_of(st.sampled_from((*ENCODINGS, "32FC1", "16UC1", "")), st.text(max_size=8)),
    form=st.sampled_from(("16UC1; compressedDepth png", "32FC1; compressedDepth", "jpeg", "")),
)  # fmt: skip
def test_messages(
    width: int, height: int, step: int, data: bytes, encoding: str, form: str
) -> None:
    raw = SimpleNamespace(
        width=width, height=height, step=step, encoding=encoding, is_bigendian=1, data=data
    )
    compressed = SimpleNamespace(format=form, data=data)
    for message in (raw, compressed):
        for decode in (image_of_message, depth_of_message):
            with bounded():
                decode(message)


@fuzz
@given(
    model=st.one_of(st.text(max_size=12), st.sampled_from(("plumb_bob", "equidistant", "none"))),
    d=st.lists(st.floats(), max_size=15),
    k=st.lists(st.floats(), min_size=9, max_size=9),
    binning=NUMBERS,
)
def test_camera_infos(model: str, d: list[float], k: list[float], binning: int) -> None:
    roi = SimpleNamespace(x_offset=binning, y_offset=1, width=binning, height=1)
    message = SimpleNamespace(
        width=48, height=32, distortion_model=model, d=d, k=k, roi=roi, binning_x=binning,
        binning_y=1,
    )  # fmt: skip
    with bounded(), np.errstate(all="ignore"):
        check_camera(camera_from_info(message))


class Bags(dict[str, bytes]):
    """Bags by their suffix, of which a failure shows no bytes."""

    __repr__ = object.__repr__


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Bags:
    """A small bag of each kind, by its suffix."""
    folder = tmp_path_factory.mktemp("bags")
    found = Bags()
    matrix = np.array([[50.0, 0, 24], [0, 51, 16], [0, 0, 1]])

    def fill(maker: BagMaker) -> None:
        for stamp in (1, 2):
            maker.image(stamp * 10**9, np.full((4, 6), stamp, np.uint8))
        maker.info(10**9, matrix, (0.1,) * 5)
        maker.close()

    fill(BagMaker(folder / "one.bag", ros1=True))
    found[".bag"] = (folder / "one.bag").read_bytes()
    for name, storage, mode in (
        (".mcap", StoragePlugin.MCAP, ()),
        (".packed.mcap", StoragePlugin.MCAP, (CompressionMode.STORAGE, CompressionFormat.ZSTD)),
        (".db3", StoragePlugin.SQLITE3, ()),
        (".db3.zstd", StoragePlugin.SQLITE3, (CompressionMode.FILE, CompressionFormat.ZSTD)),
        (".message.mcap", StoragePlugin.MCAP, (CompressionMode.MESSAGE, CompressionFormat.ZSTD)),
    ):
        fill(BagMaker(folder / name, compression=mode, storage_plugin=storage))
        file = next(path for path in (folder / name).iterdir() if path.suffix != ".yaml")
        found[name] = file.read_bytes()
    return found


KINDS = (".bag", ".mcap", ".packed.mcap", ".db3", ".db3.zstd", ".message.mcap")


@pytest.mark.parametrize("kind", KINDS)
def test_good_bags(tmp_path: Path, bags: Bags, kind: str) -> None:
    path = tmp_path / f"bag{kind}"
    path.write_bytes(bags[kind])
    assert len(list(open_source(path))) == 2


@pytest.mark.parametrize("kind", KINDS)
@fuzz
@given(data=st.data())
def test_bags(tmp_path: Path, bags: Bags, kind: str, data: st.DataObject) -> None:
    path = tmp_path / f"bag{kind}"
    path.write_bytes(data.draw(any_bytes(bags[kind])))
    with bounded():
        list(open_source(path))


@fuzz
@given(
    content=any_bytes(
        b"rosbag2_bagfile_information:\n  version: 5\n  relative_file_paths:\n    - bag_0.mcap\n"
        b"  compression_format: zstd\n"
    )
)
def test_metadata(tmp_path: Path, bags: Bags, content: bytes) -> None:
    (tmp_path / "bag_0.mcap").write_bytes(bags[".mcap"])
    (tmp_path / "metadata.yaml").write_bytes(content)
    with bounded():
        assert len(list(open_source(tmp_path))) == 2


LISTS: dict[str, tuple[str, bytes]] = {
    "times.txt": (".", b"0.0\n0.1\n"),
    "data.csv": ("data", b"#timestamp [ns],filename\n1403,1.png\n1404,2.png\n"),
    "associations.txt": ("rgb", b"1.5 rgb/1.png 1.6 rgb/2.png\n"),
    "rgb.txt": ("rgb", b"1.5 rgb/1.png\n2.5 rgb/2.png\n"),
    "depth.txt": ("rgb", b"1.5 rgb/1.png\n2.5 rgb/2.png\n"),
    "calib.txt": ("image_0", TEXTS[0]),
    "image_00/timestamps.txt": (
        "image_00/data", b"2011-09-26 13:02:25.964389445\n2011-09-26 13:02:26.1\n"
    ),
    "calib_cam_to_cam.txt": ("image_00/data", TEXTS[4]),
    "calibration/undistorted_calib_stereo.txt": (
        "undistorted_images/cam0", b"1 0 0 -.3\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
    ),
    "pose_left.txt": ("image_left", TRAJECTORIES[5]),
}  # fmt: skip
"""Files of folders that say something about their images: where those are, and a good one."""


@pytest.mark.parametrize("name", LISTS)
@fuzz
@given(data=st.data())
def test_folders(tmp_path: Path, name: str, data: st.DataObject) -> None:
    images, good = LISTS[name]
    folder = tmp_path / "folder"
    (folder / images).mkdir(parents=True, exist_ok=True)
    for number in (1, 2):
        cv2.imwrite(str(folder / images / f"{number}.png"), np.zeros(SIZE[::-1], np.uint8))
    if name == "depth.txt":
        (folder / "rgb.txt").write_bytes(LISTS["rgb.txt"][1])
    for calibration, text in (
        ("calib_cam_to_cam.txt", TEXTS[4]), ("calibration/undistorted_calib_0.txt", TEXTS[2]),
    ):  # fmt: skip
        (folder / calibration).parent.mkdir(exist_ok=True)
        (folder / calibration).write_bytes(text)
    (folder / name).write_bytes(data.draw(any_bytes(good)))
    with bounded():
        list(open_source(folder))
    truth = find_groundtruth(folder)
    if truth is not None:
        with bounded():
            read_stamped_trajectory(truth)


def video(folder: Path, ending: str) -> bytes:
    path = folder / f"clip{ending}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    for value in (40, 120, 200):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    return path.read_bytes() if path.is_file() else b"RIFF"


@settings(fuzz, max_examples=25)
@given(data=st.data())
def test_videos(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "video.avi"
    path.write_bytes(data.draw(any_bytes(video(tmp_path, ".avi"))))
    with bounded():
        list(open_source(path))


@pytest.mark.parametrize(
    ("read", "suffix"),
    [
        (lambda path: load_calibration(path, SIZE), ".yaml"),
        (lambda path: load_calibration(path, SIZE), ".txt"),
        (lambda path: load_trajectory(path, np.arange(1)), ".txt"),
        (lambda path: list(open_source(path)), ".mcap"),
        (lambda path: list(open_source(path)), ".db3"),
        (lambda path: list(open_source(path)), ".bag"),
        (lambda path: list(open_source(path)), ".zip.db3.zstd"),
        (lambda path: list(open_source(path)), ".avi"),
        (lambda path: list(open_source(path.parent)), ".png"),
    ],
)
@pytest.mark.parametrize(
    "content",
    [
        bytes(1_000_000),
        b"\xff" * 1_000_000,
        b"[" * 1_000_000,
        b"a: " * 300_000,
        b"1 " * 500_000,
        b"1\n" * 500_000,
        b"1 2 3 4 5 6 7 8\n" * 60_000,
        b"1," * 500_000,
        b"#\n" * 500_000,
        b"\n" * 1_000_000,
        b" " * 1_000_000,
        b"#ROSBAG V2.0\n" * 80_000,
        b"\x89MCAP0\r\n" * 120_000,
        b"SQLite format 3\0" * 60_000,
        np.random.default_rng(1).bytes(1_000_000),
    ],
    ids=range(15),
)
def test_a_megabyte(
    tmp_path: Path, read: Callable[[Path], Any], suffix: str, content: bytes
) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with bounded():
        read(path)
