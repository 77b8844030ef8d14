"""Matching and odometry over a source, frame by frame: what the two nodes do, without ROS."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tqdm import tqdm

from superglue_ros.errors import CameraError, ImageError, LateFrame
from superglue_ros.geometry import fit_depth
from superglue_ros.matching import KeyframeMatcher
from superglue_ros.odometry import OdometryEstimate, TrackingState, VisualOdometry
from superglue_ros.replay.gallery import Gallery
from superglue_ros.replay.records import FrameRecord, ReplayResult, matches_record
from superglue_ros.sources import FrameSource, trajectory_from_poses
from superglue_ros.stamps import StampOrder
from superglue_ros.types import FloatArray, Frame, FrameMatches, Pose

logger = logging.getLogger(__name__)


def run_replay(
    source: FrameSource,
    matcher: KeyframeMatcher,
    odometry: VisualOdometry | None = None,
    *,
    max_frames: int | None = None,
    progress: bool = False,
    stop: Callable[[], bool] | None = None,
    watch: Callable[[Frame, FrameMatches], None] | None = None,
) -> ReplayResult:
    """Match every frame of a source and, with odometry, estimate its pose.

    The same input gives the same trajectory, and poses are the frames', whatever their stamps:
    frames may share one. Without odometry, or for frames without a camera,
    there are matches only. An odometry that uses depth gets that of the keyframes' frames, and the
    baseline of their stereo pairs, whose right points are in the matches. Once `stop` says so, no
    further frame is taken, and the result is of those before. Raises CameraError where the camera
    of the first frame is unusable, or of images of another size; a later one costs its frame's
    pose alone. `watch` is told of every matched frame.
    """
    records: list[FrameRecord] = []
    poses: dict[int, Pose] = {}
    gallery = Gallery(len(source))
    skipped, metric, weights, interrupted = 0, False, ("", ""), False
    depths: dict[int, FloatArray | None] = {}
    """Of the keyframe, by its id."""
    baseline_m: float | None = None
    order = StampOrder(late_ns=0)
    started = time.perf_counter()
    for frame in _frames(source, max_frames, progress):
        if stop is not None and stop():
            interrupted = True
            break
        try:
            matches = matcher.process(frame)
        except (ImageError, LateFrame) as error:
            skipped += 1
            logger.warning("%s: skipped a frame: %s", source.name, error)
            continue
        if watch is not None:
            watch(frame, matches)
        weights = (matches.model, matches.weights_hash)
        estimate, odometry_ms = None, 0.0
        if odometry is not None and frame.camera is not None:
            before = time.perf_counter()
            if order.follow(matches.stamp_ns):
                odometry.reset()
            keyframe_depth = depths.get(matches.keyframe_id)
            baseline_m = frame.baseline_m or baseline_m
            try:
                estimate = odometry.process(matches, frame.camera, keyframe_depth, baseline_m)
            except CameraError as error:
                if not records:
                    raise
                logger.warning("%s: a frame without odometry: %s", source.name, error)
            odometry_ms = (time.perf_counter() - before) * 1e3
            if matches.is_keyframe and odometry.use_depth:
                depths = {matches.keyframe_id + 1: _depth(frame, matcher, source.name)}
        records.append(_record(matches, estimate, odometry_ms))
        if estimate is not None:
            metric = estimate.scale_is_metric
            _collect_poses(poses, estimate, records)
        gallery.offer(frame.image, matches, records[-1].inliers_where_judged)
    stamps = [record.stamp_ns for record in records]
    times = Counter(stamps)
    if len(times) < len(stamps):
        text = "%s: %d frames have the stamp of another"
        logger.warning(text, source.name, len(stamps) - len(times))
    placed = sorted(poses, key=lambda number: (stamps[number], number))
    by_stamp = {stamps[n]: pose for n, pose in poses.items() if times[stamps[n]] == 1}
    return ReplayResult(
        name=source.name,
        trajectory=trajectory_from_poses(
            [stamps[number] for number in placed], [poses[number] for number in placed]
        ),
        records=tuple(records),
        pictures=gallery.pictures(by_stamp, source.camera),
        skipped=skipped + source.skipped,
        wall_s=time.perf_counter() - started,
        scale_is_metric=metric,
        camera=source.camera,
        device=matcher.matcher.device,
        precision=matcher.matcher.precision,
        model=weights[0],
        weights_hash=weights[1],
        interrupted=interrupted,
    )


def _depth(frame: Frame, matcher: KeyframeMatcher, name: str) -> FloatArray | None:
    """The keyframe's depth (H, W) metres, None without. Where it was not measured, a right image
    is searched: its depths come with the matches."""
    depth, problem = frame.depth_m, "neither depth nor a right image"
    try:
        if depth is not None:
            return fit_depth(depth, (frame.image.shape[1], frame.image.shape[0]))
        if frame.right is not None:
            matcher.search_right_image(frame.right)
            return None
    except ImageError as error:
        problem = str(error)
    logger.warning("%s: a keyframe without depth: %s", name, problem)
    return None


def _frames(source: FrameSource, max_frames: int | None, progress: bool) -> Iterable[Frame]:
    total = len(source) or None
    if max_frames is not None:
        total = min(total or max_frames, max_frames)
    bar = tqdm(source, total=total, desc=source.name, unit="frame", disable=not progress)
    for index, frame in enumerate(bar):
        if max_frames is not None and index >= max_frames:
            return
        yield frame


def _collect_poses(
    poses: dict[int, Pose], estimate: OdometryEstimate, records: Sequence[FrameRecord]
) -> None:
    """Poses of tracked frames, by their place among the records, and of earlier ones that only a
    later start could place: of several with one stamp the last are meant."""
    last = len(records) - 1
    if estimate.state == TrackingState.TRACKING:
        poses[last] = estimate.pose
    if not estimate.backfill:
        return
    bare: dict[int, list[int]] = {}
    for number in range(last):
        if number not in poses:
            bare.setdefault(records[number].stamp_ns, []).append(number)
    for stamp_ns, pose in reversed(estimate.backfill):
        if bare.get(stamp_ns):
            poses[bare[stamp_ns].pop()] = pose


def _record(
    matches: FrameMatches, estimate: OdometryEstimate | None, odometry_ms: float
) -> FrameRecord:
    record = matches_record(matches)
    if estimate is None:
        return replace(record, odometry_ms=odometry_ms)
    return replace(
        record,
        odometry_ms=odometry_ms,
        num_inliers=estimate.num_inliers,
        num_landmarks=len(estimate.landmarks),
        state=estimate.state.value,
        reason=estimate.reason,
    )
