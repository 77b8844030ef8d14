"""Light that comes from surfaces of the rendered world towards the camera.

Reflection is Lambert's plus Phong's highlight; shadows come from depths seen from the light.
All values are kept one vector per quantity, views by samples, which is what both kinds of
processors read fastest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from superglue_ros.world.raycast import View, ViewedSurfaces, cast
from superglue_ros.world.scene import CYLINDER, SPHERE, Surfaces
from superglue_ros.world.texture_bank import TextureBank

SHADOW_LIFT_M = 0.02
"""Points are moved off their surface by this before they are looked up in a shadow map."""

CORNER_REACH_M = 0.35
"""How far from a border a surface is darkened by its `corner` share."""

Vector = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Lights:
    """Lights of V views: ambient (V, C); position (V, L, 3) and strength (V, L, C) of point
    lights, falling off as 1 / (1 + (distance / reach)²) with reach (V, L) metres; sky (V, C), the
    colour where nothing is met. Only the first light casts shadows, through `shadow`."""

    ambient: torch.Tensor
    position: torch.Tensor
    strength: torch.Tensor
    reach: torch.Tensor
    sky: torch.Tensor
    shadow: ShadowMap | None = None


@dataclass(frozen=True)
class ShadowMap:
    """Inverse depths (V, N, N) of what the first light of each picture's view sees, by the cameras
    `view` (V) at the lights."""

    view: View
    inverse_depth: torch.Tensor

    def lit(self, views: slice, points: Vector) -> torch.Tensor:
        """Share (v, n) of the light that reaches points (v, n) of v views, softened over 2x2."""
        size = self.view.width
        x, y, z = _rotate_back(points, self.view, views)
        k = self.view.intrinsics[views]
        depth = z.clamp(min=0.05)
        x = k[:, 0, 0, None] * x / depth + k[:, 0, 2, None]
        y = k[:, 1, 1, None] * y / depth + k[:, 1, 2, None]
        inside = (z > 0.05) & (x >= 0) & (x < size - 1) & (y >= 0) & (y < size - 1)
        x, y = x.clamp(0, size - 1.001), y.clamp(0, size - 1.001)
        left, top = x.floor(), y.floor()
        # The allowance grows with the footprint of one pixel of the map.
        limit = (1.02 + 2 / k[:, 0, 0, None]) / depth
        index = torch.arange(len(limit), device=limit.device)[:, None]
        first = ((index * size + top.long()) * size + left.long()).flatten()
        flat = self.inverse_depth[views].reshape(-1)
        # index_select is several times faster than indexing on a CPU, here and below.
        nearest = (flat.index_select(0, first + step) for step in (0, 1, size, size + 1))
        a, b, c, d = ((w.reshape(limit.shape) <= limit).float() for w in nearest)
        share = torch.lerp(torch.lerp(a, b, x - left), torch.lerp(c, d, x - left), y - top)
        return torch.where(inside, share, 1.0)


def shadow_map(surfaces: Surfaces, view: View) -> ShadowMap:
    """What the lights see, by a camera at the first light of each picture's view."""
    return ShadowMap(view, cast(ViewedSurfaces.of(surfaces, view), view).inverse_depth)


class Shader:
    """Light towards the cameras of `view` from points of their scenes' surfaces."""

    def __init__(
        self,
        surfaces: Surfaces,
        seen: ViewedSurfaces,
        bank: TextureBank,
        view: View,
        lights: Lights,
    ) -> None:
        self.view, self.lights, self.bank = view, lights, bank
        self.surfaces = surfaces
        columns = [
            seen.gain.flatten(2),
            seen.shift,
            surfaces.inverse[view.scene][:, :, 2],
            surfaces.material[view.scene],
            seen.kind[..., None].float(),
        ]
        self.count = seen.kind.shape[1]
        self.table = torch.cat(columns, 2).flatten(0, 1).T.contiguous()

    def __call__(
        self,
        views: slice,
        x: torch.Tensor,
        y: torch.Tensor,
        surface: torch.Tensor,
        inverse_depth: torch.Tensor,
    ) -> torch.Tensor:
        """Light (v, C, n) for v views at pixels x, y (v, n) that meet surfaces (v, n), -1 the sky,
        at inverse depths (v, n)."""
        index = torch.arange(len(surface), device=surface.device)[:, None]
        row = (index * self.count + surface.clamp(min=0)).flatten()
        table = self.table[:, views.start * self.count : views.stop * self.count]
        columns = table.index_select(1, row).unflatten(1, surface.shape).unbind(0)
        gain, shift, normal = columns[:9], columns[9:12], columns[12:15]
        layer, scale_u, scale_v, offset_u, offset_v, density = columns[15:21]
        tint, (gloss, corner, extent, kind) = columns[21:24], columns[24:]
        k = self.view.intrinsics[views, :, :, None]
        across, down = (x - k[:, 0, 2]) / k[:, 0, 0], (y - k[:, 1, 2]) / k[:, 1, 1]
        z = 1 / inverse_depth.clamp(min=1e-6)
        local = [
            z * (gain[3 * i] * across + gain[3 * i + 1] * down + gain[3 * i + 2]) - shift[i]
            for i in range(3)
        ]
        u, v = local[0], local[1]
        curved = (kind >= CYLINDER).nonzero(as_tuple=True)
        if len(curved[0]):
            scene = self.view.scene[views]
            inverse = self.surfaces.inverse[scene[curved[0]], surface[curved].clamp(min=0)]
            u, v, normal = _curve(curved, local, kind, inverse, normal)
        toward = _rotate((across, down, torch.ones_like(across)), self.view, views)
        length = _dot(toward, toward).sqrt()
        facing = -_dot(normal, toward)
        footprint = z / (k[:, 0, 0] * facing.abs().clamp(min=0.08).sqrt())
        albedo = self.bank.sample(
            layer.int(), u * scale_u + offset_u, v * scale_v + offset_v, footprint * density
        )
        border = (1 - torch.maximum(u.abs(), v.abs())).clamp(min=0) * extent
        share = 1 - corner * torch.exp(border * (-1 / CORNER_REACH_M))
        if len(albedo) == len(tint):
            albedo = albedo * torch.stack(tint)
        else:
            albedo = albedo * ((tint[0] + tint[1] + tint[2]) / 3)
        position = self.view.position[views, :, None].unbind(1)
        points = tuple(p + z * t for p, t in zip(position, toward))
        eye = tuple(t / -length for t in toward)
        diffuse, shine = self._light(views, (points[0], points[1], points[2]), normal, eye, gloss)
        light = albedo * share * diffuse + shine
        sky = self.lights.sky[views].T[:, :, None]
        return torch.where(surface >= 0, light, sky).transpose(0, 1)

    def _light(
        self,
        views: slice,
        points: Vector,
        normal: tuple[torch.Tensor, ...],
        eye: tuple[torch.Tensor, ...],
        gloss: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Diffuse factor and highlight, (C, v, n)."""
        lights = self.lights
        # A little more ambient light from above, so that faces turned away from lamps differ.
        diffuse = lights.ambient[views].T[:, :, None] * (0.85 + 0.15 * normal[2])
        shine = torch.zeros_like(diffuse)
        facing = 2 * _dot(normal, eye)
        for number in range(lights.position.shape[1]):
            place = lights.position[views, number, :, None].unbind(1)
            ray = tuple(a - b for a, b in zip(place, points))
            square = _dot(ray, ray).clamp(min=1e-6)
            back = square.rsqrt()
            cosine = _dot(normal, ray) * back
            reach = lights.reach[views, number, None]
            share = (cosine > 0) / (1 + square / (reach * reach))
            if number == 0 and lights.shadow is not None:
                x, y, z = (p + SHADOW_LIFT_M * n for p, n in zip(points, normal))
                share = share * lights.shadow.lit(views, (x, y, z))
            strength = lights.strength[views, number].T[:, :, None]
            mirror = (facing * cosine - _dot(ray, eye) * back).clamp(min=0)
            for _ in range(4):  # to the power of 16
                mirror = mirror * mirror
            diffuse = diffuse + strength * (cosine * share)
            shine = shine + strength * (gloss * share * mirror)
        return diffuse, shine


def _curve(
    curved: tuple[torch.Tensor, ...],
    local: list[torch.Tensor],
    kind: torch.Tensor,
    inverse: torch.Tensor,
    normal: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]:
    """Texture coordinates and world normals, with those of the samples on round surfaces set."""
    a, b, c = (value[curved] for value in local)
    ball = kind[curved] == SPHERE
    u, v = local[0].clone(), local[1].clone()
    u[curved] = torch.atan2(b, a) / torch.pi
    v[curved] = torch.where(ball, torch.asin(c.clamp(-1, 1)) * (2 / torch.pi), c)
    gradient = torch.stack([a, b, torch.where(ball, c, 0.0)], 1)
    outward = torch.nn.functional.normalize((gradient[:, None] @ inverse)[:, 0], dim=1)
    turned = tuple(n.clone() for n in normal)
    for axis, values in zip(turned, outward.unbind(1)):
        axis[curved] = values
    return u, v, turned


def _dot(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _rotate(vector: Vector, view: View, views: slice) -> Vector:
    """Camera to world."""
    r = view.rotation[views, :, :, None].unbind(1)
    x, y, z = (_dot(vector, row.unbind(1)) for row in r)
    return x, y, z


def _rotate_back(points: Vector, view: View, views: slice) -> Vector:
    """World points to the camera's frame."""
    place = view.position[views, :, None].unbind(1)
    away = tuple(a - b for a, b in zip(points, place))
    r = view.rotation[views, :, :, None].unbind(2)
    x, y, z = (_dot(away, column.unbind(1)) for column in r)
    return x, y, z
