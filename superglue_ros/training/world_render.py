"""Pictures of the rendered world: textures, lights, shadows and anti-aliased edges.

Reflection is Lambert's plus Blinn's highlight; shadows come from a depth map seen from the light.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from superglue_ros.training.world_bank import TextureBank
from superglue_ros.training.world_raycast import View, ViewedSurfaces, Visibility, cast
from superglue_ros.training.world_scene import CYLINDER, SPHERE, Surfaces

SUBSAMPLES = ((-0.375, -0.125), (0.125, -0.375), (-0.125, 0.375), (0.375, 0.125))
"""Pixel offsets of the four samples of an edge pixel (a rotated grid)."""

NEIGHBOURS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""Pixels whose surfaces an edge pixel's samples may meet."""

SHININESS = 40.0


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
    """Inverse depths (M, N, N) seen from lights, one map per view of `view`; `index` (V,) is the
    map that a picture's view uses."""

    view: View
    inverse_depth: torch.Tensor
    index: torch.Tensor

    def lit(self, view: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Share of the first light that reaches points (N, 3) of views (N,), softened over 2x2."""
        which = self.index[view]
        turned = points - self.view.position[which]
        local = (turned[:, None] @ self.view.rotation[which])[:, 0]
        depth = local[:, 2].clamp(min=0.05)
        k = self.view.intrinsics[which]
        x = k[:, 0, 0] * local[:, 0] / depth + k[:, 0, 2]
        y = k[:, 1, 1] * local[:, 1] / depth + k[:, 1, 2]
        size = self.view.width
        inside = (local[:, 2] > 0.05) & (x >= 0) & (x < size - 1) & (y >= 0) & (y < size - 1)
        x, y = x.clamp(0, size - 1.001), y.clamp(0, size - 1.001)
        left, top = x.floor(), y.floor()
        # The bias grows with the footprint of one shadow pixel.
        bias = 1 + 0.02 + 2.0 / k[:, 0, 0]
        limit = bias / depth
        first = (which * size + top.long()) * size + left.long()
        flat = self.inverse_depth.reshape(-1)
        a, b, c, d = ((flat[first + step] <= limit).float() for step in (0, 1, size, size + 1))
        fx, fy = x - left, y - top
        share = (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
        return torch.where(inside, share, 1.0)


def shadow_map(surfaces: Surfaces, view: View, index: torch.Tensor) -> ShadowMap:
    """What lights at the views' poses see; index (V,) names the map of each picture's view."""
    return ShadowMap(view, cast(ViewedSurfaces.of(surfaces, view), view).inverse_depth, index)


@dataclass(frozen=True)
class Picture:
    """image (V, C, H, W) linear light; depth (V, H, W) z-depth in metres, 0 where nothing is met;
    surface (V, H, W) int64, -1 there."""

    image: torch.Tensor
    depth: torch.Tensor
    surface: torch.Tensor


@torch.no_grad()
def render(
    surfaces: Surfaces, bank: TextureBank, view: View, lights: Lights, antialias: bool = True
) -> Picture:
    """Pictures of all views at once, on the surfaces' device."""
    seen = ViewedSurfaces.of(surfaces, view)
    first = cast(seen, view)
    shader = _Shader(surfaces, seen, bank, view, lights)
    v, y, x = torch.nonzero(torch.ones_like(first.surface, dtype=torch.bool), as_tuple=True)
    image = shader(v, x.float(), y.float(), first.surface.flatten(), first.inverse_depth.flatten())
    if antialias:
        _smooth_edges(image, first, seen, shader, view)
    channels = image.shape[1]
    image = image.reshape(len(view), view.height, view.width, channels).permute(0, 3, 1, 2)
    depth = torch.where(first.surface >= 0, 1 / first.inverse_depth.clamp(min=1e-6), 0.0)
    return Picture(image.contiguous(), depth, first.surface)


def render_depth(surfaces: Surfaces, view: View) -> torch.Tensor:
    """Only the z-depths (V, H, W) in metres, 0 where nothing is met."""
    w = cast(ViewedSurfaces.of(surfaces, view), view).inverse_depth
    return torch.where(w > 0, 1 / w.clamp(min=1e-6), 0.0)


def _smooth_edges(
    image: torch.Tensor, first: Visibility, seen: ViewedSurfaces, shader: _Shader, view: View
) -> None:
    """Replace the pixels (V * H * W, C) at surface borders by the mean of four samples."""
    padded = F.pad(first.surface[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0].long()
    height, width = first.surface.shape[1:]
    around = torch.stack(
        [padded[:, 1 + y : 1 + y + height, 1 + x : 1 + x + width] for x, y in NEIGHBOURS]
    )
    edge = (around != around[:1]).any(0)
    v, y, x = torch.nonzero(edge, as_tuple=True)
    if not len(v):
        return
    candidates = around[:, v, y, x]  # (5, N)
    total = torch.zeros((len(v), image.shape[1]), device=image.device)
    count, candidate = len(NEIGHBOURS), candidates.flatten()
    views = v.repeat(count)
    for dx, dy in SUBSAMPLES:
        sample_x, sample_y = x + dx, y + dy
        rays = view.rays(v, sample_x, sample_y).repeat(count, 1)
        w = seen.inverse_depth(views, candidate.clamp(min=0), rays) * (candidate >= 0)
        nearest, which = w.reshape(count, -1).max(0)
        surface = candidates.gather(0, which[None])[0]
        surface = torch.where(nearest > 0, surface, -1)
        total += shader(v, sample_x, sample_y, surface, nearest)
    image[(v * height + y) * width + x] = total / len(SUBSAMPLES)


class _Shader:
    """Light that comes from where rays meet surfaces."""

    def __init__(
        self,
        surfaces: Surfaces,
        seen: ViewedSurfaces,
        bank: TextureBank,
        view: View,
        lights: Lights,
    ) -> None:
        self.view, self.lights, self.bank, self.flat = view, lights, bank, surfaces.flat
        self.count = surfaces.kind.shape[1]
        kind = surfaces.kind[view.scene]
        normal = surfaces.inverse[view.scene][:, :, 2]
        # One gather of a row per sample is far cheaper than one per attribute.
        self.table = torch.cat(
            [
                seen.gain.flatten(2),
                seen.shift,
                normal,
                surfaces.material[view.scene],
                kind[..., None].float(),
            ],
            2,
        ).flatten(0, 1)
        self.inverse = surfaces.inverse[view.scene].flatten(0, 1)

    def __call__(
        self,
        view: torch.Tensor,
        x: torch.Tensor,
        y: torch.Tensor,
        surface: torch.Tensor,
        inverse_depth: torch.Tensor,
    ) -> torch.Tensor:
        """Light (N, C) of the surfaces (N,), -1 for the sky, met by the pixels' rays."""
        rays = self.view.rays(view, x, y)
        z = 1 / inverse_depth.clamp(min=1e-6)
        index = view * self.count + surface.clamp(min=0)
        row = self.table[index]
        gain, shift, normal = row[:, :9].reshape(-1, 3, 3), row[:, 9:12], row[:, 12:15]
        material, kind = row[:, 15:27], row[:, 27]
        local = z[:, None] * (gain * rays[:, None]).sum(2) - shift
        u, v = local[:, 0], local[:, 1]
        curved = torch.nonzero((kind >= CYLINDER) & (surface >= 0))[:, 0]
        if len(curved):
            u, v, normal = self._curve(curved, index, local, kind, u, v, normal)
        toward = (rays[:, None] * self.view.rotation[view]).sum(2)
        points = self.view.position[view] + z[:, None] * toward
        facing = (normal * toward).sum(1).abs().clamp(min=0.08)
        pixel_m = z / (self.view.intrinsics[view, 0, 0] * facing.sqrt())
        albedo = self.bank.sample(
            material[:, 0].long(),
            u * material[:, 1] + material[:, 3],
            v * material[:, 2] + material[:, 4],
            pixel_m * material[:, 5],
        )
        channels = albedo.shape[1]
        tint = material[:, 6:9] if channels == 3 else material[:, 6:9].mean(1, keepdim=True)
        border = (1 - torch.maximum(u.abs(), v.abs())).clamp(min=0) * material[:, 11]
        corner = 1 - material[:, 10] * torch.exp(-border / 0.35)
        diffuse, shine = self._light(view, points, normal, toward, material[:, 9])
        light = albedo * tint * diffuse * corner[:, None] + shine
        return torch.where(surface[:, None] >= 0, light, self.lights.sky[view])

    def _curve(
        self,
        curved: torch.Tensor,
        index: torch.Tensor,
        local: torch.Tensor,
        kind: torch.Tensor,
        u: torch.Tensor,
        v: torch.Tensor,
        normal: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Texture coordinates and world normals of the samples on round surfaces."""
        a, b, c = local[curved].unbind(1)
        ball = kind[curved] == SPHERE
        u, v, normal = u.clone(), v.clone(), normal.clone()
        u[curved] = torch.atan2(b, a) / torch.pi
        v[curved] = torch.where(ball, torch.asin(c.clamp(-1, 1)) * (2 / torch.pi), c)
        gradient = torch.stack([a, b, torch.where(ball, c, 0.0)], 1)
        outward = (gradient[:, None] @ self.inverse[index[curved]])[:, 0]
        normal[curved] = F.normalize(outward, dim=1)
        return u, v, normal

    def _light(
        self,
        view: torch.Tensor,
        points: torch.Tensor,
        normal: torch.Tensor,
        toward: torch.Tensor,
        gloss: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Diffuse factor and highlight (N, C)."""
        lights = self.lights
        # A little more ambient light from above, so that faces turned away from lamps differ.
        diffuse = lights.ambient[view] * (0.85 + 0.15 * normal[:, 2:])
        shine = torch.zeros_like(diffuse)
        eye = F.normalize(-toward, dim=1)
        for number in range(lights.position.shape[1]):
            to_light = lights.position[view, number] - points
            distance = to_light.norm(dim=1).clamp(min=1e-3)
            to_light = to_light / distance[:, None]
            share = 1 / (1 + (distance / lights.reach[view, number]) ** 2)
            if number == 0 and lights.shadow is not None:
                share = share * lights.shadow.lit(view, points + 0.02 * normal)
            strength = lights.strength[view, number]
            lambert = (normal * to_light).sum(1).clamp(min=0) * share
            diffuse = diffuse + lambert[:, None] * strength
            half = F.normalize(to_light + eye, dim=1)
            mirror = (normal * half).sum(1).clamp(min=0) ** SHININESS
            shine = shine + (gloss * mirror * share)[:, None] * strength
        return diffuse, shine
