"""A bank of views of furnished worlds on disk: features extracted once, and their truth.

A cluster's views are rendered and SuperPoint's features taken; of every two views that see the
same, where each keypoint lies in the other is kept, too. That decides the assignment of any subset
of the keypoints, so that a pair serves many epochs, each time with others in another order.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from superglue_ros.errors import SourceError
from superglue_ros.networks.checkpoints import replace_file
from superglue_ros.networks.superglue import ImageKeypoints
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.data.assignment import (
    Assignment,
    Projection,
    project_both,
    projected_assignment,
)
from superglue_ros.training.process_group import ProcessGroup
from superglue_ros.training.superglue.recipe import BankConfig
from superglue_ros.world.furnished_views import APART, Cluster, FurnishedViews

_VISIBLE, _HIDDEN = 1, 2
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class BankedPairs:
    """Features of B pairs and their true assignment."""

    view0: ImageKeypoints
    view1: ImageKeypoints
    truth: Assignment


def make_bank(
    folder: Path,
    config: BankConfig,
    superpoint: SuperPoint,
    features: str,
    device: torch.device,
    seed: int,
    *,
    group: ProcessGroup | None = None,
    deadline: float = math.inf,
) -> int:
    """Write the clusters that a folder lacks, until `time.monotonic()` passes the deadline.

    features: the hash of SuperPoint's weights; superpoint is frozen by its `prepare`. Returns how
    many clusters are there. Raises SourceError where the folder is a bank of other features or of
    another recipe, and where worlds are missing.
    """
    group = group or ProcessGroup(device=device)
    asked = _description(config, features, seed)
    about = folder / "bank.json"
    folder.mkdir(parents=True, exist_ok=True)
    if about.is_file() and json.loads(about.read_text(encoding="utf-8")) != asked:
        raise SourceError(f"{folder} is a bank of other features or another recipe")
    about.write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")
    paths = [folder / f"{index:06d}{_SUFFIX}" for index in range(config.clusters)]
    missing = [i for i in range(group.rank, len(paths), group.size) if not paths[i].exists()]
    if missing:
        views = FurnishedViews(config.views, seed)
        for index in tqdm(missing, desc="bank", unit="cluster", disable=not group.is_main):
            if time.monotonic() > deadline:
                break
            if not paths[index].exists():
                content = _content(views.cluster(index), config.keypoints, superpoint, device)
                replace_file(paths[index], content)
    return sum(path.exists() for path in paths)


def _description(config: BankConfig, features: str, seed: int) -> dict[str, object]:
    """What a bank's clusters depend on, but for how many there are and where the worlds lie."""
    views = config.views
    worlds = [path.stem for path in views.chosen()]
    return {
        "features": features,
        "seed": seed,
        "keypoints": config.keypoints,
        "worlds": worlds,
        "photographs": views.photographs is not None,
        "views": [*views.size, views.views, views.stray, views.turned, views.dressed],
        "zoomed": views.zoomed,
        "overlap": list(views.overlap),
    }


@torch.no_grad()
def _content(cluster: Cluster, count: int, superpoint: SuperPoint, device: torch.device) -> bytes:
    superpoint.config = replace(superpoint.config, max_keypoints=count, keypoint_threshold=0.0)
    found = [superpoint(image[None].to(device)) for image in cluster.images]
    keypoints = torch.cat([f.keypoints for f in found]).cpu()
    first, second = torch.triu_indices(len(cluster), len(cluster), 1)
    overlap = cluster.overlap[first, second]
    seen, apart = overlap >= APART, overlap < APART
    i, j = first[seen], second[seen]
    forth, back = project_both(
        keypoints[i], keypoints[j], cluster.depth[i], cluster.depth[j],
        cluster.K[i], cluster.K[j], cluster.pose(i, j),
    )  # fmt: skip
    tensors = {
        "keypoints": keypoints,
        "scores": torch.cat([f.scores for f in found]).cpu().half(),
        "descriptors": torch.cat([f.descriptors for f in found]).cpu().half(),
        "pairs": torch.stack([i, j], 1),
        "overlap": overlap[seen],
        "apart": torch.stack([first[apart], second[apart]], 1),
        "points0": forth.points.float(),
        "points1": back.points.float(),
        "seen0": _states(forth),
        "seen1": _states(back),
    }
    size = {"size": json.dumps(list(reversed(cluster.images.shape[2:])))}
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=size)


def _states(projection: Projection) -> Tensor:
    return (projection.visible * _VISIBLE + projection.hidden * _HIDDEN).to(torch.uint8)


class Bank:
    """Draws pairs from a folder that `make_bank` has written; whatever is there when it is opened.

    low, high: overlap of the pairs that see the same.
    """

    def __init__(self, folder: Path, overlap: tuple[float, float], device: torch.device) -> None:
        """SourceError where the folder holds no clusters."""
        self.paths = sorted(folder.glob(f"*{_SUFFIX}"))
        if not self.paths:
            raise SourceError(f"{folder} is no bank: it holds no clusters")
        self._overlap = overlap
        self._device = device

    def sample(
        self, counts: tuple[int, int], keypoints: int, generator: torch.Generator
    ) -> BankedPairs:
        """counts: pairs that see the same and pairs that do not; `keypoints` of each view, drawn
        from as many of the strongest as chance has it, in any order."""
        drawn = [self._draw(apart, keypoints, generator) for apart in _kinds(counts)]
        view0 = _batch([d[0] for d in drawn], self._device)
        view1 = _batch([d[1] for d in drawn], self._device)
        forth, back = (
            Projection(*(torch.cat(parts) for parts in zip(*(d[side] for d in drawn))))
            for side in (2, 3)
        )
        points = view0.keypoints, view1.keypoints
        truth = projected_assignment(points[0].cpu(), points[1].cpu(), forth, back)
        own = Assignment(truth.matches0.to(self._device), truth.matches1.to(self._device))
        return BankedPairs(view0, view1, own)

    def _draw(
        self, apart: bool, count: int, generator: torch.Generator
    ) -> tuple[ImageKeypoints, ImageKeypoints, tuple[Tensor, ...], tuple[Tensor, ...]]:
        def integer(high: int) -> int:
            return int(torch.randint(high, (), generator=generator))

        while True:
            path = self.paths[integer(len(self.paths))]
            try:
                with safe_open(path, framework="pt") as file:
                    if apart:
                        rows = file.get_tensor("apart")
                    else:
                        overlap = file.get_tensor("overlap")
                        low, high = self._overlap
                        kept = torch.nonzero((overlap >= low) & (overlap <= high))[:, 0]
                        rows = file.get_tensor("pairs")[kept]
                    if not len(rows):
                        continue
                    row = integer(len(rows))
                    turn = integer(2)
                    views, ways = [], []
                    size = tuple(json.loads(file.metadata()["size"]))
                    for side in (turn, 1 - turn):
                        v = int(rows[row, side])
                        most = file.get_slice("scores").get_shape()[1]
                        strongest = count + integer(most - count + 1)
                        some = torch.randperm(strongest, generator=generator)[:count]
                        views.append(ImageKeypoints(
                            file.get_slice("keypoints")[v : v + 1][:, some],
                            file.get_slice("scores")[v : v + 1][:, some].float(),
                            file.get_slice("descriptors")[v : v + 1][:, some].float(),
                            size,
                        ))  # fmt: skip
                        if apart:
                            hidden = torch.ones(1, count, dtype=torch.bool)
                            ways.append((torch.zeros(1, count, 2), ~hidden, hidden))
                        else:
                            p = int(kept[row])
                            state = file.get_slice(f"seen{side}")[p : p + 1][:, some]
                            points = file.get_slice(f"points{side}")[p : p + 1][:, some]
                            ways.append((points, state == _VISIBLE, state == _HIDDEN))
                    return views[0], views[1], ways[0], ways[1]
            except SafetensorError as error:
                raise SourceError(f"{path} is a damaged cluster: {error}") from error


def _kinds(counts: Sequence[int]) -> Iterator[bool]:
    """Whether each pair of a batch is one without overlap."""
    for apart, count in zip((False, True), counts):
        for _ in range(count):
            yield apart


def _batch(views: Sequence[ImageKeypoints], device: torch.device) -> ImageKeypoints:
    """Views of one image each and of one size as one batch on a device."""
    return ImageKeypoints(
        torch.cat([view.keypoints for view in views]).to(device),
        torch.cat([view.scores for view in views]).to(device),
        torch.cat([view.descriptors for view in views]).to(device),
        views[0].image_size,
    )


def join_views(first: ImageKeypoints, second: ImageKeypoints) -> ImageKeypoints:
    """Both batches in one, the second's keypoints in the frame of the first's images: the network
    sees them about the centre, over the longer side."""
    size = torch.tensor(first.image_size, device=first.keypoints.device, dtype=torch.float32)
    own = torch.tensor(second.image_size, device=first.keypoints.device, dtype=torch.float32)
    moved = (second.keypoints - own / 2) * (size.max() / own.max()) + size / 2
    return ImageKeypoints(
        torch.cat([first.keypoints, moved]),
        torch.cat([first.scores, second.scores]),
        torch.cat([first.descriptors, second.descriptors]),
        first.image_size,
    )


def join_truths(first: Assignment, second: Assignment) -> Assignment:
    """Both batches in one."""
    return Assignment(
        torch.cat([first.matches0, second.matches0]), torch.cat([first.matches1, second.matches1])
    )
