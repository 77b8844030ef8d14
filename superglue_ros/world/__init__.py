"""The procedural world: a demo flight with exact poses, and pairs of pictures for training."""

from __future__ import annotations

from superglue_ros.world.flight import FlightFrame, flight_poses, render_flight
from superglue_ros.world.pairs import RenderedPairs, WorldConfig, WorldPairs

__all__ = [
    "FlightFrame",
    "RenderedPairs",
    "WorldConfig",
    "WorldPairs",
    "flight_poses",
    "render_flight",
]
