"""The second camera of an EuRoC sequence, rectified with the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from superglue_ros.errors import CameraError, SourceError
from superglue_ros.geometry.rectification import Rectification, rectify_pair
from superglue_ros.sources.calibration import load_calibration
from superglue_ros.sources.calibration_yaml import camera_in_body
from superglue_ros.sources.image_files import FileEntry, first_image_size
from superglue_ros.sources.tables import NS_PER_S
from superglue_ros.stamps import PAIR_TOLERANCE_S
from superglue_ros.types import Pose


def with_right_images(
    entries: Sequence[FileEntry], others: Sequence[FileEntry]
) -> list[FileEntry]:
    """Entries with the image of `others` that was taken at the same time, where there is one."""
    stamps = np.array([other.stamp_ns for other in others], np.int64)
    paired = []
    for entry in entries:
        apart = np.abs(stamps - entry.stamp_ns)
        near = apart.min(initial=NS_PER_S) <= PAIR_TOLERANCE_S * NS_PER_S
        paired.append(replace(entry, right=others[int(apart.argmin())].image if near else None))
    return paired


def euroc_rectification(
    left: Path, right: Path, entries: Sequence[FileEntry]
) -> tuple[Rectification | None, str]:
    """Rectification of two EuRoC cameras by the sensor.yaml of their folders, or None and why
    there is none; entries have the images of both."""
    files = left / "sensor.yaml", right / "sensor.yaml"
    for file in files:
        if not file.is_file():
            return None, f"{file.parent.name} has no sensor.yaml"
    images = [[e.image for e in entries], [e.right for e in entries if e.right is not None]]
    if not images[1]:
        return None, "none was taken at the time of a left one"
    try:
        first, second = (
            load_calibration(file, first_image_size(paths)).camera
            for file, paths in zip(files, images)
        )
        in_body0, in_body1 = (Pose.from_matrix(camera_in_body(file)) for file in files)
        return rectify_pair(first, second, in_body0.inverse() @ in_body1), ""
    except (CameraError, SourceError) as error:
        return None, str(error)
