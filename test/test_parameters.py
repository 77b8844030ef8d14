"""The configs as ROS parameters, and the files that list them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from parameter_files import (
    NODES,
    options_of,
    parameters_markdown,
    parameters_yaml,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from superglue_ros.demo.player import Playback
from superglue_ros.matching import KeyframePolicy, MatcherConfig
from superglue_ros.nodes.health import MAX_CAUSES, MOST_LETTERS, Problems
from superglue_ros.nodes.mailbox import Mailbox
from superglue_ros.nodes.options import OdometryNodeOptions, OdometryOutputs
from superglue_ros.nodes.parameters import NodeParameters
from superglue_ros.options import check_options, option

pytestmark = pytest.mark.ros


@dataclass(frozen=True)
class Fixed:
    name: str = option("first", "A name.", choices=("first", "second"))
    count: int = option(3, "A count.", unit="things", range=(1, 10))

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Live:
    low: float = option(0.25, "The lower.", range=(0.0, 1.0))
    high: float = option(0.5, "The upper.", range=(0.0, 1.0))

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not exceed high")


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    made = rclpy.Context()
    rclpy.init(context=made)
    yield made
    rclpy.try_shutdown(context=made)


def node_with(context: rclpy.Context, *overrides: Parameter) -> Node:
    return Node("tried", context=context, parameter_overrides=list(overrides))


def test_declares_with_description_unit_range_and_choices(context: rclpy.Context) -> None:
    node = node_with(context)
    parameters = NodeParameters(node, [Fixed], [Live])
    assert parameters.get(Fixed) == Fixed()
    assert parameters.get(Live) == Live()
    count = node.describe_parameter("count")
    assert count.description == "A count. [things]"
    assert count.read_only
    assert (count.integer_range[0].from_value, count.integer_range[0].to_value) == (1, 10)
    low = node.describe_parameter("low")
    assert not low.read_only
    assert low.floating_point_range[0].to_value == 1.0
    assert node.describe_parameter("name").additional_constraints == "one of first, second"
    node.destroy_node()


def test_takes_overrides(context: rclpy.Context) -> None:
    node = node_with(context, Parameter("count", value=7), Parameter("low", value=0.1))
    parameters = NodeParameters(node, [Fixed], [Live])
    assert parameters.get(Fixed) == Fixed(count=7)
    assert parameters.get(Live) == Live(low=0.1)
    node.destroy_node()


def test_takes_whole_numbers_for_floats(context: rclpy.Context) -> None:
    node = node_with(context, Parameter("low", value=0), Parameter("high", value=1))
    parameters = NodeParameters(node, [Fixed], [Live])
    assert parameters.get(Live) == Live(low=0.0, high=1.0)
    assert node.get_parameter("high").type_ is Parameter.Type.DOUBLE
    assert node.set_parameters([Parameter("high", value=0.5)])[0].successful
    assert parameters.get(Live).high == 0.5
    node.destroy_node()


def test_names_of_no_parameter_are_said(
    context: rclpy.Context, capfd: pytest.CaptureFixture[str]
) -> None:
    given = ("lowe", "elsewhere", "use_sim_time", "qos_overrides./a.subscription.depth", "high")
    values = (0.1, 1, True, 3, 0.75)
    node = node_with(context, *(Parameter(n, value=v) for n, v in zip(given, values)))
    NodeParameters(node, [Fixed], [Live])
    said = [
        line.partition("]: ")[2]
        for line in capfd.readouterr().err.splitlines()
        if "there is no parameter" in line
    ]
    assert said == [
        "there is no parameter lowe: low is meant?",
        "there is no parameter elsewhere",
    ]
    node.destroy_node()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (Parameter("count", value=11), "count"),
        (Parameter("count", value="many"), "count must be of type int"),
        (Parameter("low", value="0.1"), "low must be of type float"),
        (Parameter("low", value=True), "low must be of type float"),
        (Parameter("low", value=2), "low"),
        (Parameter("name", value="third"), "name must be one of first, second"),
        (Parameter("low", value=0.75), "low must not exceed high"),
    ],
)
def test_bad_start_is_a_value_error(
    context: rclpy.Context, override: Parameter, words: str
) -> None:
    node = node_with(context, override)
    with pytest.raises(ValueError, match=words):
        NodeParameters(node, [Fixed], [Live])
    node.destroy_node()


@pytest.mark.parametrize("humble", [False, True])
def test_setting_is_validated_together_and_applied(
    context: rclpy.Context, monkeypatch: pytest.MonkeyPatch, humble: bool
) -> None:
    if humble:
        monkeypatch.delattr(Node, "add_post_set_parameters_callback")
    node = node_with(context)
    changes: list[Live] = []
    parameters = NodeParameters(
        node, [Fixed], [Live], lambda: changes.append(parameters.get(Live))
    )
    refused = node.set_parameters([Parameter("low", value=0.9)])[0]
    assert (refused.successful, refused.reason) == (False, "low must not exceed high")
    assert not changes
    both = [Parameter("low", value=0.9), Parameter("high", value=0.95)]
    assert node.set_parameters_atomically(both).successful
    assert changes == [Live(0.9, 0.95)]
    refused = node.set_parameters([Parameter("high", value=1.5)])[0]
    assert not refused.successful
    assert "high" in refused.reason
    refused = node.set_parameters([Parameter("count", value=4)])[0]
    assert not refused.successful
    assert "read-only" in refused.reason
    assert parameters.get(Live) == Live(0.9, 0.95)
    node.destroy_node()


@pytest.mark.parametrize("name", NODES)
def test_yaml_lists_the_declared_defaults(repository: Path, name: str) -> None:
    text = (repository / "config" / f"{name}.yaml").read_text()
    assert text == parameters_yaml(name), "run python scripts/parameter_files.py"
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    defaults = {declared.name: declared.default for declared, _ in options_of(name)}
    assert values == defaults
    assert {k: type(v) for k, v in values.items()} == {k: type(v) for k, v in defaults.items()}


def test_page_lists_the_declared_parameters(repository: Path) -> None:
    page = (repository / "docs" / "parameters.md").read_text()
    assert page == parameters_markdown(), "run python scripts/parameter_files.py"


@pytest.mark.parametrize("name", NODES)
def test_every_option_says_what_it_is(name: str) -> None:
    for declared, _ in options_of(name):
        assert declared.metadata["description"], declared.name
        if isinstance(declared.default, int | float) and not isinstance(declared.default, bool):
            low, high = declared.metadata["range"]
            assert low <= declared.default <= high


@pytest.mark.parametrize("preset", ["matcher_cpu.yaml", "matcher_gpu.yaml"])
def test_presets_are_valid(repository: Path, preset: str) -> None:
    values = yaml.safe_load((repository / "config" / preset).read_text())["/**"]["ros__parameters"]
    names = {declared.name: declared.default for declared, _ in options_of("matcher")}
    assert set(values) <= set(names)
    matcher = {k: v for k, v in values.items() if hasattr(MatcherConfig, k)}
    MatcherConfig(**matcher)
    KeyframePolicy(**{k: v for k, v in values.items() if k not in matcher})
    for name, value in values.items():
        assert type(value) is type(names[name]), name


@pytest.mark.parametrize(
    "wrong",
    [
        {"odom_frame": ""},
        {"path_max_poses": 0},
        {"base_to_camera": "0 0 0 0 0 0"},
        {"base_to_camera": "0 0 0", "base_frame": "base_link"},
    ],
)
def test_odometry_node_options(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OdometryNodeOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"path_period_s": float("nan")}, {"initial_pose": "here"}, {"when_lost": "cry"}]
)
def test_odometry_outputs(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OdometryOutputs(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"max_ahead": -1}, {"timeout_s": 0.0}])
def test_playback_options(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Playback(**wrong)  # type: ignore[arg-type]


def test_mailbox_keeps_the_newest() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert not mailbox.put(1)
    assert mailbox.put(2)
    assert mailbox.take() == 2
    assert not mailbox.put(3)
    mailbox.close()
    assert mailbox.take() is None


def test_problems_are_counted_all_and_logged_once() -> None:
    lines: list[str] = []
    problems = Problems(lines.append, period_s=1000.0)
    for size in range(20):
        problems.report(f"{size} bytes of data", f"dropped: {size} bytes of data")
    problems.report("other thing", "dropped: other thing")
    problems.count("normal")
    assert lines == ["dropped: 0 bytes of data", "dropped: other thing"]
    assert problems.counts == {"# bytes of data": 20, "other thing": 1, "normal": 1}


def test_problems_quote_messages_in_short() -> None:
    lines: list[str] = []
    problems = Problems(lines.append)
    problems.report("encoding '" + "x\n" * 5000, "dropped: encoding '" + "x\n" * 5000)
    (line,), (cause,) = lines, problems.counts
    assert len(line) == len(cause) == MOST_LETTERS
    assert line.startswith("dropped: encoding 'x x")
    assert line.endswith("...")


def test_problems_say_how_many_were_not_said() -> None:
    lines: list[str] = []
    problems = Problems(lines.append, period_s=0.0)
    problems.report("x", "x")
    problems._period_s = 1000.0
    problems.report("x", "x")
    problems.report("x", "x")
    problems._period_s = 0.0
    problems.report("x", "x")
    assert lines == ["x", "x (2 more since the last such line)"]


def test_problems_of_ever_new_names_do_not_grow() -> None:
    problems = Problems(lambda line: None)
    for letter in range(10 * MAX_CAUSES):
        problems.report("".join(chr(97 + int(d)) for d in str(letter)), "unknown encoding")
    assert len(problems.counts) == MAX_CAUSES + 1
    assert sum(problems.counts.values()) == 10 * MAX_CAUSES
