"""Messages that belong together by their stamps: message_filters, and what stands in for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

from node_harness import camera_info, depth_image, some_matches
from std_msgs.msg import Header

from superglue_ros.nodes import pairing
from superglue_ros.nodes.camera_infos import MOST_CAMERAS, CameraInfos
from superglue_ros.nodes.conversions import make_header, matches_message, stamp_to_ns
from superglue_ros.nodes.depth_images import DepthImages
from superglue_ros.nodes.pairing import StandInFilter, StandInSynchronizer

pytestmark = pytest.mark.ros

MS = 10**6


class Stamped:
    """A message that is a header."""

    def __init__(self, stamp_ms: float, name: str) -> None:
        self.header: Header = make_header(round(stamp_ms * MS), name)

    def __str__(self) -> str:
        return f"{self.header.frame_id}{stamp_to_ns(self.header.stamp) / MS:g}"


@pytest.fixture(params=["stand-in", "message_filters"])
def classes(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The synchronizer and the filter."""
    if request.param == "stand-in":
        return StandInSynchronizer, StandInFilter
    real = pytest.importorskip("message_filters")
    return real.ApproximateTimeSynchronizer, real.SimpleFilter


def paired(classes: tuple[Any, Any], sent: str, queue_size: int = 5) -> list[str]:
    """What is called back of messages at "l100 r101" and so on, within 20 ms."""
    synchronizer, simple = classes
    left, right = simple(), simple()
    pairs, found = synchronizer([left, right], queue_size, 0.02), []
    pairs.registerCallback(lambda *messages: found.append("-".join(map(str, messages))))
    for word in sent.split():
        (left if word[0] == "l" else right).signalMessage(Stamped(float(word[1:]), word[0]))
    return found


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("l100 r100 r200 l200", "l100-r100 l200-r200"),
        ("l100 r119 l200 r220 l300", "l100-r119"),  # less than the slop, not as much
        ("r95 r98 r104 l100 l105", "l100-r98 l105-r104"),  # the nearest
        ("l100 l110 r109 r101", "l110-r109 l100-r101"),  # each once, in whatever order
        ("r100 r101 l100 l101 l102", "l100-r100 l101-r101"),
        ("l1 l2 l3 l4 l5 l6 r1 r6", "l2-r1 l6-r6"),  # the oldest of more than five is gone
        ("l100 l200", ""),
    ],
)
def test_pairs_by_their_stamps(classes: tuple[Any, Any], sent: str, expected: str) -> None:
    assert paired(classes, sent) == expected.split()


def test_three_topics_and_arguments(classes: tuple[Any, Any]) -> None:
    synchronizer, simple = classes
    filters = [simple() for _ in range(3)]
    found: list[str] = []
    triples = synchronizer(filters, 5, 0.02)
    triples.registerCallback(lambda *all_of: found.append(" ".join(map(str, all_of))), "more")
    for place, stamp_ms in ((2, 103), (0, 100), (1, 50), (1, 105), (0, 200)):
        filters[place].signalMessage(Stamped(stamp_ms, "abc"[place]))
    assert found == ["a100 b105 c103 more"]


def use(classes: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "ApproximateTimeSynchronizer", classes[0])
    monkeypatch.setattr(pairing, "SimpleFilter", classes[1])


def test_pairs_go_on_after_the_clock_jumped_back(
    classes: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the queues are full of what found no partner before."""
    use(classes, monkeypatch)
    found: list[str] = []
    pairs = pairing.Synchronizer(2, 5, 0.02, lambda *both: found.append("-".join(map(str, both))))
    for stamp_ms in range(10_000, 11_000, 100):
        pairs.add(0, Stamped(stamp_ms, "l"))
        pairs.add(1, Stamped(stamp_ms + 50, "r"))
    pairs.add(0, Stamped(10_950, "l"))  # late, and yet one of a pair
    assert found == ["l10950-r10950"]
    for stamp_ms in (100, 200):
        pairs.add(0, Stamped(stamp_ms, "l"))
        pairs.add(1, Stamped(stamp_ms + 20, "r"))
    assert found[1:] == ["l100-r120", "l200-r220"]


def test_what_leaves_the_queue_alone_is_told(
    classes: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(classes, monkeypatch)
    found: list[tuple[Any, ...]] = []
    dropped: list[int] = []
    pairs = pairing.Synchronizer(
        2, 3, 0.02, lambda *both: found.append(both), lambda: dropped.append(len(found))
    )

    def add(topic: int, *stamps_ms: float) -> tuple[int, int]:
        for stamp_ms in stamps_ms:
            pairs.add(topic, Stamped(stamp_ms, "lr"[topic]))
        return len(found), len(dropped)

    assert add(0, 100, 200, 300) == (0, 0)
    assert add(0, 400) == (0, 1)
    assert add(1, 100, 300) == (1, 1)  # the first had gone
    assert add(0, 500, 600) == (1, 2)  # 200 goes: 400, 500 and 600 wait
    assert add(0, 600) == (1, 3)  # in the place of the other
    assert add(1, 400, 500, 600) == (4, 3)
    assert add(0, 9700, 9800) == (4, 3)
    assert add(0, 10) == (4, 5)  # the clock jumped back
    assert add(1, 10) == (5, 5)


def test_depth_of_keyframes(classes: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    use(classes, monkeypatch)
    told: list[tuple[str, str]] = []
    depths = DepthImages(0.02, lambda cause, text: told.append((cause, text)))
    frame = replace(some_matches(5), image_size=(160, 120), keyframe_image_size=(160, 120))

    def value(stamp_ms: int, keyframe_ms: int, is_keyframe: bool = False) -> float | None:
        stamps = {"stamp_ns": stamp_ms * MS, "keyframe_stamp_ns": keyframe_ms * MS}
        matches = replace(frame, is_keyframe=is_keyframe, **stamps)
        header = make_header(matches.stamp_ns, "eye")
        depths.add_matches(matches_message(matches, header, header))
        depth = depths.of_keyframe(matches)
        return None if depth is None else float(depth[0, 0])

    # Told only once the next keyframe is made: it may come later.
    assert value(1100, 1000) is None
    assert told == []
    assert value(1200, 1000, is_keyframe=True) is None
    assert told == [("no depth", "no depth image within 0.02 s of a keyframe")]
    depths.add(depth_image(1150 * MS, 1000))
    assert value(1300, 1200) is None
    depths.add(depth_image(1205 * MS, 1500))
    assert value(1300, 1200) == 1.5
    # Of those that came before the keyframe the nearest counts, and it is kept however many come.
    for stamp_ms, depth_mm in ((1292, 1000), (1301, 2500), (1309, 3000)):
        depths.add(depth_image(stamp_ms * MS, depth_mm))
    assert value(1300, 1200, is_keyframe=True) == 1.5
    for stamp_ms in range(1400, 9000, 100):
        depths.add(depth_image(stamp_ms * MS, 3500))
    assert value(1400, 1300) == 2.5
    assert value(1500, 1300) == 2.5
    # Of another size than the images: told once a keyframe.
    depths.add(depth_image(9000 * MS, 3500, width=80))
    assert value(9000, 1300, is_keyframe=True) == 2.5
    assert value(9100, 9000) is None
    assert value(9200, 9000) is None
    assert [cause for cause, _ in told] == ["no depth", "unusable depth"]
    assert "depth of 80x120 for images of 160x120" in told[-1][1]
    # At half their resolution it is scaled.
    depths.add(depth_image(9300 * MS, 4500, width=80, height=60))
    assert value(9300, 9000, is_keyframe=True) is None
    assert value(9400, 9300) == 4.5
    # After the clock jumped back nothing of before is left.
    depths.add(depth_image(1000 * MS, 4000))
    assert value(1000, 8900, is_keyframe=True) is None
    assert value(1100, 1000) == 4.0


def test_depth_of_another_camera_is_said(
    classes: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(classes, monkeypatch)
    told: list[tuple[str, str]] = []
    depths = DepthImages(0.02, lambda cause, text: told.append((cause, text)))
    matches = matches_message(
        replace(some_matches(5), is_keyframe=True),
        make_header(1000 * MS, "/eye"),
        make_header(1000 * MS, "/eye"),
    )
    for frame_id in ("eye", "infrared_eye"):
        depth = depth_image(1000 * MS, 1500)
        depth.header.frame_id = frame_id
        depths.add_matches(matches)
        depths.add(depth)
    assert told == [
        (
            "depth of another camera",
            "depth of 'infrared_eye', images of '/eye': it must be registered to them",
        )
    ]


def test_an_unusable_camera_info_is_said_and_counts_until_a_better_one_comes() -> None:
    told: list[tuple[str, str]] = []
    infos = CameraInfos(lambda cause, text: told.append((cause, text)))
    assert infos.add(camera_info(0))
    assert not infos.add(camera_info(0, focal=0.0))
    problem = "camera matrix is all zero: the camera is not calibrated"
    assert told == [
        (f"unusable CameraInfo: {problem}", f"unusable CameraInfo of 'eye': {problem}")
    ]
    camera = infos.of("eye")
    assert camera is not None
    assert not camera.matrix.any()
    assert infos.add(camera_info(0))
    assert len(told) == 1


def test_camera_infos_of_two_cameras() -> None:
    told: list[tuple[str, str]] = []
    infos = CameraInfos(lambda cause, text: told.append((cause, text)))
    assert not infos
    assert infos.of("eye") is None

    def add(frame_id: str, focal: float) -> None:
        message = camera_info(0, focal)
        message.header.frame_id = frame_id
        assert infos.add(message)

    def focal(frame_id: str) -> float:
        camera = infos.of(frame_id)
        assert camera is not None
        return float(camera.matrix[0, 0])

    add("other", 90.0)
    assert focal("eye") == 90.0  # some drivers name it otherwise, or not at all
    assert told == [
        (
            "CameraInfo of another camera",
            "the CameraInfo is of 'other', the images are of 'eye'",
        )
    ]
    add("/eye", 150.0)
    add("other", 95.0)
    assert (focal("eye"), focal("/eye"), focal("other")) == (150.0, 150.0, 95.0)
    add("eye", 155.0)
    assert focal("eye") == 155.0
    assert len(told) == 1
    for number in range(MOST_CAMERAS):
        add(f"camera {number}", 1.0)
    assert focal("eye") == 1.0  # forgotten after so many others
