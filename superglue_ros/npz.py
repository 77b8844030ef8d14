"""Arrays in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.errors import SuperGlueRosError


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as .npz; raises SuperGlueRosError if it cannot."""
    try:
        # An open file, because numpy appends .npz to a name that lacks it.
        with path.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise SuperGlueRosError(f"cannot write {path}: {error.strerror or error}") from error
