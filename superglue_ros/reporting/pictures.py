"""Plots and pictures as files."""

from __future__ import annotations

from pathlib import Path

import cv2
from matplotlib.figure import Figure

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.reporting.files import check_output
from superglue_ros.types import ImageArray


def save_figure(path: Path, figure: Figure) -> None:
    """Write a matplotlib figure; raises SuperGlueRosError if it cannot."""
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise SuperGlueRosError(f"cannot write {path}: {error.strerror or error}") from error


def check_picture(path: Path) -> None:
    """SuperGlueRosError now for a picture that `save_picture` could not write later."""
    check_output(path)
    if not cv2.haveImageWriter(str(path)):
        raise SuperGlueRosError(f"cannot write {path}: unknown picture format {path.suffix!r}")


def save_picture(path: Path, image: ImageArray) -> None:
    """Write a BGR picture, in the format of the suffix; raises SuperGlueRosError if it cannot."""
    try:
        good, data = cv2.imencode(path.suffix or ".png", image)
    except cv2.error as error:
        raise SuperGlueRosError(f"cannot write {path}: unknown picture format") from error
    if not good:
        raise SuperGlueRosError(f"cannot write {path}: the picture cannot be encoded")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise SuperGlueRosError(f"cannot write {path}: {error.strerror or error}") from error
