"""Pictures of README.md and docs/, made anew: `make docs-pictures` (some minutes).

The flight of the demo is rendered once (build/docs), replayed with the shipped weights, and drawn:
an animation of its matches and its trajectory, two frames with their matches, the plots of the
replay, and its report as a browser shows it, where there is one.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from superglue_ros.demo.flight_bag import FLIGHT_FRAMES, flight_bag
from superglue_ros.evaluation.accuracy import Accuracy, measure_accuracy
from superglue_ros.matching import ImageMatcher, KeyframeMatcher, draw_matches
from superglue_ros.odometry import VisualOdometry
from superglue_ros.replay.report import write_report
from superglue_ros.replay.run import run_replay
from superglue_ros.reporting.files import make_folder
from superglue_ros.reporting.pictures import save_picture
from superglue_ros.sources import FrameSource, open_source
from superglue_ros.types import Frame, FrameMatches, ImageArray, Trajectory

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 2_000_000
"""Of the animation, so that a page with it loads on a phone."""

STEP = 2
"""Frames of the flight for one of the animation."""

FRAME_MS = 140
HEIGHT_PX, PLOT_WIDTH_PX = 360, 360
PAIR = (0, 44)
"""Frames of the flight whose matches are shown."""

HIDDEN = (
    "nav, .cards, #what-was-run, #what-was-run + .wide, #trajectory, #trajectory + figure, "
    "#trajectory + figure + figure"
)
"""What the picture of the report leaves out: other pictures show it, or it tells of a machine."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Watched(KeyframeMatcher):
    """A keyframe matcher that keeps what it saw: frame, image of its keyframe, matches."""

    def __init__(self, matcher: ImageMatcher) -> None:
        super().__init__(matcher)
        self.seen: list[tuple[Frame, ImageArray, FrameMatches]] = []

    def process(self, frame: Frame) -> FrameMatches:
        keyframe = self.keyframe_image
        matches = super().process(frame)
        self.seen.append((frame, frame.image if keyframe is None else keyframe, matches))
        return matches


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures; 1 where the animation cannot be made small enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "docs")
    parser.add_argument("--frames", type=int, default=FLIGHT_FRAMES, help="of the flight")
    parser.add_argument("--no-animation", action="store_true", help="leave it as it is")
    options = parser.parse_args(arguments)
    output, work = make_folder(options.output), make_folder(options.work)
    bag, truth = flight_bag(work, options.frames)
    source = open_source(bag)
    matcher = Watched(ImageMatcher(max_keypoints=1024))
    result = run_replay(source, matcher, VisualOdometry(), progress=True)
    accuracy = measure_accuracy(result.trajectory, truth, "sim3")
    about = {"command": "superglue_ros replay flight.mcap --groundtruth poses.txt"}
    write_report(work / "report", result, accuracy, about)
    for name in ("trajectory", "components"):
        shutil.copy(work / "report" / f"{name}.png", output / f"{name}.png")
    _draw_pair(output / "matches.jpg", source, matcher.matcher)
    _photograph(work / "report" / "report.html", output / "report.png", work)
    if options.no_animation:
        return 0
    frames = _animation(matcher.seen[::STEP], accuracy, truth)
    return _save_animation(output / "flight.webp", frames)


def _draw_pair(path: Path, source: FrameSource, matcher: ImageMatcher) -> None:
    first, second = (f.image for i, f in enumerate(source) if i in PAIR)
    found = matcher.match(first, second)
    rows = np.flatnonzero(found.matches0 >= 0)
    save_picture(
        path,
        draw_matches(
            first,
            second,
            found.keypoints0[rows],
            found.points1[rows],
            found.confidence0[rows],
        ),
    )


def _photograph(page: Path, path: Path, work: Path) -> None:
    """A page from its errors on, if there is a browser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"{path.name} left as it was: no browser ({', '.join(BROWSERS)})", file=sys.stderr)
        return
    quiet = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", "--window-size=1000,1045",
    )  # fmt: skip
    shown = work / "shown.html"
    text = page.read_text(encoding="utf-8")
    shown.write_text(text.replace("</style>", f"{HIDDEN} {{ display: none }}</style>", 1))
    command = [browser, *quiet, f"--user-data-dir={work / 'browser'}", f"--screenshot={path}"]
    subprocess.run([*command, shown.as_uri()], check=True, capture_output=True)


def _animation(
    seen: Sequence[tuple[Frame, ImageArray, FrameMatches]], accuracy: Accuracy, truth: Trajectory
) -> list[Image.Image]:
    """Matches of each frame with its keyframe, beside the trajectory until then from above."""
    aligned, pictures = accuracy.absolute.aligned, []
    for frame, keyframe, matches in tqdm(seen, desc="animation", unit="frame"):
        picture = draw_matches(
            keyframe,
            frame.image,
            matches.keyframe_points,
            matches.points,
            matches.confidences,
            max_lines=80,
        )
        width = round(picture.shape[1] * HEIGHT_PX / picture.shape[0])
        left = cv2.resize(picture, (width, HEIGHT_PX), interpolation=cv2.INTER_AREA)
        known = aligned.stamps_ns <= frame.stamp_ns
        right = _top_view(aligned.positions[known], truth.positions)
        pictures.append(Image.fromarray(np.hstack([left[:, :, ::-1], right])))
    return pictures


def _top_view(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """RGB picture of the trajectory so far and of the whole true one; the world's z is up."""
    figure = Figure(figsize=(PLOT_WIDTH_PX / 100, HEIGHT_PX / 100), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(truth[:, 0], truth[:, 1], "--", color="0.6", linewidth=1, label="ground truth")
    axes.plot(estimate[:, 0], estimate[:, 1], color="tab:blue", linewidth=2, label="odometry")
    if len(estimate):
        axes.plot(*estimate[-1, :2], "o", color="tab:blue", markersize=6)
    axes.set_xlabel("x (m)", fontsize=8)
    axes.set_ylabel("y (m)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper right")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _save_animation(path: Path, frames: Sequence[Image.Image]) -> int:
    for quality in range(50, 10, -10):
        buffer = io.BytesIO()
        frames[0].save(
            buffer, "WEBP", save_all=True, append_images=frames[1:], duration=FRAME_MS,
            loop=0, quality=quality, method=4,
        )  # fmt: skip
        if len(buffer.getvalue()) < MOST_BYTES:
            path.write_bytes(buffer.getvalue())
            print(f"{path}: {len(buffer.getvalue()) / 1e6:.2f} MB, quality {quality}")
            return 0
    print(f"{path} is over {MOST_BYTES / 1e6} MB at any quality", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
