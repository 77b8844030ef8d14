"""The rendered flight as a stream without an end, for what is to run for long; needs no ROS."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from tqdm import tqdm

from superglue_ros.types import Frame
from superglue_ros.world.flight import render_flight

Item = TypeVar("Item")

RATE_HZ = 10.0
START_NS = 1_000_000_000


def rendered_frames(
    count: int, size: tuple[int, int], baseline_m: float = 0.0
) -> tuple[Frame, ...]:
    """The flight's first frames, gray and of (width, height), with depth, and with a right image
    where there is a baseline."""
    flight = render_flight(count, *size, RATE_HZ, gray=True, baseline_m=baseline_m)
    return tuple(
        shot.frame for shot in tqdm(flight, desc="rendering the flight", total=count, unit="frame")
    )


def at_rate(items: Iterable[Item], rate_hz: float) -> Iterator[Item]:
    """Each item when it is due, the first at once, by a clock that waits for nobody."""
    begun = time.perf_counter()
    for number, item in enumerate(items):
        time.sleep(max(0.0, begun + number / rate_hz - time.perf_counter()))
        yield item


def there_and_back(frames: Sequence[Frame]) -> Iterator[Frame]:
    """Frames to the last, back to the first, and again, at `RATE_HZ` of their stamps."""
    last = len(frames) - 1
    number = 0
    while True:
        for index in (*range(last), *range(last, 0, -1)):
            stamp_ns = START_NS + round(number * 1e9 / RATE_HZ)
            yield replace(frames[index], stamp_ns=stamp_ns, frame_id="camera")
            number += 1
