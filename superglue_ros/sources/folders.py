"""Folders of images: which layout one has, and plain folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from superglue_ros.errors import SourceError
from superglue_ros.sources.calibration import load_calibration
from superglue_ros.sources.folders_kitti import kitti_stamps, open_kitti, open_kitti_raw
from superglue_ros.sources.folders_others import (
    open_4seasons,
    open_euroc,
    open_tartanair,
    open_tum,
)
from superglue_ros.sources.image_files import (
    DEFAULT_PERIOD_NS,
    FileEntry,
    ImageFileSource,
    first_image_size,
    list_images,
)
from superglue_ros.sources.tables import NS_PER_S, Row, parse_stamps, read_table, stamp_unit
from superglue_ros.sources.trajectories import (
    RecordedTrajectory,
    load_trajectory,
    needs_stamps,
)
from superglue_ros.types import Trajectory

_LAYOUTS: tuple[Callable[[Path, bool], ImageFileSource | None], ...] = (
    open_kitti,
    open_kitti_raw,
    open_euroc,
    open_4seasons,
    open_tartanair,
    open_tum,
)
"""Each gives None for a folder that is laid out differently; the flag says whether the folder's
own calibration is wanted."""

_GROUNDTRUTH = (
    "poses.txt",
    "groundtruth.txt",
    "mav0/state_groundtruth_estimate0/data.csv",
    "state_groundtruth_estimate0/data.csv",
    "pose_left.txt",
    "pose_lcam_front.txt",
    "GNSSPoses.txt",
)

_OLDEST_S = 1e9
"""A file name of so many seconds since 1970 (2001) and more is a time, and no frame's number."""


def open_folder(path: Path, calibration: Path | None = None) -> ImageFileSource:
    """Frames of a folder in whichever layout of docs/sources.md it has; raises SourceError.

    calibration: a file that replaces the folder's own.
    """
    source = None
    for open_layout in _LAYOUTS:
        source = open_layout(path, calibration is None)
        if source is not None:
            break
    if source is None:
        source = _open_images(path)
    if calibration is not None:
        size = first_image_size([entry.image for entry in source.entries])
        given = load_calibration(calibration, size)
        source.camera = given.camera
        source.notes += (f"calibration: {given.origin}",)
    return source


def find_groundtruth(folder: Path) -> Path | None:
    """The folder's own trajectory (poses.txt of KITTI, groundtruth.txt of TUM, those of EuRoC,
    TartanAir and 4Seasons), None if it has none."""
    return next((folder / name for name in _GROUNDTRUTH if (folder / name).is_file()), None)


def read_stamped_trajectory(path: str | Path) -> Trajectory:
    """Trajectory of a file on its own, see `load_stamped_trajectory`."""
    return load_stamped_trajectory(path).trajectory


def load_stamped_trajectory(path: str | Path) -> RecordedTrajectory:
    """Trajectory of a file on its own: KITTI poses take times.txt beside them, or 10 Hz.

    Raises SourceError.
    """
    path = Path(path)
    if not needs_stamps(path):
        return load_trajectory(path)
    stamps, origin = kitti_stamps(path.parent, len(read_table(path)))
    found = load_trajectory(path, np.array(stamps, np.int64))
    return replace(found, origin=f"{found.origin}, {origin}")


def _open_images(path: Path) -> ImageFileSource:
    try:
        images = list_images(path)
    except SourceError as error:
        raise SourceError(f"{error}{_hint(path)}") from error
    stamps, origin = _stamps_of_images(path, images)
    order = sorted(range(len(images)), key=lambda i: stamps[i])
    entries = [FileEntry(stamps[i], images[i]) for i in order]
    return ImageFileSource(path.name, entries, notes=("layout: plain images", origin))


def _stamps_of_images(path: Path, images: list[Path]) -> tuple[list[int], str]:
    """When the images were taken, and how that is known."""
    if (path / "times.txt").is_file():
        stamps, origin = kitti_stamps(path, len(images))
        return stamps, f"order: natural order of the names; {origin}"
    rows = [Row(i, [image.stem]) for i, image in enumerate(images)]
    try:
        times = all(_is_time(image.stem) for image in images)
        stamps, unit = parse_stamps(path, rows) if times else ([], "")
    except SourceError:
        times = False
    if times:
        return stamps, f"order: by the times in the names, in {unit}"
    stamps = [i * DEFAULT_PERIOD_NS for i in range(len(images))]
    return stamps, "order: natural order of the names; times: none, 10 Hz assumed"


def _is_time(stem: str) -> bool:
    try:
        ns_per_unit, _ = stamp_unit(stem)
        return abs(float(stem)) * ns_per_unit >= _OLDEST_S * NS_PER_S
    except ValueError:
        return False


def _hint(path: Path) -> str:
    """Which folders inside have images, as " (but its folder ...)"."""
    found = []
    for folder in sorted(path.iterdir()) if path.is_dir() else []:
        if not folder.name.startswith(".") and folder.is_dir():
            try:
                found.append(f"{folder.name} has {len(list_images(folder))}")
            except SourceError:
                continue
    return f"; its folder {', '.join(found[:5])}" if found else ""
