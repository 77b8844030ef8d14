"""Folders of TUM RGB-D, EuRoC, 4Seasons and TartanAir."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from superglue_ros.errors import ImageError, SourceError
from superglue_ros.sources.calibration import Calibration, load_calibration
from superglue_ros.sources.calibration_text import camera_matrix
from superglue_ros.sources.euroc_pairs import euroc_rectification, with_right_images
from superglue_ros.sources.image_files import (
    DEFAULT_PERIOD_NS,
    FileEntry,
    ImageFileSource,
    first_image_size,
    list_images,
    read_depth_array,
    read_pixels,
)
from superglue_ros.sources.tables import NS_PER_S, Row, parse_stamps, read_table
from superglue_ros.stamps import DEPTH_TOLERANCE_S
from superglue_ros.types import CameraModel, FloatArray

_ASSOCIATIONS = ("associations.txt", "association.txt", "associated.txt", "associate.txt")

_TARTANAIR_CAMERAS = (
    ("image_left", "image_right", "depth_left"),
    ("image_lcam_front", "image_rcam_front", "depth_lcam_front"),
)
_TARTANAIR_SIZES = {(640, 480), (640, 640)}
"""Of its first and second edition; all cameras see 90 degrees across."""
_TARTANAIR_FOCAL_PX = 320.0
_TARTANAIR_BASELINE_M = 0.25


def open_tum(path: Path, own_calibration: bool) -> ImageFileSource | None:
    """A TUM RGB-D sequence (associations.txt, rgb.txt or rgb/); None if it is none. Raises
    SourceError."""
    listed = next((name for name in _ASSOCIATIONS if (path / name).is_file()), None)
    if listed is not None:
        entries, unit = _tum_associations(path / listed)
    elif (path / "rgb.txt").is_file():
        listed = "rgb.txt"
        entries, unit = _tum_list(path)
    elif (path / "rgb").is_dir():
        listed = "the names in rgb"
        entries, unit = _named_by_time(list_images(path / "rgb"), "there is no rgb.txt")
    else:
        return None
    if not entries:
        raise SourceError(f"{path}: no frames listed")
    notes = [f"layout: TUM RGB-D, by {listed}, times in {unit}"]
    found = _calibration(path / "calibration.txt", entries) if own_calibration else None
    return _source(path.name, entries, found, notes)


def open_euroc(path: Path, own_calibration: bool) -> ImageFileSource | None:
    """Camera 0 of an EuRoC sequence (mav0), or the camera whose folder it is; None if it is none.

    Where both cameras are calibrated, they can be rectified. Raises SourceError.
    """
    folders = (path / "mav0" / "cam0", path / "cam0", path)
    folder = next((x for x in folders if (x / "data").is_dir()), None)
    if folder is None or not ((folder / "data.csv").is_file() or folder != path):
        return None
    entries, origin = _euroc_images(folder)
    notes = [f"layout: EuRoC, images of {folder.resolve().name}", *origin]
    found = None
    if own_calibration:
        sensor, chain = folder / "sensor.yaml", path / "dso" / "camchain.yaml"
        found = _calibration(sensor if sensor.is_file() else chain, entries)
    right = folder.parent / "cam1"
    if folder == path or not (right / "data").is_dir():
        return _source(path.name, entries, found, notes)
    paired = with_right_images(entries, _euroc_images(right)[0])
    rectification, problem = None, "the calibration that was given is of one camera"
    if own_calibration:
        rectification, problem = euroc_rectification(folder, right, paired)
    if rectification is None:
        notes.append(f"right images: cam1 is not used: {problem}")
        return _source(path.name, entries, found, notes)
    away = f"{rectification.baseline_m:.4f} m away"
    notes.append(f"right images: cam1, {away}, rectified where depth is wanted")
    if found is not None:
        notes.append(f"calibration: {found.origin}")
    camera = found.camera if found is not None else None
    return ImageFileSource(path.name, paired, camera, notes=notes, rectification=rectification)


def _euroc_images(folder: Path) -> tuple[list[FileEntry], list[str]]:
    """Images of a camera's folder in the order of data.csv, or of the times that are their names,
    and a note of the latter."""
    if not (folder / "data.csv").is_file():
        entries, unit = _named_by_time(list_images(folder / "data"), "there is no data.csv")
        return entries, [f"times: the names of the images, in {unit}"]
    entries = []
    for row in read_table(folder / "data.csv", separator=","):
        if len(row.words) != 2 or not row.words[0].isdecimal():
            raise SourceError(f"{folder}/data.csv:{row.number}: expected nanoseconds,file")
        stamps, _ = parse_stamps(folder / "data.csv", [row], ns_per_unit=1)
        entries.append(FileEntry(stamps[0], folder / "data" / row.words[1]))
    if not entries:
        raise SourceError(f"{folder}/data.csv: no frames listed")
    return entries, []


def open_4seasons(path: Path, own_calibration: bool) -> ImageFileSource | None:
    """A 4Seasons recording with its undistorted images, and calibration/ in it or beside it; None
    if it is none. Raises SourceError."""
    folder = path / "undistorted_images"
    if not (folder / "cam0").is_dir():
        return None
    entries, unit = _named_by_time(list_images(folder / "cam0"), "frames are named so")
    notes = [f"layout: 4Seasons, images of {folder.name}/cam0, times of their names in {unit}"]
    found, baseline = None, None
    if own_calibration:
        homes = [
            home / name for home in (path, path.resolve().parent) for name in
            ("calibration", "Calibration")
        ]  # fmt: skip
        home = next((x for x in homes if (x / "undistorted_calib_0.txt").is_file()), None)
        if home is not None:
            found = _calibration(home / "undistorted_calib_0.txt", entries)
            baseline = _4seasons_baseline(home / "undistorted_calib_stereo.txt")
    if baseline is not None and (folder / "cam1").is_dir():
        entries = [
            replace(entry, right=partner if partner.is_file() else None)
            for entry in entries
            for partner in [folder / "cam1" / entry.image.name]
        ]
        notes.append(f"right images: {folder.name}/cam1, {baseline:.4f} m away")
    return _source(path.name, entries, found, notes, baseline)


def open_tartanair(path: Path, own_calibration: bool) -> ImageFileSource | None:
    """A TartanAir trajectory, whose camera the dataset's documentation gives; None if it is none.
    Raises SourceError."""
    cameras = next((x for x in _TARTANAIR_CAMERAS if (path / x[0]).is_dir()), None)
    if cameras is None:
        return None
    left, right, depth = cameras
    images = list_images(path / left)
    partners, depths = _by_number(path / right), _by_number(path / depth)
    entries = []
    for i, image in enumerate(images):
        number = _number(image)
        depth_file, partner = depths.get(number), partners.get(number)
        entries.append(FileEntry(i * DEFAULT_PERIOD_NS, image, depth_file, partner))
    notes = [f"layout: TartanAir, images of {left}", "times: none, 10 Hz assumed"]
    camera = None
    size = first_image_size(images)
    if own_calibration and size in _TARTANAIR_SIZES:
        centre = size[0] / 2, size[1] / 2
        matrix = camera_matrix(_TARTANAIR_FOCAL_PX, _TARTANAIR_FOCAL_PX, *centre)
        camera = CameraModel(*size, matrix)
        notes.append("calibration: as TartanAir documents it (90 degrees across)")
    if camera is None:
        entries = [replace(entry, right=None) for entry in entries]
    return ImageFileSource(
        path.name,
        entries,
        camera,
        baseline_m=_TARTANAIR_BASELINE_M,
        depth_reader=_tartanair_depth,
        notes=notes,
    )


def _source(
    name: str,
    entries: list[FileEntry],
    found: Calibration | None,
    notes: list[str],
    baseline_m: float | None = None,
) -> ImageFileSource:
    if found is not None:
        notes.append(f"calibration: {found.origin}")
    camera = found.camera if found is not None else None
    return ImageFileSource(name, entries, camera, baseline_m=baseline_m, notes=notes)


def _calibration(path: Path, entries: list[FileEntry]) -> Calibration | None:
    if not path.is_file():
        return None
    return load_calibration(path, first_image_size([entry.image for entry in entries]))


def _named_by_time(images: list[Path], why: str) -> tuple[list[FileEntry], str]:
    """Entries in the order of the times that are the images' names, and the times' unit."""
    rows = [Row(number, [image.stem]) for number, image in enumerate(images, 1)]
    try:
        stamps, unit = parse_stamps(images[0].parent, rows)
    except SourceError as error:
        raise SourceError(f"{error}: a file's name is no time, and {why}") from error
    entries = [FileEntry(stamp, image) for stamp, image in zip(stamps, images)]
    return sorted(entries, key=lambda entry: entry.stamp_ns), unit


def _tum_associations(file: Path) -> tuple[list[FileEntry], str]:
    """Rows of colour and depth in either order, stamped by the colour image."""
    colours, depths = [], []
    for row in read_table(file):
        if len(row.words) != 4:
            raise SourceError(
                f"{file}:{row.number}: {len(row.words)} columns; "
                "expected stamp, colour file, stamp, depth file"
            )
        colour, depth = row.words[:2], row.words[2:]
        if colour[1].startswith("depth"):
            colour, depth = depth, colour
        colours.append(Row(row.number, colour))
        depths.append(depth[1])
    stamps, unit = parse_stamps(file, colours)
    folder = file.parent
    entries = [
        FileEntry(stamp, folder / row.words[1], depth=folder / depth)
        for stamp, row, depth in zip(stamps, colours, depths)
    ]
    return entries, unit


def _tum_list(path: Path) -> tuple[list[FileEntry], str]:
    """Rows of rgb.txt, each with the depth of depth.txt of the nearest stamp, if it is near."""
    listed, unit = _tum_rows(path, "rgb.txt")
    entries = [FileEntry(stamp, image) for stamp, image in listed]
    if not (path / "depth.txt").is_file():
        return entries, unit
    depths, _ = _tum_rows(path, "depth.txt")
    stamps = np.array([stamp for stamp, _ in depths], np.int64)
    for i, entry in enumerate(entries):
        apart = np.abs(stamps - entry.stamp_ns)
        if apart.min(initial=NS_PER_S) <= DEPTH_TOLERANCE_S * NS_PER_S:
            entries[i] = replace(entry, depth=depths[int(apart.argmin())][1])
    return entries, unit


def _tum_rows(path: Path, name: str) -> tuple[list[tuple[int, Path]], str]:
    rows = read_table(path / name)
    for row in rows:
        if len(row.words) != 2:
            raise SourceError(f"{path}/{name}:{row.number}: expected a stamp and a file name")
    stamps, unit = parse_stamps(path / name, rows)
    return [(stamp, path / row.words[1]) for stamp, row in zip(stamps, rows)], unit


def _4seasons_baseline(path: Path) -> float | None:
    """Metres between the cameras of a rectified pair, whose 4 x 4 matrix only moves along x."""
    if not path.is_file():
        return None
    try:
        matrix = np.array([[float(w) for w in row.words] for row in read_table(path)])
        matrix = matrix.reshape(4, 4)
    except ValueError as error:
        raise SourceError(f"{path}: no 4 x 4 matrix: {error}") from error
    expected = np.eye(4)
    expected[0, 3] = matrix[0, 3]
    if not np.allclose(matrix, expected, atol=1e-3) or matrix[0, 3] == 0:
        raise SourceError(f"{path}: the pair is not rectified")
    return float(abs(matrix[0, 3]))


def _by_number(folder: Path) -> dict[int, Path]:
    """Files by the number at the start of their names; none where there is no folder."""
    if not folder.is_dir():
        return {}
    kinds = (".png", ".jpg", ".npy")
    files = [x for x in folder.iterdir() if x.suffix.lower() in kinds and x.name[0] != "."]
    return {_number(file): file for file in sorted(files)}


def _number(file: Path) -> int:
    match = re.match(r"[0-9]+", file.name)
    if match is None:
        raise SourceError(f"{file}: its name starts with no number, as TartanAir's do")
    return int(match.group())


def _tartanair_depth(path: Path) -> FloatArray:
    """(H, W) metres of its first edition's arrays, and of its second's PNG, whose four channels of
    8 bits are one float32."""
    if path.suffix == ".npy":
        return read_depth_array(path)
    pixels = read_pixels(path)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ImageError(f"{path}: depth must be four channels of 8 bits")
    return np.ascontiguousarray(pixels).view("<f4")[:, :, 0].astype(np.float32)
