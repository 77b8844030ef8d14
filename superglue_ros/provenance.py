"""Which version of the source this is, for cards, tables and reports."""

from __future__ import annotations

import subprocess
from pathlib import Path

from superglue_ros import __version__


def source_commit() -> str:
    """Commit of the checkout that this module belongs to; of an installed package its version."""
    here = Path(__file__).resolve()
    # A package that is installed below another checkout, as in its .venv, is not of its commit.
    if _git(here.parent, "ls-files", "--error-unmatch", here.name):
        commit = _git(here.parent, "describe", "--always", "--dirty")
        if commit:
            return commit
    return f"superglue_ros {__version__}"


def _git(folder: Path, *words: str) -> str:
    """What git prints, "" where it fails or is not there."""
    command = ["git", "-C", str(folder), *words]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
