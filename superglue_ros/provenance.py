"""Which version of the source this is, for cards and tables."""

from __future__ import annotations

import subprocess
from pathlib import Path


def source_commit() -> str:
    """Commit of the checkout this module lies in, "unknown" outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return result.stdout.strip() or "unknown"
