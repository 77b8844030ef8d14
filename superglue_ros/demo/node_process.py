"""Nodes as processes of their own, and ROS in this one while they run."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from superglue_ros.errors import SuperGlueRosError

STOP_TIMEOUT_S = 15.0
"""Time that a node's process has to end by itself."""


class NodeError(SuperGlueRosError):
    """A node cannot be started, or ended when it should not."""


@contextmanager
def ros_running() -> Iterator[None]:
    """ROS in this process while the body runs; signals stay Python's, so that they end the body,
    and the node processes that it started, too."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield
    finally:
        rclpy.try_shutdown()


@contextmanager
def spinning(*nodes: Node) -> Iterator[None]:
    """Spin nodes in a thread of their own while the body runs, and destroy them afterwards."""
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    thread = threading.Thread(target=executor.spin, name="spinning", daemon=True)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()
        for node in nodes:
            node.destroy_node()


class NodeProcess:
    """One of this package's nodes as a process; a context that ends it.

    arguments: what stands after --ros-args. Output goes to `log`, if there is one. Raises
    NodeError where the package is not built.
    """

    def __init__(self, name: str, arguments: Sequence[str] = (), log: Path | None = None) -> None:
        self.name = name
        self.log = log
        self._command = [str(executable(name)), "--ros-args", *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> NodeProcess:
        self.start()
        return self

    def start(self) -> None:
        """Start the process, or after its end another one, whose output follows in the log."""
        mode = "wb" if self._process is None else "ab"
        output = self.log.open(mode) if self.log else None
        try:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT if output else None
            )
        finally:
            if output:
                output.close()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Identifier of the process; NodeError before it is started."""
        if self._process is None:
            raise NodeError(f"{self.name} was not started")
        return self._process.pid

    def check(self) -> None:
        """Raise NodeError if the process has ended."""
        status = self._process.poll() if self._process else None
        if status is not None:
            words = self.output().strip().splitlines()
            said = f": {words[-1]}" if words else ""
            raise NodeError(f"{self.name} ended with status {status}{said}")

    def output(self) -> str:
        """What it has written to its log."""
        return self.log.read_text(errors="replace") if self.log and self.log.exists() else ""

    def kill(self) -> None:
        """End the process at once, by SIGKILL, as a machine without memory does."""
        if self._process is None:
            raise NodeError(f"{self.name} was not started")
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End the process by SIGTERM and return its exit status; it is killed where it does not
        listen."""
        if self._process is None:
            raise NodeError(f"{self.name} was not started")
        if self._process.poll() is None:
            self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Exit status of a process that has been told to stop; it is killed where it does not."""
        if self._process is None:
            raise NodeError(f"{self.name} was not started")
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def executable(name: str) -> Path:
    """Where a node of this package is installed; NodeError where it is not."""
    try:
        path = Path(get_package_prefix("superglue_ros")) / "lib" / "superglue_ros" / name
    except PackageNotFoundError as error:
        raise NodeError(
            "the package is not built or its set-up not sourced: make setup, then "
            "source install/setup.bash"
        ) from error
    if not path.exists():
        raise NodeError(f"{path} is missing: make setup builds it")
    return path
