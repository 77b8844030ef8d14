"""Folder layouts: plain images, KITTI, TUM RGB-D and EuRoC."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from superglue_ros.errors import SourceError
from superglue_ros.sources.calibration import read_calibration, read_kitti_calibration
from superglue_ros.sources.image_files import (
    FileEntry,
    ImageFileSource,
    first_image_size,
    list_images,
)
from superglue_ros.sources.trajectories import (
    KITTI_COLUMNS,
    NS_PER_S,
    parse_stamp,
    read_table,
    read_trajectory,
)
from superglue_ros.stamps import DEPTH_TOLERANCE_S
from superglue_ros.types import CameraModel, Trajectory

DEFAULT_PERIOD_NS = NS_PER_S // 10
"""Between frames of folders that do not say when they were taken (10 Hz, KITTI's rate)."""

_KITTI_CAMERAS = (("image_l", "image_r", 0), ("image_0", "image_1", 0), ("image_2", "image_3", 2))
"""Left folder, right folder, and the left camera's row in calib.txt."""


def open_folder(path: Path, calibration: Path | None = None) -> ImageFileSource:
    """Frames of a folder in whichever layout it has; raises SourceError.

    calibration: a file that replaces the folder's own.
    """
    source = _open_layout(path, own_calibration=calibration is None)
    if calibration is not None:
        size = first_image_size([entry.image for entry in source.entries])
        source.camera = read_calibration(calibration, size)
    return source


def find_groundtruth(folder: Path) -> Path | None:
    """The folder's poses.txt (KITTI) or groundtruth.txt (TUM), None if it has neither."""
    for name in ("poses.txt", "groundtruth.txt"):
        if (folder / name).is_file():
            return folder / name
    return None


def kitti_stamps(path: Path, count: int) -> list[int]:
    """Nanoseconds of a KITTI folder's frames: times.txt, or 10 Hz; raises SourceError."""
    times = path / "times.txt"
    if not times.is_file():
        return [i * DEFAULT_PERIOD_NS for i in range(count)]
    stamps = [_stamp(times, number, words[0]) for number, words in read_table(times)]
    if len(stamps) != count:
        raise SourceError(f"{times}: {len(stamps)} times for {count} images")
    return stamps


def read_stamped_trajectory(path: str | Path) -> Trajectory:
    """Trajectory of a file on its own: KITTI poses take times.txt beside them, or 10 Hz.

    Raises SourceError.
    """
    path = Path(path)
    rows = read_table(path)
    if rows and len(rows[0][1]) == KITTI_COLUMNS:
        stamps = kitti_stamps(path.parent, len(rows))
        return read_trajectory(path, np.array(stamps, np.int64))
    return read_trajectory(path)


def _open_layout(path: Path, own_calibration: bool) -> ImageFileSource:
    for left, right, row in _KITTI_CAMERAS:
        if (path / left).is_dir():
            return _open_kitti(path, left, right, row, own_calibration)
    for folder in (path / "mav0" / "cam0", path / "cam0", path):
        if (folder / "data.csv").is_file() and (folder / "data").is_dir():
            return _open_euroc(path.name, folder, own_calibration)
    if any((path / name).exists() for name in ("associations.txt", "rgb.txt", "rgb")):
        return _open_tum(path, own_calibration)
    return _open_images(path)


def _open_images(path: Path) -> ImageFileSource:
    images = list_images(path)
    entries = [FileEntry(i * DEFAULT_PERIOD_NS, image) for i, image in enumerate(images)]
    return ImageFileSource(path.name, entries)


def _open_kitti(path: Path, left: str, right: str, row: int, calibrated: bool) -> ImageFileSource:
    images = list_images(path / left)
    camera, baseline = None, None
    if calibrated:
        calib = path / "calib.txt"
        if not calib.is_file():
            raise SourceError(f"{path}: calib.txt is missing (or give --calibration FILE)")
        camera, baseline = read_kitti_calibration(calib, first_image_size(images), row)
    entries = [
        FileEntry(stamp, image) for stamp, image in zip(kitti_stamps(path, len(images)), images)
    ]
    if baseline is not None and (path / right).is_dir():
        entries = [
            replace(entry, right=partner if partner.is_file() else None)
            for entry in entries
            for partner in [path / right / entry.image.name]
        ]
    return ImageFileSource(path.name, entries, camera, baseline_m=baseline)


def _open_tum(path: Path, calibrated: bool) -> ImageFileSource:
    if (path / "associations.txt").is_file():
        entries = _tum_associations(path)
    elif (path / "rgb.txt").is_file():
        entries = _tum_list(path)
    else:
        entries = [FileEntry(_stem_stamp(image), image) for image in list_images(path / "rgb")]
    if not entries:
        raise SourceError(f"{path}: no frames listed")
    camera: CameraModel | None = None
    if calibrated and (path / "calibration.txt").is_file():
        size = first_image_size([entry.image for entry in entries])
        camera = read_calibration(path / "calibration.txt", size)
    return ImageFileSource(path.name, entries, camera)


def _tum_associations(path: Path) -> list[FileEntry]:
    """Rows of associations.txt: colour and depth in either order, stamped by the colour image."""
    entries = []
    for number, words in read_table(path / "associations.txt"):
        if len(words) != 4:
            raise SourceError(
                f"{path}/associations.txt:{number}: {len(words)} columns; "
                "expected stamp, colour file, stamp, depth file"
            )
        colour, depth = (words[0], words[1]), (words[2], words[3])
        if colour[1].startswith("depth"):
            colour, depth = depth, colour
        stamp = _stamp(path / "associations.txt", number, colour[0])
        entries.append(FileEntry(stamp, path / colour[1], depth=path / depth[1]))
    return entries


def _tum_list(path: Path) -> list[FileEntry]:
    """Rows of rgb.txt, each with the depth of depth.txt of the nearest stamp, if it is near."""
    entries = [FileEntry(stamp, image) for stamp, image in _tum_rows(path, "rgb.txt")]
    if not (path / "depth.txt").is_file():
        return entries
    depths = _tum_rows(path, "depth.txt")
    stamps = np.array([stamp for stamp, _ in depths], np.int64)
    for i, entry in enumerate(entries):
        apart = np.abs(stamps - entry.stamp_ns)
        if apart.min(initial=NS_PER_S) <= DEPTH_TOLERANCE_S * NS_PER_S:
            entries[i] = replace(entry, depth=depths[int(apart.argmin())][1])
    return entries


def _tum_rows(path: Path, name: str) -> list[tuple[int, Path]]:
    rows = []
    for number, words in read_table(path / name):
        if len(words) != 2:
            raise SourceError(f"{path}/{name}:{number}: expected a stamp and a file name")
        rows.append((_stamp(path / name, number, words[0]), path / words[1]))
    return rows


def _open_euroc(name: str, folder: Path, calibrated: bool) -> ImageFileSource:
    """EuRoC camera folder: data.csv lists stamps in nanoseconds and files of data/."""
    entries = []
    for number, words in read_table(folder / "data.csv", separator=","):
        if len(words) != 2 or not words[0].isdigit():
            raise SourceError(f"{folder}/data.csv:{number}: expected nanoseconds,file")
        entries.append(FileEntry(int(words[0]), folder / "data" / words[1]))
    if not entries:
        raise SourceError(f"{folder}/data.csv: no frames listed")
    camera = None
    if calibrated and (folder / "sensor.yaml").is_file():
        size = first_image_size([entry.image for entry in entries])
        camera = read_calibration(folder / "sensor.yaml", size)
    return ImageFileSource(name, entries, camera)


def _stamp(path: Path, number: int, text: str) -> int:
    try:
        return parse_stamp(text)
    except ValueError as error:
        raise SourceError(f"{path}:{number}: {error}") from error


def _stem_stamp(image: Path) -> int:
    try:
        return parse_stamp(image.stem)
    except ValueError as error:
        raise SourceError(f"{image}: the file name is no stamp and there is no rgb.txt") from error
