"""Folders of KITTI: odometry (rectified pairs, calib.txt, times.txt) and raw drives."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from superglue_ros.errors import SourceError
from superglue_ros.sources.calibration_text import (
    read_kitti_calibration,
    read_kitti_raw_calibration,
)
from superglue_ros.sources.image_files import (
    DEFAULT_PERIOD_NS,
    FileEntry,
    ImageFileSource,
    first_image_size,
    list_images,
)
from superglue_ros.sources.tables import NS_PER_S, parse_stamps, read_lines, read_table
from superglue_ros.types import CameraModel

_CAMERAS = (("image_l", "image_r", 0), ("image_0", "image_1", 0), ("image_2", "image_3", 2))
"""Left folder, right folder, and the left camera's row in calib.txt."""

_RAW_CAMERAS = (("image_00", "image_01", 0), ("image_02", "image_03", 2))

_DATE = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d{1,9})?")


def open_kitti(path: Path, own_calibration: bool) -> ImageFileSource | None:
    """A KITTI odometry sequence; None if it is none. Raises SourceError."""
    cameras = next((x for x in _CAMERAS if (path / x[0]).is_dir()), None)
    if cameras is None:
        return None
    left, right, row = cameras
    images = list_images(path / left)
    camera, baseline = None, None
    notes = [f"layout: KITTI odometry, images of {left}"]
    if own_calibration:
        calib = path / "calib.txt"
        if not calib.is_file():
            raise SourceError(f"{path}: calib.txt is missing (or give --calibration FILE)")
        camera, baseline = read_kitti_calibration(calib, first_image_size(images), row)
        notes.append(f"calibration: {calib}, row {row + 1}")
    stamps, origin = kitti_stamps(path, len(images))
    return _stereo(path, images, stamps, path / right, camera, baseline, [*notes, origin])


def open_kitti_raw(path: Path, own_calibration: bool) -> ImageFileSource | None:
    """A drive of KITTI's raw data, rectified (sync) or not (extract), with calib_cam_to_cam.txt
    in it or, as it is downloaded, beside it; None if it is none. Raises SourceError."""
    cameras = next((x for x in _RAW_CAMERAS if (path / x[0] / "data").is_dir()), None)
    if cameras is None:
        return None
    left, right, number = cameras
    images = list_images(path / left / "data")
    camera, baseline = None, None
    notes = [f"layout: KITTI raw, images of {left}"]
    if own_calibration:
        folders = (path, path.resolve().parent)
        found = [folder / "calib_cam_to_cam.txt" for folder in folders]
        calib = next((file for file in found if file.is_file()), None)
        if calib is None:
            raise SourceError(
                f"{path}: calib_cam_to_cam.txt is missing in it and beside it "
                "(or give --calibration FILE)"
            )
        camera, baseline = read_kitti_raw_calibration(calib, first_image_size(images), number)
        kind = "rectified" if camera.model == "none" else "as taken, not rectified"
        notes.append(f"calibration: {calib}, camera {number:02d}, {kind}")
    stamps, origin = _raw_stamps(path / left / "timestamps.txt", images)
    right_folder = path / right / "data"
    return _stereo(path, images, stamps, right_folder, camera, baseline, [*notes, origin])


def kitti_stamps(path: Path, count: int) -> tuple[list[int], str]:
    """Nanoseconds of a KITTI folder's frames, by times.txt or at 10 Hz, and which of the two;
    raises SourceError."""
    times = path / "times.txt"
    if not times.is_file():
        return [i * DEFAULT_PERIOD_NS for i in range(count)], "times: none, 10 Hz assumed"
    stamps, unit = parse_stamps(times, read_table(times))
    if len(stamps) != count:
        raise SourceError(f"{times}: {len(stamps)} times for {count} images")
    return stamps, f"times: {times.name}, in {unit}"


def _raw_stamps(file: Path, images: list[Path]) -> tuple[list[int], str]:
    """Nanoseconds of the images, whose names are the numbers of the lines; the dates are taken as
    UTC."""
    if not file.is_file():
        stamps, origin = kitti_stamps(file.parent, len(images))
        return stamps, origin
    lines = [line.strip() for line in read_lines(file)]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) == len(images):
        chosen = list(range(len(lines)))
    else:
        chosen = [int(image.stem) if image.stem.isdecimal() else -1 for image in images]
        if not all(0 <= number < len(lines) for number in chosen):
            text = f"{len(lines)} times for {len(images)} images, and their names are no lines"
            raise SourceError(f"{file}: {text}")
    return [_date_ns(file, number, lines[number]) for number in chosen], f"times: {file.name}"


def _date_ns(file: Path, number: int, text: str) -> int:
    match = _DATE.fullmatch(text)
    try:
        if match is None:
            raise ValueError("no date and time")
        day, time, fraction = match.groups()
        moment = datetime.fromisoformat(f"{day} {time}").replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise SourceError(f"{file}:{number + 1}: {text!r}: {error}") from error
    return int(moment.timestamp()) * NS_PER_S + int((fraction or ".0")[1:].ljust(9, "0"))


def _stereo(
    path: Path,
    images: list[Path],
    stamps: list[int],
    right: Path,
    camera: CameraModel | None,
    baseline: float | None,
    notes: list[str],
) -> ImageFileSource:
    """A source with the right images where the baseline to them is known."""
    entries = [FileEntry(stamp, image) for stamp, image in zip(stamps, images)]
    if baseline is not None and right.is_dir():
        entries = [
            replace(entry, right=partner if partner.is_file() else None)
            for entry in entries
            for partner in [right / entry.image.name]
        ]
        notes.append(f"right images: {right.relative_to(path)}, {baseline:.4f} m away")
    elif right.is_dir():
        notes.append(f"right images: not used, no baseline to {right.relative_to(path)} is known")
    return ImageFileSource(path.name, entries, camera, baseline_m=baseline, notes=notes)
