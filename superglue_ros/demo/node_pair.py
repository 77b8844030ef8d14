"""matcher_node and odometry_node of one camera, as two processes or one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from superglue_ros.demo.node_process import NodeProcess

TOPICS = ("image:=image_raw",)
START_TIMEOUT_S = 180.0
"""For Playback: on a machine that has other work the nodes take long to load."""


@contextmanager
def node_pair(
    namespace: str,
    matcher: Sequence[str] = (),
    odometry: Sequence[str] = (),
    one_process: bool = False,
    topics: Sequence[str] = TOPICS,
    logs: Path | None = None,
) -> Iterator[tuple[NodeProcess, ...]]:
    """Both nodes in a namespace, whose topics are those of a Player there, while the body runs.

    matcher, odometry: their parameters, each NAME:=VALUE or a file of them; topics: other names of
    those they listen to, each NAME:=TOPIC; logs: a folder for what they say.
    Gives the two processes, matcher first, or the one. Raises NodeError as NodeProcess.
    """
    renamed = (f"__ns:={namespace}", "matches:=matcher_node/matches", *topics)
    common = [word for rule in renamed for word in ("-r", rule)]
    arguments: dict[str, list[str]] = {}
    if one_process:
        own = {"--matcher": matcher, "--odometry": odometry}
        words = [w for name, given in own.items() if given for w in (name, *_own(given))]
        arguments["matcher_and_odometry"] = [*common, "--", *words]
    else:
        for node, given in (("matcher_node", matcher), ("odometry_node", odometry)):
            arguments[node] = [*common, *parameter_words(given)]
    with ExitStack() as stack:
        yield tuple(
            stack.enter_context(NodeProcess(name, words, logs and logs / f"{name}.log"))
            for name, words in arguments.items()
        )


def parameter_words(given: Sequence[str]) -> list[str]:
    """As --ros-args take parameters, each NAME:=VALUE or a file of them."""
    return [word for p in given for word in ("-p" if ":=" in p else "--params-file", p)]


def _own(parameters: Sequence[str]) -> list[str]:
    """As matcher_and_odometry takes them."""
    return [parameter.replace(":=", "=", 1) for parameter in parameters]
