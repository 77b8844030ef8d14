"""What SuperGlue is trained and validated on: features of pairs of images and their truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from superglue_ros.networks.superglue import ImageKeypoints
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.data.assignment import (
    Assignment,
    ground_truth_assignment,
    homography_assignment,
)
from superglue_ros.training.data.homography_pairs import HomographyPair, HomographyPairs
from superglue_ros.training.data.photos import PhotoBank
from superglue_ros.training.superglue.recipe import SuperGlueRecipe, SuperGlueStage
from superglue_ros.world.pairs import RenderedPairs, WorldPairs

Pairs = tuple[HomographyPair | RenderedPairs, ...]


@dataclass(frozen=True)
class Sample:
    """Features of both views, by falling score, and the pairs they are of."""

    pairs: Pairs
    view0: ImageKeypoints
    view1: ImageKeypoints

    @cached_property
    def truth(self) -> Assignment:
        """True assignment of the features."""
        return truth_of(self.pairs, self.view0, self.view1)


class MixedPairs:
    """Batches of a stage. Its kinds are together in each, since a batch norm tells batches of
    different kinds apart."""

    def __init__(
        self, recipe: SuperGlueRecipe, stage: SuperGlueStage, bank: PhotoBank, seed: int
    ) -> None:
        self._world_config, self._device = recipe.world, bank.device
        self._counts = stage.counts
        self.homographies = HomographyPairs(bank, recipe.pairs, seed)
        self.draw_worlds(seed)

    def draw_worlds(self, seed: int) -> None:
        """Begin with other scenes."""
        self._world = WorldPairs(self._world_config, self._device, seed)
        self._no_overlap = WorldPairs(self._world_config.without_overlap(), self._device, seed + 1)

    def sample(self) -> Pairs:
        """A new batch."""
        rendered, no_overlap, flat = self._counts
        sources: list[tuple[WorldPairs | HomographyPairs, int]] = [
            (self._world, rendered),
            (self._no_overlap, no_overlap),
            (self.homographies, flat),
        ]
        return tuple(source.sample(count) for source, count in sources if count)


@torch.no_grad()
def extract_features(superpoint: SuperPoint, pairs: Pairs, count: int) -> Sample:
    """The `count` strongest keypoints of each image."""
    superpoint.config = replace(superpoint.config, max_keypoints=count, keypoint_threshold=0.0)
    images = [pair.images0 for pair in pairs] + [pair.images1 for pair in pairs]
    both = superpoint(torch.cat(images))
    height, width = images[0].shape[-2:]
    view0, view1 = (
        ImageKeypoints(keypoints, scores, descriptors, (width, height))
        for keypoints, scores, descriptors in zip(
            both.keypoints.chunk(2), both.scores.chunk(2), both.descriptors.chunk(2)
        )
    )
    return Sample(pairs, view0, view1)


def strongest(sample: Sample, count: int) -> Sample:
    """A sample with only the `count` strongest keypoints of each view."""
    view0, view1 = (
        ImageKeypoints(
            view.keypoints[:, :count],
            view.scores[:, :count],
            view.descriptors[:, :count],
            view.image_size,
        )
        for view in (sample.view0, sample.view1)
    )
    return Sample(sample.pairs, view0, view1)


def truth_of(pairs: Pairs, view0: ImageKeypoints, view1: ImageKeypoints) -> Assignment:
    """True assignment of a batch of pairs of any kinds, which follow one another in the views."""
    counts = [len(pair.images0) for pair in pairs]
    parts = [
        _truth_of_one(pair, points0, points1, view0.image_size)
        for pair, points0, points1 in zip(
            pairs, view0.keypoints.split(counts), view1.keypoints.split(counts)
        )
    ]
    return Assignment(
        torch.cat([part.matches0 for part in parts]), torch.cat([part.matches1 for part in parts])
    )


def _truth_of_one(
    pair: HomographyPair | RenderedPairs,
    points0: Tensor,
    points1: Tensor,
    image_size: tuple[int, int],
) -> Assignment:
    if isinstance(pair, RenderedPairs):
        return ground_truth_assignment(
            points0, points1, pair.depth0, pair.depth1, pair.K0, pair.K1, pair.T_0to1
        )
    return homography_assignment(points0, points1, pair.H_0to1, image_size)
