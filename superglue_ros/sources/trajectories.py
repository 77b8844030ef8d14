"""Trajectory files, TUM and KITTI formats."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from superglue_ros.errors import SourceError
from superglue_ros.geometry.quaternions import (
    quaternions_from_rotations,
    rotations_from_quaternions,
)
from superglue_ros.types import IntArray, Pose, Trajectory

NS_PER_S = 1_000_000_000
TUM_COLUMNS = 8
KITTI_COLUMNS = 12
_ORTHONORMAL_TOLERANCE = 1e-2


def trajectory_from_poses(
    stamps_ns: Sequence[int] | IntArray, poses: Sequence[Pose]
) -> Trajectory:
    """Trajectory of N cameras in the world; empty for no poses."""
    if len(stamps_ns) != len(poses):
        raise ValueError(f"{len(stamps_ns)} stamps for {len(poses)} poses")
    positions = np.array([pose.position for pose in poses], float).reshape(-1, 3)
    rotations = np.array([pose.rotation for pose in poses], float).reshape(-1, 3, 3)
    stamps = np.asarray(stamps_ns, np.int64)
    return Trajectory(stamps, positions, quaternions_from_rotations(rotations))


def poses_from_trajectory(trajectory: Trajectory) -> list[Pose]:
    """The trajectory's N poses, cameras in the world."""
    rotations = rotations_from_quaternions(trajectory.quaternions_xyzw)
    return [Pose(*pair) for pair in zip(rotations, trajectory.positions)]


def read_trajectory(path: str | Path, stamps_ns: IntArray | None = None) -> Trajectory:
    """Trajectory of a TUM (stamp x y z qx qy qz qw) or KITTI (3 x 4 row-major) file.

    stamps_ns: (N,) stamps of the frames, for KITTI files, which hold none. Raises SourceError
    for anything that is not a finite pose, naming the line.
    """
    path = Path(path)
    rows = _read_rows(path)
    columns = len(rows[0][1])
    if columns == TUM_COLUMNS:
        return _tum_trajectory(path, rows)
    if columns == KITTI_COLUMNS:
        return _kitti_trajectory(path, rows, stamps_ns)
    raise SourceError(
        f"{path}:{rows[0][0]}: {columns} columns; a pose has 8 (TUM: stamp x y z qx qy qz qw) "
        "or 12 (KITTI: 3x4 row-major)"
    )


def write_trajectory(path: str | Path, trajectory: Trajectory) -> None:
    """Write a TUM-format file, stamps to the nanosecond; raises SourceError if it cannot."""
    lines = ["# timestamp tx ty tz qx qy qz qw (camera in world)"]
    for stamp, position, quaternion in zip(
        trajectory.stamps_ns.tolist(), trajectory.positions, trajectory.quaternions_xyzw
    ):
        numbers = " ".join(f"{value:.9f}" for value in (*position, *quaternion))
        lines.append(f"{stamp // NS_PER_S}.{stamp % NS_PER_S:09d} {numbers}")
    try:
        Path(path).write_text("\n".join(lines) + "\n")
    except OSError as error:
        raise SourceError(f"cannot write trajectory {path}: {error}") from error


def parse_stamp(text: str) -> int:
    """Nanoseconds of decimal seconds, exact where float64 would lose digits; raises ValueError."""
    try:
        return int((Decimal(text) * NS_PER_S).to_integral_value())
    except (InvalidOperation, OverflowError) as error:
        raise ValueError(f"{text!r} is no time in seconds") from error


def read_table(path: Path, separator: str | None = None) -> list[tuple[int, list[str]]]:
    """Line number and words of each line that is not empty or a # comment; raises SourceError."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read {path}: {error}") from error
    table = []
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip()
        if text:
            table.append((number, [word.strip() for word in text.split(separator)]))
    return table


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    rows = read_table(path)
    if not rows:
        raise SourceError(f"{path}: no poses in it")
    columns = len(rows[0][1])
    for number, words in rows:
        if len(words) != columns:
            raise SourceError(
                f"{path}:{number}: {len(words)} columns where the first row has {columns}"
            )
    return rows


def _numbers(path: Path, number: int, words: list[str]) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise SourceError(f"{path}:{number}: {error}") from error
    if not np.all(np.isfinite(values)):
        raise SourceError(f"{path}:{number}: NaN or infinity in a pose")
    return values


def _tum_trajectory(path: Path, rows: list[tuple[int, list[str]]]) -> Trajectory:
    stamps, values = [], []
    for number, words in rows:
        try:
            stamps.append(parse_stamp(words[0]))
        except ValueError as error:
            raise SourceError(f"{path}:{number}: {error}") from error
        values.append(_numbers(path, number, words[1:]))
        if np.linalg.norm(values[-1][3:]) < 1e-6:
            raise SourceError(f"{path}:{number}: quaternion of norm zero")
    array = np.array(values)
    quaternions = array[:, 3:] / np.linalg.norm(array[:, 3:], axis=1, keepdims=True)
    order = np.argsort(stamps, kind="stable")
    return Trajectory(np.array(stamps, np.int64)[order], array[order, :3], quaternions[order])


def _kitti_trajectory(
    path: Path, rows: list[tuple[int, list[str]]], stamps_ns: IntArray | None
) -> Trajectory:
    if stamps_ns is None:
        raise SourceError(f"{path}: KITTI format has no stamps; give those of the frames")
    if len(stamps_ns) != len(rows):
        raise SourceError(f"{path}: {len(rows)} poses for {len(stamps_ns)} frames")
    values = np.array([_numbers(path, number, words) for number, words in rows])
    matrices = values.reshape(-1, 3, 4)
    rotations = matrices[:, :, :3]
    deviation = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    improper = (deviation > _ORTHONORMAL_TOLERANCE) | (np.linalg.det(rotations) < 0)
    if np.any(improper):
        raise SourceError(f"{path}:{rows[int(np.argmax(improper))][0]}: not a rotation matrix")
    quaternions = quaternions_from_rotations(rotations)
    return Trajectory(np.asarray(stamps_ns, np.int64), matrices[:, :, 3].copy(), quaternions)
