"""The report in a real browser: on a phone nothing is cut off, and every picture loads."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from superglue_ros.evaluation.accuracy import measure_accuracy
from superglue_ros.geometry import exp_rotation
from superglue_ros.replay.gallery import MatchPicture
from superglue_ros.replay.records import FrameRecord, ReplayResult
from superglue_ros.replay.report import write_report
from superglue_ros.sources import trajectory_from_poses
from superglue_ros.types import CameraModel, Pose

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--virtual-time-budget=10000",
)  # fmt: skip
PHONE_PX = 400
pytestmark = pytest.mark.skipif(not BROWSER, reason="no chromium or google-chrome on this machine")


def looked_at(page: str, folder: Path, width: int = PHONE_PX) -> dict[str, object]:
    """What a browser sees of a page so wide: its width, broken pictures, errors of the console."""
    # In a frame, since a headless window may be wider than a phone.
    wrapper = folder / "wrapper.html"
    wrapper.write_text(
        f'''<body><iframe id="f" width="{width}" height="800" style="border:0"
        srcdoc="{html.escape(page)}"></iframe><script>
        onload = () => {{
          const d = document.getElementById("f").contentDocument, e = d.documentElement;
          const images = [...d.images];
          document.title = JSON.stringify({{
            width: e.clientWidth, needed: e.scrollWidth, images: images.length,
            broken: images.filter(i => !i.complete || !i.naturalWidth).length,
            headings: [...d.querySelectorAll("h2")].map(h => h.textContent),
          }});
        }}</script></body>'''
    )
    command = [BROWSER, *QUIET, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    process = subprocess.run(
        [*command, wrapper.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    title = re.search("<title>(.*?)</title>", process.stdout)
    assert title, process.stderr[-2000:]
    seen: dict[str, object] = json.loads(html.unescape(title[1]))
    seen["console"] = [line for line in process.stderr.splitlines() if ":CONSOLE" in line]
    return seen


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a replay with everything that a page can have, and long names."""
    folder = tmp_path_factory.mktemp("report")
    count = 60
    poses = [
        Pose(exp_rotation(np.array([0, 0.01 * i, 0])), np.array([0.1 * i, 0.02 * i, 1.2 * i]))
        for i in range(count)
    ]
    stamps = 100_000_000 * np.arange(count)
    estimate, truth = trajectory_from_poses(stamps, poses), trajectory_from_poses(stamps, poses)
    records = tuple(
        FrameRecord(
            stamp_ns=int(stamp), keyframe_id=0, is_keyframe=i % 7 == 0, num_features=1000,
            num_matches=i and 400, displacement_px=10.0, extract_ms=100.0, match_ms=50.0,
            odometry_ms=9.0, num_inliers=200, state="lost" if i in (30, 31) else "tracking",
            reason="3 of 12 landmarks agree" if i in (30, 31) else "",
        )
        for i, stamp in enumerate(stamps)
    )  # fmt: skip
    picture = np.full((772, 1226, 3), 128, np.uint8)
    result = ReplayResult(
        "a_sequence_with_a_name_that_is_longer_than_a_phone_is_wide_and_has_no_blank", estimate,
        records, (MatchPicture("half way", picture, 0, 100_000_000, 300),), 2, 12.0, False,
        CameraModel(1226, 370, np.array([[707.0, 0, 600], [0, 707, 180], [0, 0, 1]])),
        "cpu", "bfloat16", "superpoint+superglue", "0123abcd+4567cdef",
        warnings=(("/a/topic/that/is/very/long" * 6, 4),),
    )  # fmt: skip
    about = {"command": "superglue_ros replay " + "/a/path" * 30}
    write_report(folder, result, measure_accuracy(estimate, truth, "sim3"), about)
    return (folder / "report.html").read_text()


def test_fits_a_phone_and_loads_all(report: str, tmp_path: Path) -> None:
    seen = looked_at(report, tmp_path)
    assert seen["width"] == seen["needed"] <= PHONE_PX
    assert (seen["images"], seen["broken"], seen["console"]) == (6, 0, [])
    assert seen["headings"] == [
        "What was run", "Trajectory", "Errors", "Keyframes and matches", "Latencies",
        "Frames worth a look", "Warnings",
    ]  # fmt: skip


def test_the_look_finds_what_is_wrong(tmp_path: Path) -> None:
    page = (
        '<img src="data:image/png;base64,AAAA"><div style="width:900px">wide</div>'
        "<script>console.error('so it goes')</script>"
    )
    seen = looked_at(page, tmp_path)
    assert seen["needed"] >= 900 > PHONE_PX >= seen["width"]
    assert seen["broken"] == 1
    assert any("so it goes" in line for line in seen["console"])
