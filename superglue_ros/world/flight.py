"""The demo flight: a camera glides through a furnished room, every pose known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from superglue_ros.types import CameraModel, FloatArray, Frame, ImageArray, Pose
from superglue_ros.world.prints import paint
from superglue_ros.world.raycast import View
from superglue_ros.world.render import render
from superglue_ros.world.room import TEXTURES, flight_room
from superglue_ros.world.scene import Surfaces
from superglue_ros.world.shading import Lights, ShadowMap, shadow_map
from superglue_ros.world.texture_bank import TextureBank

LAMP = (0.2, -0.2, 2.65)
"""The lamp under the ceiling, metres."""

TEXTURE_SIZES = (128, 512)
"""Pixels of a texture for small and for large images."""

NOISE = 1.6
"""Deviation of the sensor noise in gray levels."""


@dataclass(frozen=True)
class FlightFrame:
    """One frame of a rendered flight: frame (with camera and depth_m), pose of the camera in the
    world (optical frame), and depth (H, W) float32 z-depth in metres."""

    frame: Frame
    pose: Pose
    depth: FloatArray


def flight_poses(num_frames: int, rate_hz: float) -> list[Pose]:
    """Camera poses of the flight: about 0.6 m/s on a smooth arc, looking into the room while
    turning slowly.

    Raises ValueError for fewer than one frame or a rate that is not positive.
    """
    if num_frames < 1 or not rate_hz > 0:
        raise ValueError(f"a flight needs frames and a positive rate, not {num_frames}, {rate_hz}")
    poses = []
    for time in np.arange(num_frames) / rate_hz:
        position, yaw, pitch, roll = _flight_state(float(time))
        poses.append(Pose(_look(yaw, pitch, roll), position))
    return poses


def _flight_state(time: float) -> tuple[FloatArray, float, float, float]:
    """Position, and yaw (0 along +y, to the left), pitch up and roll in radians at a time."""
    phase = 2 * np.pi * time / 24.0
    position = np.array(
        [
            -2.0 * np.cos(phase) + 0.25 * np.sin(3 * phase),
            -1.6 - 0.95 * np.cos(2 * phase) + 0.35 * np.sin(phase),
            1.35 + 0.22 * np.sin(2.3 * phase),
        ]
    )
    yaw = -0.42 * np.cos(phase + 0.3) + 0.10 * np.sin(2.6 * phase)
    pitch = -0.12 + 0.06 * np.sin(1.7 * phase + 0.5)
    roll = 0.04 * np.sin(2.1 * phase)
    return position, float(yaw), float(pitch), float(roll)


def _look(yaw: float, pitch: float, roll: float) -> FloatArray:
    """Rotation (3, 3) of a camera (z forward, y down) into the world (z up)."""
    forward = np.array([-np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll), np.sin(roll)
    return np.stack([cosine * right + sine * down, cosine * down - sine * right, forward], 1)


def render_flight(
    num_frames: int = 120,
    width: int = 640,
    height: int = 480,
    rate_hz: float = 10.0,
    seed: int = 0,
    *,
    start_ns: int = 0,
    gray: bool = False,
    baseline_m: float = 0.0,
) -> Iterator[FlightFrame]:
    """Frames of the flight with exact poses and depths, the same for the same arguments.

    Images are BGR, or gray; with a baseline there is a right camera as well. Raises ValueError as
    `flight_poses`, for images under 16 pixels, and for a negative baseline.
    """
    if min(width, height) < 16:
        raise ValueError(f"images of {width}x{height} are too small for a flight")
    if not baseline_m >= 0:
        raise ValueError(f"a baseline must not be negative, as {baseline_m} is")
    poses = flight_poses(num_frames, rate_hz)
    return render_poses(poses, width, height, rate_hz, seed, start_ns, gray, baseline_m)


def render_poses(
    poses: list[Pose],
    width: int,
    height: int,
    rate_hz: float,
    seed: int,
    start_ns: int,
    gray: bool,
    baseline_m: float = 0.0,
) -> Iterator[FlightFrame]:
    """Frames of cameras at poses in the flight's room, `rate_hz` of them a second."""
    surfaces = flight_room(seed)
    texture_size = TEXTURE_SIZES[width > 320]
    bank = TextureBank(paint(list(TEXTURES), texture_size, seed))
    focal = 0.82 * width
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    camera = CameraModel(width, height, matrix)
    lights = _lights(_lamp_shadows(surfaces, 2 * texture_size))
    for index, pose in enumerate(poses):
        view = view_of(pose, camera)
        picture = render(surfaces, bank, view, lights)
        rng = np.random.default_rng([seed, 2, index])
        image = _expose(picture.image[0].permute(1, 2, 0).numpy(), rng, gray)
        depth = picture.depth[0].numpy()
        stamp_ns = start_ns + round(index * 1e9 / rate_hz)
        frame = Frame(image, stamp_ns, camera=camera, depth_m=depth)
        if baseline_m:
            beside = Pose(pose.rotation, pose.position + baseline_m * pose.rotation[:, 0])
            picture = render(surfaces, bank, view_of(beside, camera), lights)
            right = _expose(picture.image[0].permute(1, 2, 0).numpy(), rng, gray)
            frame = replace(frame, right=right, baseline_m=baseline_m)
        yield FlightFrame(frame, pose, depth)


def view_of(pose: Pose, camera: CameraModel) -> View:
    """One camera of scene 0 as the renderer takes it."""
    return View(
        torch.zeros(1, dtype=torch.int64),
        torch.from_numpy(np.asarray(pose.rotation, np.float32))[None],
        torch.from_numpy(np.asarray(pose.position, np.float32))[None],
        torch.from_numpy(np.asarray(camera.matrix, np.float32))[None],
        camera.width,
        camera.height,
    )


def _lamp_shadows(surfaces: Surfaces, pixels: int) -> ShadowMap:
    """Depths that the lamp sees, in a map of pixels x pixels that looks down."""
    down = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    half = pixels / 2
    matrix = np.array([[half / 3.5, 0, half], [0, half / 3.5, half], [0, 0, 1]])
    camera = CameraModel(pixels, pixels, matrix)
    view = view_of(Pose(down, np.array(LAMP)), camera)
    return shadow_map(surfaces, view)


def _lights(shadow: ShadowMap) -> Lights:
    """A warm lamp under the ceiling and a cooler fill from a corner; colours are BGR."""
    return Lights(
        ambient=torch.tensor([[0.50, 0.48, 0.46]]),
        position=torch.tensor([[LAMP, (-3.5, -2.8, 1.9)]]),
        strength=torch.tensor([[[0.95, 1.08, 1.15], [0.42, 0.38, 0.34]]]),
        reach=torch.tensor([[4.0, 4.0]]),
        sky=torch.zeros(1, 3),
        shadow=shadow,
    )


def _expose(light: FloatArray, rng: np.random.Generator, gray: bool) -> ImageArray:
    """Image of the light (H, W, 3): a soft shoulder for the highlights, noise, eight bits."""
    # Straight up to 0.8, then bent towards 1, so that lamps' highlights keep some drawing.
    over = np.maximum(light - 0.8, 0)
    exposed = (np.minimum(light, 0.8) + 0.2 * over / (over + 0.2)) * 255
    if gray:
        exposed = exposed @ np.array([0.114, 0.587, 0.299], np.float32)
    noise = rng.standard_normal(exposed.shape, np.float32)
    return np.clip(exposed + NOISE * noise + 0.5, 0, 255).astype(np.uint8)
