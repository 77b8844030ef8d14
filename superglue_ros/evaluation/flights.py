"""Rendered flights that evaluations are made on: rooms that nothing is trained in."""

from __future__ import annotations

from collections.abc import Iterator

from superglue_ros.world.flight import FlightFrame, flight_poses, render_poses

RATE_HZ = 10.0

_SEED = 100
"""Of the first room; the demo flies through room 0, and no training through any."""
_LAP_FRAMES = 240
_STRIDE = 37
"""Frames of the lap between the starts of two flights."""


def fly(
    flight: int, frames: int, size: tuple[int, int], baseline_m: float = 0.0
) -> Iterator[FlightFrame]:
    """Gray frames of the flight of that number, each in a room of its own; with a baseline there
    is a right camera as well. Raises ValueError as `render_flight`."""
    start = flight * _STRIDE % _LAP_FRAMES
    poses = flight_poses(start + frames, RATE_HZ)[start:]
    return render_poses(poses, *size, RATE_HZ, _SEED + flight, 0, True, baseline_m)
