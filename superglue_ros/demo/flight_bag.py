"""The rendered flight as a bag with its true trajectory; needs no ROS."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from superglue_ros.sources import (
    read_stamped_trajectory,
    trajectory_from_poses,
    write_bag,
    write_trajectory,
)
from superglue_ros.types import Frame, Pose, Trajectory
from superglue_ros.world.flight import render_flight

FLIGHT_FRAMES, FLIGHT_SIZE, FLIGHT_RATE_HZ = 120, (640, 480), 10.0
START_NS = 1_000_000_000


def flight_bag(output: Path, frames: int) -> tuple[Path, Trajectory]:
    """Bag and true trajectory of the rendered flight; one rendered before is taken again."""
    bag, truth = output / f"flight_{frames}", output / f"flight_{frames}_groundtruth.txt"
    if not truth.exists():
        shutil.rmtree(bag, ignore_errors=True)
        stamps: list[int] = []
        poses: list[Pose] = []
        flight = render_flight(frames, *FLIGHT_SIZE, FLIGHT_RATE_HZ, start_ns=START_NS)

        def rendered() -> Iterator[Frame]:
            for shot in tqdm(flight, desc="rendering the flight", total=frames, unit="frame"):
                stamps.append(shot.frame.stamp_ns)
                poses.append(shot.pose)
                yield shot.frame

        write_bag(bag, rendered())
        # Written last: its being there says that the bag is whole.
        write_trajectory(truth, trajectory_from_poses(stamps, poses))
    return bag, read_stamped_trajectory(truth)
