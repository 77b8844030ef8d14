"""The procedural world: a demo flight with exact poses, and pairs of pictures for training."""

from __future__ import annotations

from superglue_ros.training.world_flight import FlightFrame, flight_poses, render_flight

__all__ = ["FlightFrame", "flight_poses", "render_flight"]
