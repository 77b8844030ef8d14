"""Synthetic shapes with exact corner labels (SuperPoint, arXiv:1712.07629, section 4), drawn in
batches on the training device."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.training.data.corners import CORNER_RESPONSE, IGNORED_RESPONSE, corner_response
from superglue_ros.training.data.homographies import pixel_grid

_LAYERS = 14
_BATCH = 32


class ShapeImages:
    """Draws layers of polygons, stars, strokes, boards, cubes and ellipses, the later ones hiding
    the earlier; the generator's seed decides all."""

    def __init__(self, size: tuple[int, int], generator: torch.Generator) -> None:
        """size: (width, height) of the images."""
        self.size = size
        self.generator = generator
        self.device = generator.device
        self.grid = pixel_grid(*size, self.device)

    @torch.no_grad()
    def draw(self, count: int, max_labels: int = 250) -> tuple[Tensor, Tensor, Tensor]:
        """Images (P, H, W) in [0, 1], labels (P, C, 2) in pixels and their scores (P, C) as in
        `Crops`; C is `max_labels`."""
        sizes = [min(_BATCH, count - i) for i in range(0, count, _BATCH)]
        chunks = [self._draw_batch(size, max_labels) for size in sizes]
        return tuple(torch.cat(part) for part in zip(*chunks))  # type: ignore[return-value]

    def _draw_batch(self, batch: int, max_labels: int) -> tuple[Tensor, Tensor, Tensor]:
        image = self._uniform(batch, 1, 1) + self._noise(batch) * self._uniform(batch, 1, 1)
        points = torch.zeros(batch, 0, 2, device=self.device)
        seen = torch.zeros(batch, 0, dtype=torch.bool, device=self.device)
        kinds = self._kinds()
        for _ in range(_LAYERS):
            draw = kinds[int(self._random_int(len(kinds)))]
            cover, shade, corners = draw(batch)
            texture = self._noise(batch) * self._uniform(batch, 1, 1).square() * 0.6
            image = torch.lerp(image, (shade + texture).clamp(0, 1), cover)
            # What a later layer covers, or nearly, is a corner no more.
            near = F.max_pool2d(cover[:, None], 7, stride=1, padding=3)[:, 0] > 0
            seen &= ~self._at(near, points)
            points = torch.cat((points, corners), dim=1)
            seen = torch.cat((seen, self._in_view(corners)), dim=1)
        image = F.avg_pool2d(F.pad(image[:, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[:, 0]
        image = image.clamp(0, 1)
        # A corner between two equal shades is none.
        response = F.max_pool2d(corner_response(image)[:, None], 5, stride=1, padding=2)[:, 0]
        strength = self._at(response, points) * seen
        scores = torch.where(strength > CORNER_RESPONSE, strength, -strength)
        scores = scores * (strength > IGNORED_RESPONSE)
        return image, *_strongest(points, scores, max_labels)

    def _kinds(self) -> tuple[Callable[[int], tuple[Tensor, Tensor, Tensor]], ...]:
        return (
            self._polygon, self._star, self._strokes, self._board, self._cube, self._ellipse,
            self._polygon, self._board,
        )  # fmt: skip

    def _polygon(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        corners = 3 + int(self._random_int(4))
        steps = 0.4 + self._uniform(batch, corners)
        angles = steps.cumsum(1) / steps.sum(1, keepdim=True) * 2 * math.pi
        vertices = self._place(torch.stack((angles.cos(), angles.sin()), dim=-1))
        return self._cover(vertices), self._uniform(batch, 1, 1), vertices

    def _star(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        rays = 3 + int(self._random_int(5))
        angles = 2 * math.pi * (torch.arange(rays, device=self.device) / rays)
        angles = angles + (self._uniform(batch, rays) - 0.5) * math.pi / rays
        tips = torch.stack((angles.cos(), angles.sin()), dim=-1)
        points = self._place(torch.cat((torch.zeros(batch, 1, 2, device=self.device), tips), 1))
        centre, ends = points[:, :1].expand(-1, rays, -1), points[:, 1:]
        return self._lines(centre, ends), self._uniform(batch, 1, 1), points

    def _strokes(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        points = self._place(self._uniform(batch, 3 + int(self._random_int(4)), 2) * 2 - 1)
        return self._lines(points[:, :-1], points[:, 1:]), self._uniform(batch, 1, 1), points

    def _board(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        squares = 2 + int(self._random_int(5))
        axis = torch.linspace(-1, 1, squares + 1, device=self.device)
        lattice = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).view(1, -1, 2)
        points = self._place(lattice.expand(batch, -1, -1))
        rows = points.view(batch, squares + 1, squares + 1, 2)
        outline = torch.stack((rows[:, 0, 0], rows[:, 0, -1], rows[:, -1, -1], rows[:, -1, 0]), 1)
        shade, other = self._uniform(batch, 1, 1), self._uniform(batch, 1, 1)
        dark = torch.zeros_like(self.grid[..., 0]).expand(batch, -1, -1)
        for i in range(squares):
            for j in range(i % 2, squares, 2):
                cell = rows[:, i : i + 2, j : j + 2].flatten(1, 2)[:, [0, 1, 3, 2]]
                dark = torch.maximum(dark, self._cover(cell))
        return self._cover(outline), torch.lerp(shade, other, dark), points

    def _cube(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        angles = torch.arange(6, device=self.device) * math.pi / 3
        hexagon = torch.stack((angles.cos(), angles.sin()), dim=-1)
        corners = torch.cat((hexagon, torch.zeros_like(hexagon[:1])))
        points = self._place(corners.expand(batch, -1, -1))
        shade = self._uniform(batch, 1, 1).expand(-1, *self.grid.shape[:2])
        for face in ((1, 2, 3, 6), (3, 4, 5, 6)):
            shade = torch.lerp(shade, self._uniform(batch, 1, 1), self._cover(points[:, face]))
        return self._cover(points[:, :6]), shade, points

    def _ellipse(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        angles = torch.arange(24, device=self.device) * math.pi / 12
        circle = torch.stack((angles.cos(), angles.sin()), dim=-1)
        outline = self._place(circle.expand(batch, -1, -1))
        return self._cover(outline), self._uniform(batch, 1, 1), outline[:, :0]

    def _place(self, shape: Tensor) -> Tensor:
        """Points (B, N, 2) of shapes about the unit circle, each somewhere in its image."""
        batch = len(shape)
        extent = torch.tensor(self.size, device=self.device, dtype=torch.float32)
        radius = (math.log(6) + self._uniform(batch, 1, 1) * math.log(10)).exp()
        angle = self._uniform(batch, 1, 1) * 2 * math.pi
        squeeze = 0.4 + 0.6 * self._uniform(batch, 1, 1)
        turn = self._uniform(batch, 1, 1) * 2 * math.pi
        flat = _turned(shape, turn) * torch.cat((squeeze, torch.ones_like(squeeze)), dim=-1)
        nearness = 1 + 0.25 * (self._uniform(batch, 1, 2) * flat).sum(-1, keepdim=True)
        return _turned(flat / nearness, angle) * radius + self._uniform(batch, 1, 2) * (extent - 1)

    def _cover(self, vertices: Tensor) -> Tensor:
        """Share of each pixel (B, H, W) inside convex outlines (B, E, 2), whichever way round."""
        following = vertices.roll(-1, dims=1)
        edges = following - vertices
        area = (vertices[..., 0] * following[..., 1] - following[..., 0] * vertices[..., 1]).sum(1)
        normals = torch.stack((-edges[..., 1], edges[..., 0]), dim=-1) * area.sign()[:, None, None]
        normals = normals / edges.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        inside = torch.full_like(self.grid[..., 0], 1e9).expand(len(vertices), -1, -1)
        for edge in range(vertices.shape[1]):
            n, v = normals[:, edge, None, None], vertices[:, edge, None, None]
            distance = self.grid[..., 0] * n[..., 0] + self.grid[..., 1] * n[..., 1]
            distance = distance - (n * v).sum(-1)
            inside = torch.minimum(inside, distance)
        assert inside is not None
        return (inside + 0.5).clamp(0, 1)

    def _lines(self, starts: Tensor, ends: Tensor) -> Tensor:
        """Share of each pixel (B, H, W) on segments (B, N, 2), of one width an image."""
        width = 1 + 3 * self._uniform(len(starts), 1, 1)
        nearest = torch.full_like(self.grid[..., 0], 1e9).expand(len(starts), -1, -1)
        for i in range(starts.shape[1]):
            start, along = starts[:, i, None, None], (ends - starts)[:, i, None, None]
            offset = self.grid - start
            share = (offset * along).sum(-1) / (along * along).sum(-1).clamp(min=1e-6)
            gap = offset - share.clamp(0, 1)[..., None] * along
            nearest = torch.minimum(nearest, gap.norm(dim=-1))
        return (width / 2 - nearest + 0.5).clamp(0, 1)

    def _noise(self, batch: int) -> Tensor:
        """Fractal noise (B, H, W) in about [-0.5, 0.5], from fine to coarse as it comes."""
        total = torch.zeros(batch, 1, self.size[1], self.size[0], device=self.device)
        roughness = 0.4 + 0.4 * self._uniform(batch, 1, 1, 1)
        for octave in range(1, 6):
            cells = torch.randn(batch, 1, 2**octave, 2**octave, generator=self.generator,
                                device=self.device)  # fmt: skip
            size = (self.size[1], self.size[0])
            smooth = F.interpolate(cells, size=size, mode="bilinear", align_corners=True)
            total = total + smooth * roughness**octave
        return 0.3 * total[:, 0]

    def _in_view(self, points: Tensor) -> Tensor:
        limit = torch.tensor(self.size, device=self.device) - 1
        return ((points >= 0) & (points <= limit)).all(-1)

    def _at(self, values: Tensor, points: Tensor) -> Tensor:
        """Values (B, N) of maps (B, H, W) at the pixels nearest to points (B, N, 2)."""
        x = points[..., 0].round().long().clamp(0, self.size[0] - 1)
        y = points[..., 1].round().long().clamp(0, self.size[1] - 1)
        return values.flatten(1).gather(1, y * self.size[0] + x)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def _random_int(self, below: int) -> Tensor:
        return torch.randint(below, (1,), generator=self.generator, device=self.device)


def _turned(points: Tensor, angle: Tensor) -> Tensor:
    """Points (B, N, 2) turned by angles (B, 1, 1) radians."""
    x, y = points[..., :1], points[..., 1:]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos * x - sin * y, sin * x + cos * y), dim=-1)


def _strongest(points: Tensor, scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` labels of largest magnitude, or fewer and padding."""
    padded = F.pad(scores, (0, max(0, count - scores.shape[1])))
    points = F.pad(points, (0, 0, 0, max(0, count - points.shape[1])))
    order = padded.abs().topk(count, dim=1).indices
    return points.gather(1, order[..., None].expand(-1, -1, 2)), padded.gather(1, order)
