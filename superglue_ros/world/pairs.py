"""Endless rendered pairs of views for training: random scenes, cameras, lights and photometry.

A pool of scenes is built on the CPU and renewed little by little; each pair dresses one of them in
textures of its own, and its cameras are chosen so that the overlap is the one drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch

from superglue_ros.types import ImageArray
from superglue_ros.world.cameras import Pool, choose_pairs
from superglue_ros.world.layouts import Layout, random_layout
from superglue_ros.world.overlap import relative_pose, seen_share
from superglue_ros.world.photometry import Draw, draw_lights, expose
from superglue_ros.world.prints import MATERIALS, PRINTS, facade, paint
from superglue_ros.world.render import render
from superglue_ros.world.scene import Surfaces
from superglue_ros.world.texture_bank import TextureBank, load_photographs

OVERLAP_STRIDE = 4
"""Every which pixel each way the overlap of a finished pair is measured at."""


@dataclass(frozen=True)
class WorldConfig:
    """What pairs are drawn.

    width, height: pixels; overlap: least and largest share of each picture that the other sees,
    or (0, 0) for pairs without overlap; photographs: a folder of pictures used as textures
    beside `procedural` painted ones, all of texture_size pixels; scenes: size of the pool;
    renewed: scenes replaced at each batch; street_share: how many scenes are streets; candidates:
    cameras tried for a second view; turned, zoomed: shares of pairs whose second view is rolled by
    any angle, and has a focal length 0.4 to 2.5 times as long; photometric: lights, exposure, blur
    and noise differ between the views; shadows, antialias: see the renderer. Raises ValueError
    for values out of range.
    """

    width: int = 320
    height: int = 240
    overlap: tuple[float, float] = (0.1, 0.9)
    photographs: Path | None = None
    procedural: int = 64
    texture_size: int = 256
    scenes: int = 24
    renewed: int = 1
    street_share: float = 0.35
    candidates: int = 6
    turned: float = 0.0
    zoomed: float = 0.0
    photometric: bool = True
    shadows: bool = True
    antialias: bool = False

    def __post_init__(self) -> None:
        low, high = self.overlap
        if not 0 <= low <= high <= 1:
            raise ValueError(f"overlap {self.overlap} is no range within 0..1")
        least = {"width": 16, "height": 16, "procedural": 1, "scenes": 1, "candidates": 1}
        for name, value in {**least, "renewed": 0}.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be at least {value}, not {getattr(self, name)}")
        if self.texture_size < 32 or self.texture_size & (self.texture_size - 1):
            raise ValueError(f"texture_size must be a power of two, not {self.texture_size}")
        for name in ("street_share", "turned", "zoomed"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be within 0..1, not {getattr(self, name)}")

    def without_overlap(self) -> WorldConfig:
        """The same for pairs without overlap."""
        return replace(self, overlap=(0.0, 0.0))


@dataclass(frozen=True)
class RenderedPairs:
    """B pairs: images0/1 (B, 1, H, W) in 0..1; depth0/1 (B, H, W) z-depth in metres, 0 for the
    sky; K0/K1 (B, 3, 3) pixels; T_0to1 (B, 4, 4) metres; overlap (B,), the smaller of the two
    shares of a picture that the other sees."""

    images0: torch.Tensor
    images1: torch.Tensor
    depth0: torch.Tensor
    depth1: torch.Tensor
    K0: torch.Tensor
    K1: torch.Tensor
    T_0to1: torch.Tensor
    overlap: torch.Tensor

    def __len__(self) -> int:
        return len(self.overlap)


class WorldPairs:
    """A source of rendered pairs; the same config, device and seed give the same pairs."""

    def __init__(
        self,
        config: WorldConfig | None = None,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.config = config or WorldConfig()
        self.device = torch.device(device)
        self._seed = seed
        self._draw = Draw(self.device, seed)
        self._rng = np.random.default_rng([seed, 3])
        self._layouts: list[Layout] = []

    @cached_property
    def _bank(self) -> TextureBank:
        return TextureBank(gray_textures(self.config, self._seed), self.device)

    @torch.no_grad()
    def sample(self, batch: int) -> RenderedPairs:
        """The next pairs.

        Raises ValueError for a batch under 1, SourceError where the folder of photographs holds
        none.
        """
        if batch < 1:
            raise ValueError(f"a batch must have at least one pair, not {batch}")
        config, draw = self.config, self._draw
        pool = self._renewed_pool()
        size = config.width, config.height
        view = choose_pairs(
            draw,
            pool,
            size,
            config.overlap,
            config.candidates,
            batch,
            config.turned,
            config.zoomed,
        )
        first = torch.arange(batch, device=self.device) * 2
        surfaces = self._dress(pool.surfaces.take(view.scene[first]))
        lamps = pool.lamps[view.scene[first]]
        view = replace(view, scene=torch.arange(batch, device=self.device).repeat_interleave(2))
        shadows, change = config.shadows, config.photometric
        lights = draw_lights(draw, surfaces, view, lamps, shadows, change)
        picture = render(surfaces, self._bank, view, lights, config.antialias)
        image = expose(draw, picture.image) if change else picture.image.clamp(0, 1)
        pose = relative_pose(view, first, first + 1)
        depth0, depth1 = picture.depth[0::2], picture.depth[1::2]
        k0, k1 = view.intrinsics[0::2], view.intrinsics[1::2]
        overlap = torch.minimum(
            _coarse_share(depth0, depth1, k0, k1, pose),
            _coarse_share(depth1, depth0, k1, k0, relative_pose(view, first + 1, first)),
        )
        return RenderedPairs(image[0::2], image[1::2], depth0, depth1, k0, k1, pose, overlap)

    def _renewed_pool(self) -> Pool:
        """The pool with its oldest scenes replaced."""
        config = self.config
        fresh = config.renewed if self._layouts else config.scenes
        for _ in range(fresh):
            self._layouts.append(random_layout(self._rng, self._bank.count, config.street_share))
        self._layouts = self._layouts[-config.scenes :]
        if fresh:
            self._pool = Pool.of(self._layouts, self.device)
        return self._pool

    def _dress(self, surfaces: Surfaces) -> Surfaces:
        """Other textures and tones for every pair, so that no scene is seen twice alike."""
        draw, layers, pairs = self._draw, self._bank.count, len(surfaces)
        other = draw.integers(pairs, layers, high=layers)
        material = surfaces.material.clone()
        old = material[..., 0].long()
        material[..., 0] = other.gather(1, old).float()
        tone = draw.uniform(pairs, layers, low=0.6, high=1.3).gather(1, old)
        material[..., 6:9] *= tone[..., None]
        return replace(surfaces, material=material)


def _coarse_share(
    depth0: torch.Tensor,
    depth1: torch.Tensor,
    k0: torch.Tensor,
    k1: torch.Tensor,
    pose: torch.Tensor,
) -> torch.Tensor:
    stride = OVERLAP_STRIDE
    shrink = torch.tensor([1 / stride, 1 / stride, 1.0], device=k0.device)[:, None]
    small0, small1 = depth0[:, ::stride, ::stride], depth1[:, ::stride, ::stride]
    return seen_share(small0, small1, k0 * shrink, k1 * shrink, pose)


def gray_textures(config: WorldConfig, seed: int) -> ImageArray:
    """The textures of training worlds: (L, size, size, 1) uint8."""
    kinds = [painter.__name__ for painter in (*MATERIALS, *PRINTS, facade)]
    names = [kinds[index % len(kinds)] for index in range(config.procedural)]
    colours = paint(names, config.texture_size, seed)
    if config.photographs is not None:
        photographs = load_photographs(config.photographs, config.texture_size)
        colours = np.concatenate([colours, photographs])
    grays = [cv2.cvtColor(layer, cv2.COLOR_BGR2GRAY) for layer in colours]
    return np.stack(grays)[..., None]
