"""Trajectory files: TUM, KITTI, EuRoC, TartanAir, 4Seasons, and tables whose header says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from superglue_ros.errors import SourceError
from superglue_ros.geometry.quaternions import (
    quaternions_from_rotations,
    rotations_from_quaternions,
)
from superglue_ros.sources.calibration_yaml import camera_in_body
from superglue_ros.sources.tables import NS_PER_S, Row, parse_stamp, parse_stamps
from superglue_ros.sources.trajectory_formats import Format, Named, recognise
from superglue_ros.types import FloatArray, IntArray, Pose, Trajectory

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


def turned_cameras(trajectory: Trajectory, rotation: FloatArray) -> Trajectory:
    """The same of cameras turned in their places: rotation (3, 3) maps points of a camera as it
    was into it as it is then."""
    turned = rotations_from_quaternions(trajectory.quaternions_xyzw) @ rotation.T
    return replace(trajectory, quaternions_xyzw=quaternions_from_rotations(turned))


@dataclass(frozen=True)
class RecordedTrajectory:
    """A trajectory as it was read, and what its file was taken for, for the user to see."""

    trajectory: Trajectory
    origin: str


def read_trajectory(path: str | Path, stamps_ns: IntArray | None = None) -> Trajectory:
    """Trajectory of a file, see `load_trajectory`."""
    return load_trajectory(path, stamps_ns).trajectory


def load_trajectory(path: str | Path, stamps_ns: IntArray | None = None) -> RecordedTrajectory:
    """Trajectory of a file of any format of docs/sources.md, cameras in the world.

    stamps_ns: (N,) stamps of the frames, for formats that hold none (`needs_stamps`). Poses of
    TartanAir are turned from its axes (north, east, down) to a camera's; those of EuRoC, which are
    of the body, to its camera 0 where the dataset's sensor.yaml is beside. Raises SourceError for
    anything that is not a finite pose, naming the line.
    """
    path = Path(path)
    form, rows = recognise(path)
    if form.is_matrix:
        trajectory = _matrices(path, form, rows, _given_stamps(path, form, rows, stamps_ns))
        return RecordedTrajectory(trajectory, f"{path} ({form.name})")
    said = form.name
    if form.time is None:
        stamps = _given_stamps(path, form, rows, stamps_ns)
    elif form.time_unit_ns is not None:
        stamps = _stamps_in(path, rows, form.time, form.time_unit_ns)
        said += ", times in ns" if form.time_unit_ns == 1 else ""
    else:
        parsed, unit = parse_stamps(path, rows, column=form.time)
        stamps = np.array(parsed, np.int64)
        said += f", times in {unit}"
    trajectory = _table(path, form, rows, stamps)
    if form.of_body:
        trajectory, added = _of_camera(path, trajectory)
        said += added
    return RecordedTrajectory(trajectory, f"{path} ({said})")


def needs_stamps(path: str | Path) -> bool:
    """Whether a trajectory file holds no times of its own; raises SourceError."""
    return recognise(Path(path))[0].time is None


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


def _stamps_in(path: Path, rows: list[Row], column: int, ns_per_unit: int) -> IntArray:
    stamps = []
    for row in rows:
        try:
            stamps.append(parse_stamp(row.words[column], ns_per_unit))
        except ValueError as error:
            raise SourceError(f"{path}:{row.number}: {error}") from error
    return np.array(stamps, np.int64)


def _given_stamps(
    path: Path, form: Format, rows: list[Row], stamps_ns: IntArray | None
) -> IntArray:
    if stamps_ns is None:
        raise SourceError(f"{path}: {form.name} format has no stamps; give those of the frames")
    if len(stamps_ns) != len(rows):
        raise SourceError(f"{path}: {len(rows)} poses for {len(stamps_ns)} frames")
    return np.asarray(stamps_ns, np.int64)


def _numbers(path: Path, row: Row, columns: Sequence[int]) -> list[float]:
    try:
        values = [float(row.words[column]) for column in columns]
    except ValueError as error:
        raise SourceError(f"{path}:{row.number}: {error}") from error
    if not all(map(math.isfinite, values)):
        raise SourceError(f"{path}:{row.number}: NaN or infinity in a pose")
    return values


def _table(path: Path, form: Format, rows: list[Row], stamps_ns: IntArray) -> Trajectory:
    """Of positions and quaternions, in the order of time."""
    columns = [form.columns[name] for name in Named]
    array = np.array([_numbers(path, row, columns) for row in rows])
    norms = np.linalg.norm(array[:, 3:], axis=1, keepdims=True)
    if np.any(norms < 1e-6):
        raise SourceError(f"{path}:{rows[int(np.argmin(norms))].number}: quaternion of norm zero")
    positions, quaternions = array[:, :3], array[:, 3:] / norms
    if form.scale is not None:
        positions = positions * [_numbers(path, row, [form.scale]) for row in rows]
    if form.is_ned:
        # A camera looks along its z, which is the body's x.
        positions = positions[:, [1, 2, 0]]
        quaternions = quaternions[:, [1, 2, 0, 3]]
    order = np.argsort(stamps_ns, kind="stable")
    return Trajectory(stamps_ns[order], positions[order], quaternions[order])


def _matrices(path: Path, form: Format, rows: list[Row], stamps_ns: IntArray) -> Trajectory:
    count = len(rows[0].words)
    values = np.array([_numbers(path, row, range(count)) for row in rows])
    matrices = values.reshape(-1, count // 4, 4)
    rotations = matrices[:, :3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        improper = ~(deviation <= _ORTHONORMAL_TOLERANCE) | ~(np.linalg.det(rotations) > 0)
    if count == 16:
        improper |= np.any(matrices[:, 3] != [0, 0, 0, 1], axis=1)
    if np.any(improper):
        number = rows[int(np.argmax(improper))].number
        raise SourceError(f"{path}:{number}: not a rotation matrix")
    quaternions = quaternions_from_rotations(rotations)
    return Trajectory(stamps_ns, matrices[:, :3, 3].copy(), quaternions)


def _of_camera(path: Path, trajectory: Trajectory) -> tuple[Trajectory, str]:
    """Poses of EuRoC's camera 0 of those of its body, where the dataset says how they differ."""
    folder = path.resolve().parent
    sensor = folder.parent / "cam0" / "sensor.yaml"
    if not folder.name.startswith("state_groundtruth") or not sensor.is_file():
        return trajectory, ", poses of the body, not of its camera"
    camera = Pose.from_matrix(camera_in_body(sensor))
    poses = [pose @ camera for pose in poses_from_trajectory(trajectory)]
    return (
        trajectory_from_poses(trajectory.stamps_ns, poses),
        ", poses of camera 0 by T_BS of its sensor.yaml",
    )
