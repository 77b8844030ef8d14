"""A sequence as a COLMAP database, and sparse models of it, by pycolmap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.errors import CameraError, ExportError
from superglue_ros.exporters.colmap_camera import PIXEL_CENTRE, colmap_camera
from superglue_ros.exporters.sequence import MatchedSequence
from superglue_ros.types import CameraModel, Pose

MODELS = ("poses", "incremental", "global")
"""Sparse models: triangulated from known poses, or mapped by COLMAP one image after another or
all at once (GLOMAP)."""

_SEED = 0

_ERRORS_ALONE = 2
"""Of the levels of its log: information, warnings, errors."""


@dataclass(frozen=True)
class SparseModel:
    """What became of a sparse model: poses of its images by stamp, its points, and the mean
    reprojection error in pixels."""

    poses: dict[int, Pose]
    num_points: int
    reprojection_error_px: float


def write_database(folder: Path, sequence: MatchedSequence) -> tuple[int, int]:
    """Write folder/database.db with verified matches; returns matches, and how many of them were
    verified.

    Raises ExportError where it exists already or pycolmap is missing, CameraError for an image
    without a usable camera.
    """
    pycolmap = import_pycolmap()
    path = folder / "database.db"
    if path.exists():
        raise ExportError(f"{path} exists already")
    with _quiet(pycolmap), pycolmap.Database.open(path) as database:
        rig_of_camera: dict[int, int] = {}
        cameras: dict[bytes, int] = {}
        for number, image in enumerate(sequence.images, 1):
            camera_id = _camera_id(pycolmap, database, cameras, image.camera, image.name)
            if camera_id not in rig_of_camera:
                rig = pycolmap.Rig()
                rig.add_ref_sensor(database.read_camera(camera_id).sensor_id)
                rig_of_camera[camera_id] = database.write_rig(rig)
            written = pycolmap.Image(name=image.name, camera_id=camera_id, image_id=number)
            database.write_image(written, use_image_id=True)
            frame = pycolmap.Frame()
            frame.rig_id = rig_of_camera[camera_id]
            frame.add_data_id(written.data_id)
            database.write_frame(frame)
            keypoints = np.asarray(image.features.keypoints, np.float32) + np.float32(PIXEL_CENTRE)
            database.write_keypoints(number, keypoints)
            descriptors = np.ascontiguousarray(image.features.descriptors, np.float32)
            database.write_descriptors(
                number,
                # Of no kind that COLMAP could match itself; its store is bytes.
                pycolmap.FeatureDescriptors(
                    type=pycolmap.FeatureExtractorType.UNDEFINED,
                    data=descriptors.view(np.uint8).reshape(len(descriptors), -1),
                ),
            )
        for pair in sequence.pairs:
            found = pair.matches
            rows = np.stack([found.indices0, found.indices1], axis=1).astype(np.uint32)
            database.write_matches(pair.first + 1, pair.second + 1, rows)
        matches = int(database.num_matches())
    with _quiet(pycolmap):
        options = pycolmap.TwoViewGeometryOptions()
        options.ransac.random_seed = _SEED
        pycolmap.geometric_verification(path, two_view_geometry_options=options)
        with pycolmap.Database.open(path) as database:
            return matches, int(database.num_inlier_matches())


def write_model(
    folder: Path, sequence: MatchedSequence, kind: str, known: dict[int, Pose]
) -> SparseModel:
    """Write the sparse model of folder's database to folder/sparse/0; known: poses by stamp.

    Mapped models are in any scale and frame, and there may be more than one of them (sparse/1,
    ...) where the images fall apart: the largest is told of. Raises ExportError where there is
    none.
    """
    if kind not in MODELS:
        raise ValueError(f"kind must be one of {', '.join(MODELS)}, not {kind}")
    pycolmap = import_pycolmap()
    sparse = folder / "sparse"
    (sparse / "0").mkdir(parents=True, exist_ok=True)
    paths = folder / "database.db", folder / "images"
    with _quiet(pycolmap):
        pycolmap.set_random_seed(_SEED)
        if kind == "poses":
            model = _with_known_poses(pycolmap, paths[0], sequence, known)
            model = pycolmap.triangulate_points(
                model, *paths, sparse / "0", options=_options(pycolmap)
            )
            models = [model]
        elif kind == "incremental":
            found = pycolmap.incremental_mapping(*paths, sparse, options=_options(pycolmap))
            models = list(found.values())
        else:
            options = pycolmap.GlobalPipelineOptions()
            options.random_seed = _SEED
            options.mapper.bundle_adjustment.refine_focal_length = False
            options.mapper.bundle_adjustment.refine_extra_params = False
            models = list(pycolmap.global_mapping(*paths, sparse, options=options).values())
    if not models:
        raise ExportError(f"no model from {paths[0]}: its images share too little parallax")
    return _told(max(models, key=lambda model: model.num_reg_images()), sequence)


def _options(pycolmap: Any) -> Any:
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = _SEED
    options.min_model_size = 3
    # The calibration is known, and a road or a corridor would not determine it.
    options.ba_refine_focal_length = options.ba_refine_extra_params = False
    # A camera that looks where it goes has little parallax anywhere.
    options.mapper.init_min_tri_angle = 4.0
    options.mapper.init_max_forward_motion = 1.0
    options.mapper.init_min_num_inliers = 50
    return options


def _with_known_poses(
    pycolmap: Any, database_path: Path, sequence: MatchedSequence, known: dict[int, Pose]
) -> Any:
    model = pycolmap.Reconstruction()
    with pycolmap.Database.open(database_path) as database:
        for camera in database.read_all_cameras():
            model.add_camera_with_trivial_rig(camera)
        for number, image in enumerate(sequence.images, 1):
            pose = known.get(image.stamp_ns)
            if pose is None:
                continue
            written = database.read_image(number)
            written.points2D = pycolmap.Point2DList(
                [pycolmap.Point2D(point) for point in database.read_keypoints(number)[:, :2]]
            )
            inverse = pose.inverse()
            to_camera = pycolmap.Rigid3d(pycolmap.Rotation3d(inverse.rotation), inverse.position)
            model.add_image_with_trivial_frame(written, to_camera)
    if model.num_reg_images() < 2:
        raise ExportError("the odometry has no poses of two images to triangulate from")
    return model


def _told(model: Any, sequence: MatchedSequence) -> SparseModel:
    poses = {}
    for number, image in enumerate(sequence.images, 1):
        if number in model.images and model.images[number].has_pose:
            to_camera = model.images[number].cam_from_world()
            pose = Pose(np.array(to_camera.rotation.matrix()), np.array(to_camera.translation))
            poses[image.stamp_ns] = pose.inverse()
    error_px = float(model.compute_mean_reprojection_error())
    return SparseModel(poses, int(model.num_points3D()), error_px)


def _camera_id(
    pycolmap: Any, database: Any, known: dict[bytes, int], camera: CameraModel | None, name: str
) -> int:
    if camera is None:
        raise CameraError(f"COLMAP needs a calibration, and {name} has none: --calibration")
    model, parameters = colmap_camera(camera)
    key = repr((model, camera.width, camera.height, parameters)).encode()
    if key not in known:
        written = pycolmap.Camera(
            model=model, width=camera.width, height=camera.height, params=parameters
        )
        written.has_prior_focal_length = True
        known[key] = database.write_camera(written)
    return known[key]


@contextmanager
def _quiet(pycolmap: Any) -> Iterator[None]:
    """COLMAP's log with errors alone."""
    level = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = _ERRORS_ALONE
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = level


def import_pycolmap() -> Any:
    """The module; ExportError where it is missing or older than 4."""
    try:
        import pycolmap
    except ImportError as error:
        raise ExportError("COLMAP's files need pycolmap 4: pip install pycolmap") from error
    if int(pycolmap.__version__.split(".")[0]) < 4:
        raise ExportError(f"COLMAP's files need pycolmap 4, not {pycolmap.__version__}")
    return pycolmap
