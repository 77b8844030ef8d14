"""Checkpoints in files of a bounded size, replaced as a whole."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from superglue_ros.errors import CheckpointError
from superglue_ros.networks.checkpoints import replace_file

PART_BYTES = 15 * 2**20
"""Largest file: what carries runs from machine to machine often takes 16 MiB."""

_PARTS, _HASH = "parts", "sha256"
_DIGEST = "[0-9a-f]" * 8


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state to a file, or where it is large to parts beside it, which the file lists.

    A full disk or a kill in the middle costs the new state, never the last good one.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    parts: list[str] = []
    if len(content) > PART_BYTES:
        digest = hashlib.sha256(content).hexdigest()
        for i, start in enumerate(range(0, len(content), PART_BYTES)):
            parts.append(f"{path.stem}_{digest[:8]}_{i}{path.suffix}")
            replace_file(path.parent / parts[-1], content[start : start + PART_BYTES])
        buffer = io.BytesIO()
        torch.save({_PARTS: parts, _HASH: digest}, buffer)
        content = buffer.getvalue()
    replace_file(path, content)
    for other in path.parent.glob(f"{path.stem}_{_DIGEST}_*{path.suffix}"):
        if other.name not in parts:
            other.unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any]:
    """What `write_state` wrote; CheckpointError where it is unreadable or a part is missing."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if _PARTS not in state:
            return state
        content = b"".join((path.parent / name).read_bytes() for name in state[_PARTS])
        if hashlib.sha256(content).hexdigest() != state[_HASH]:
            raise CheckpointError("its parts are damaged")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a damaged file
        raise CheckpointError(f"{path} is no readable checkpoint: {error}") from error
    return state
