"""Tracks chained over keyframes, offline: identities against the truth, and VINS's rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from odometry_world import CAMERA, box_of_points, emptied, matches_of, straight

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.tracks import TrackTruth, evaluate_tracks
from superglue_ros.geometry import normalize_points, project_points
from superglue_ros.geometry.two_view import estimate_two_view
from superglue_ros.tracks import (
    FrameTracks,
    TrackChain,
    TrackRecorder,
    VinsTracker,
    agree_with_one_motion,
)
from superglue_ros.tracks.verification import move_with_neighbours
from superglue_ros.tracks.vins import ID_END
from superglue_ros.types import CameraModel, FloatArray, FrameMatches, Pose

S = 1_000_000_000
POINTS = box_of_points()
POSES = straight(40)


def matched(
    frame: int,
    keyframe: int,
    keyframe_id: int,
    pairs: list[tuple[int, int]],
    is_keyframe: bool = False,
) -> FrameMatches:
    """Matches of a frame whose feature n is at (10 n, frame), stamps in seconds."""
    first, second = np.array(pairs, np.int32).reshape(-1, 2).T
    return FrameMatches(
        stamp_ns=frame * S,
        keyframe_stamp_ns=keyframe * S,
        frame_id="eye",
        keyframe_id=keyframe_id,
        is_keyframe=is_keyframe,
        image_size=(100, 50),
        keyframe_image_size=(100, 50),
        keyframe_points=np.stack([10.0 * first, np.full(len(first), keyframe)], 1).astype("f4"),
        points=np.stack([10.0 * second, np.full(len(second), frame)], 1).astype("f4"),
        keyframe_indices=first,
        indices=second,
        confidences=np.ones(len(first), np.float32),
        num_features=20,
        num_keyframe_features=20,
    )


def landmarks_of(tracks: FrameTracks, pose: Pose) -> FloatArray:
    """(M,) which of POINTS each track is on."""
    pixels = project_points((POINTS - pose.position) @ pose.rotation, CAMERA)
    distances = np.linalg.norm(tracks.points[:, None] - pixels[None], axis=2)
    return np.nanargmin(distances, axis=1)


def chain(messages: list[FrameMatches]) -> list[FrameTracks]:
    tracks = TrackChain()
    return [tracks.process(message) for message in messages]


def test_worked_by_hand() -> None:
    first, second, third, fourth = chain(
        [
            matched(0, 0, 0, [], is_keyframe=True),
            matched(1, 0, 1, [(3, 5), (4, 6)]),
            matched(2, 0, 1, [(4, 1), (7, 2)], is_keyframe=True),
            matched(3, 2, 2, [(1, 0), (2, 4), (8, 8)]),
        ]
    )
    assert (len(first), first.restarted) == (0, True)
    assert second.ids.tolist() == [0, 1]
    assert second.ages.tolist() == [2, 2]
    assert not second.restarted
    np.testing.assert_array_equal(second.previous_points, [[30, 0], [40, 0]])
    assert third.ids.tolist() == [1, 2]
    assert third.ages.tolist() == [3, 2]
    np.testing.assert_array_equal(third.previous_points, [[60, 1], [70, 0]])
    assert third.previous_stamps_ns.tolist() == [1 * S, 0]
    assert fourth.ids.tolist() == [1, 2, 3]
    assert fourth.ages.tolist() == [4, 3, 2]
    np.testing.assert_array_equal(fourth.points[0], [0, 3])


def test_a_track_comes_back_while_its_keyframe_lasts() -> None:
    found = chain(
        [
            matched(0, 0, 0, [], is_keyframe=True),
            matched(1, 0, 1, [(3, 5)]),
            matched(2, 0, 1, []),
            matched(3, 0, 1, [(3, 6)]),
        ]
    )
    assert [tracks.ids.tolist() for tracks in found] == [[], [0], [], [0]]
    assert found[3].previous_stamps_ns.tolist() == [1 * S]


@pytest.mark.parametrize(
    "later",
    [
        matched(5, 4, 3, [(1, 1)]),  # a keyframe was missed
        matched(5, 4, 2, [(1, 1)]),  # the matcher was started anew
        matched(0, 0, 2, []),  # the clock jumped back
    ],
)
def test_ids_are_never_used_again(later: FrameMatches) -> None:
    before = [
        matched(0, 0, 0, [], is_keyframe=True),
        matched(1, 0, 1, [(1, 1), (2, 2)], is_keyframe=True),
        matched(2, 1, 2, [(1, 1)]),
    ]
    *_, last = chain([*before, later])
    assert last.restarted
    assert not set(last.ids) & {0, 1}


def test_a_feature_belongs_to_one_track() -> None:
    message = matched(1, 0, 1, [(3, 5), (3, 6), (4, 5), (7, 7)])
    confidences = np.array([0.5, 0.75, 0.25, 1], np.float32)
    (tracks,) = chain([replace(message, confidences=confidences)])
    np.testing.assert_array_equal(tracks.confidences, [0.75, 0.25, 1])
    assert len(set(tracks.ids)) == 3


def test_nothing_at_all() -> None:
    (tracks,) = chain([emptied(matched(1, 0, 1, [(1, 1)]))])
    assert tracks.points.shape == tracks.previous_points.shape == (0, 2)
    assert (len(tracks), tracks.restarted) == (0, True)


def test_tracks_stay_on_their_landmarks() -> None:
    found = chain(matches_of(POINTS, POSES))
    on: dict[int, int] = {}
    of: dict[int, int] = {}
    kept = stayed = 0
    before: set[int] = set()
    for tracks, pose in zip(found, POSES, strict=True):
        landmarks = landmarks_of(tracks, pose)
        for number, landmark in zip(tracks.ids.tolist(), landmarks.tolist(), strict=True):
            assert on.setdefault(number, landmark) == landmark
            if landmark in before:
                stayed += 1
                kept += of[landmark] == number
            of[landmark] = number
        before = set(landmarks.tolist())
    assert len(on) > 300
    assert max(int(tracks.ages.max(initial=0)) for tracks in found) > 15
    assert kept / stayed >= 0.95


def test_wrong_matches_disagree_with_the_motion() -> None:
    messages = matches_of(POINTS, POSES, noise_px=0.3, outliers=0.2)
    wrong = right = 0
    for message, pose in zip(messages[1:], POSES[1:], strict=True):
        agree = agree_with_one_motion(message, CAMERA, 2.0)
        keyframe = POSES[message.keyframe_stamp_ns * 10 // S]
        pairs = []
        for points, at in ((message.keyframe_points, keyframe), (message.points, pose)):
            pixels = project_points((POINTS - at.position) @ at.rotation, CAMERA)
            distances = np.linalg.norm(points[:, None] - pixels[None], axis=2)
            pairs.append(np.nanargmin(distances, axis=1))
        same = pairs[0] == pairs[1]
        right += int((same & agree).sum()) - int((same & ~agree).sum())
        wrong += int((~same & agree).sum()) - int((~same & ~agree).sum())
    assert right > 0
    assert wrong < 0
    assert not agree_with_one_motion(emptied(messages[3]), CAMERA, 2.0).any()


def test_opencv_that_finds_no_motion_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise cv2.error("(-215:Assertion failed) !model.empty()")

    monkeypatch.setattr(cv2, "findEssentialMat", fail)
    monkeypatch.setattr(cv2, "findHomography", fail)
    message = matches_of(POINTS, POSES[:5])[4]
    assert not agree_with_one_motion(message, CAMERA, 2.0).any()
    points = [normalize_points(seen, CAMERA) for seen in (message.keyframe_points, message.points)]
    assert "0 matches agree on a motion" in estimate_two_view(*points, 2.0 / 500).reason


def test_what_jumps_is_left_out() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(0, 400, (60, 2))
    elapsed = np.full(60, S)
    elapsed[30:] *= 3
    # One speed for all, whether a track was seen one image ago or three.
    after = before + [4.0, 1.0] * (elapsed / S)[:, None]
    after[5] += [0.0, 15.0]
    after[40] -= [15.0, 0.0]
    expected = np.ones(60, bool)
    expected[[5, 40]] = False
    np.testing.assert_array_equal(move_with_neighbours(before, after, elapsed), expected)
    assert move_with_neighbours(before[:6], after[:6], elapsed[:6]).all()
    assert len(move_with_neighbours(before[:0], after[:0], elapsed[:0])) == 0


def test_a_track_that_jumped_goes_on_where_it_was() -> None:
    pairs = [(n, n) for n in range(20)]
    messages = [matched(n, 0, min(n, 1), pairs if n else [], n == 0) for n in range(4)]
    messages[2].points[7] += 30.0
    found = chain(messages)
    assert [len(tracks) for tracks in found] == [0, 20, 19, 20]
    assert found[3].ids.tolist() == found[1].ids.tolist()
    assert found[3].ages[7] == found[3].ages[8] - 1
    np.testing.assert_array_equal(found[3].previous_points[7], found[1].points[7])


class TestTruth:
    DEPTH = np.full((480, 640), 5.0, np.float32)

    def test_by_hand(self) -> None:
        truth = TrackTruth(CAMERA)
        first, second = Pose.identity(), Pose(np.eye(3), np.array([0.1, 0, 0]))
        points = np.array([[100.0, 100], [200, 100], [300, 100], [400, 100]])
        truth.see(np.array([4, 5, 6, 7]), points, first, self.DEPTH)
        # 500 pixels focal length, 5 m away: what is seen moves by 10 pixels.
        moved = points - [10.0, 0]
        moved[1] += [0.0, 3.0]
        moved[2] += [0.0, 9.0]
        truth.see(np.array([4, 5, 6, 8, 9]), np.array([*moved, [50, 50]]), second, self.DEPTH)
        scores = truth.scores()
        assert (scores.num_tracks, scores.num_sightings) == (6, 3)
        assert (scores.num_astray, scores.num_tracks_astray, scores.num_renamed) == (1, 1, 1)
        assert scores.kept_percent == 75
        assert scores.errors_px[0] == pytest.approx(3, abs=0.01)

    def test_nothing_yet(self) -> None:
        truth = TrackTruth(CAMERA)
        truth.see(np.zeros(0, np.int64), np.zeros((0, 2)), Pose.identity(), self.DEPTH)
        assert (truth.scores().num_tracks, truth.scores().kept_percent) == (0, 0)
        assert np.isnan(truth.scores().errors_px[0])

    def test_an_edge_belongs_to_both_sides(self) -> None:
        depth = self.DEPTH.copy()
        depth[:, :201] = 2.5
        truth = TrackTruth(CAMERA)
        truth.see(np.array([1]), np.array([[202.0, 100]]), Pose.identity(), depth)
        beside = Pose(np.eye(3), np.array([0.1, 0, 0]))
        truth.see(np.array([1]), np.array([[182.0, 100]]), beside, depth)
        assert truth.scores().errors_px[2] < 0.1

    def test_flights(self) -> None:
        with pytest.raises(ValueError, match="2 frames"):
            evaluate_tracks(None, 1, 1)  # type: ignore[arg-type]


class TestVins:
    CAMERA = CameraModel(
        640, 480, CAMERA.matrix, "plumb_bob", np.array([-0.2, 0.05, 0.001, -0.001, 0.0])
    )

    def test_points_are_normalised_and_velocities_are_theirs(self) -> None:
        chained, vins = TrackChain(), VinsTracker(150)
        before: dict[int, FloatArray] = {}
        for message in matches_of(POINTS, POSES[:12], self.CAMERA):
            features = vins.process(chained.process(message), self.CAMERA)
            rays = np.concatenate([features.points, np.ones((len(features), 1))], axis=1)
            np.testing.assert_allclose(
                project_points(rays, self.CAMERA), features.pixels, atol=1e-3
            )
            for i, number in enumerate(features.ids.tolist()):
                if number in before:
                    moved = (features.points[i] - before[number]) / 0.1
                    np.testing.assert_allclose(features.velocities[i], moved, atol=1e-5)
            before = dict(zip(features.ids.tolist(), features.points, strict=True))
        assert 50 < len(before) <= 150

    def test_at_most_as_many_and_spread(self) -> None:
        chained, vins = TrackChain(), VinsTracker(40)
        for message in matches_of(POINTS, POSES[:8]):
            features = vins.process(chained.process(message), CAMERA)
        assert len(features) == 40
        apart = np.linalg.norm(features.pixels[:, None] - features.pixels[None], axis=2)
        assert apart[~np.eye(40, dtype=bool)].min() > 0.5 * np.sqrt(640 * 480 / 40) - 1e-3

    def test_what_was_missing_comes_back_as_another(self) -> None:
        chained, vins = TrackChain(), VinsTracker(10)
        pairs = [[], [(3, 5), (7, 7)], [(7, 7)], [(3, 5), (7, 7)]]
        ids = []
        for frame, matches in enumerate(pairs):
            message = matched(frame, 0, min(frame, 1), matches, is_keyframe=frame == 0)
            camera = CameraModel(100, 50, np.array([[50.0, 0, 50], [0, 50, 25], [0, 0, 1]]))
            ids.append(vins.process(chained.process(message), camera).ids.tolist())
        assert ids == [[], [0, 1], [1], [2, 1]]

    def test_restart_and_ids_within_float32(self) -> None:
        chained, vins = TrackChain(), VinsTracker(150)
        vins._next_id = ID_END - 10
        messages = matches_of(POINTS, POSES[:6])
        found = [vins.process(chained.process(message), CAMERA) for message in messages]
        assert not any(features.restart for features in found)
        ids = np.concatenate([features.ids for features in found])
        assert ids.min() >= 0
        assert ids.max() == ID_END - 1
        assert np.array_equal(ids.astype(np.float32).astype(np.int64), ids)
        again = replace(messages[2], keyframe_id=77)
        assert vins.process(chained.process(again), CAMERA).restart
        assert not vins.process(chained.process(again), CAMERA).restart


def test_a_file_of_them(tmp_path: Path) -> None:
    recorder = TrackRecorder()
    messages = matches_of(POINTS, POSES[:6])
    for message in messages:
        recorder.add(message)
    path = tmp_path / "tracks"
    recorder.write(path)
    with np.load(path) as read:
        assert read["stamps_ns"].tolist() == [m.stamp_ns for m in messages]
        assert read["restarted"].tolist() == [True] + 5 * [False]
        assert read["points"].shape == (len(read["ids"]), 2)
        third = read["frames"] == 3
        np.testing.assert_array_equal(read["points"][third], recorder.frames[3].points)
        assert (read["ages"][third] >= 2).all()
    TrackRecorder().write(path)
    with pytest.raises(SuperGlueRosError, match="cannot write"):
        recorder.write(tmp_path / "gone" / "tracks.npz")
