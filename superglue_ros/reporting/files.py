"""Files of figures, and the folders they lie in; what cannot be written is one clear error."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.errors import SuperGlueRosError


def make_folder(folder: str | Path) -> Path:
    """The folder, made if it is missing; raises SuperGlueRosError if it cannot be."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise SuperGlueRosError(f"cannot make folder {folder}: {reason}") from error
    return folder


def check_output(path: Path) -> None:
    """SuperGlueRosError now for a file that could not be written later."""
    if not path.parent.is_dir():
        raise SuperGlueRosError(f"cannot write {path}: {path.parent} is no folder")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SuperGlueRosError(f"cannot write {path}: no permission, or a folder")


def write_json(path: str | Path, content: Any) -> None:
    """Write figures as JSON, what is not finite as null; raises SuperGlueRosError if it cannot."""
    text = json.dumps(plain_numbers(content), indent=2, allow_nan=False)
    write_text(path, text + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file; raises SuperGlueRosError if it cannot."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SuperGlueRosError(f"cannot write {path}: {error.strerror or error}") from error


def plain_numbers(content: Any) -> Any:
    """The same content in types that JSON has: dataclasses as objects, NaN and infinity null."""
    if is_dataclass(content) and not isinstance(content, type):
        content = asdict(content)
    if isinstance(content, dict):
        return {str(key): plain_numbers(value) for key, value in content.items()}
    if isinstance(content, list | tuple | np.ndarray):
        return [plain_numbers(value) for value in content]
    if isinstance(content, bool | np.bool_):
        return bool(content)
    if isinstance(content, int | np.integer):
        return int(content)
    if isinstance(content, float | np.floating):
        return float(content) if math.isfinite(content) else None
    return content if content is None else str(content)
