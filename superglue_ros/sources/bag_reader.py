"""Messages of ROS 1 and ROS 2 bags: only those asked for are understood.

The definitions that a bag holds are left alone, since those of images and cameras are known: one
that cannot be parsed, of a topic that nobody wants, keeps no bag from being read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

from rosbags import rosbag1
from rosbags.rosbag2.storage_mcap import McapReader, Schema
from rosbags.typesys import Stores, get_typestore

from superglue_ros.errors import SourceError
from superglue_ros.sources.bag_files import unpacked
from superglue_ros.sources.tables import NS_PER_S

Value = TypeVar("Value")


@dataclass(frozen=True)
class Topic:
    """A topic of a bag: its type, and how many messages it has."""

    name: str
    kind: str
    count: int


@dataclass(frozen=True)
class Recorded(Generic[Value]):
    """What was made of a message: when that was recorded, and the stamp of its header."""

    logged_ns: int
    header_ns: int
    value: Value

    def stamp_ns(self, by_recording: bool) -> int:
        """The header's, or the time of recording: where that is wanted, and where a driver that
        does not stamp left zero."""
        return self.logged_ns if by_recording else self.header_ns or self.logged_ns


class _Storage(Protocol):
    """One file: its topics, when its first message was recorded, and messages in that order."""

    @property
    def topics(self) -> list[Topic]: ...

    @property
    def start_ns(self) -> int: ...

    def messages(self, topic: str) -> Iterator[tuple[int, bytes]]: ...

    def close(self) -> None: ...


class BagReader:
    """The topics of a bag's files, which are parts of one recording, and their messages.

    A context; raises SourceError for what is no bag, which is every way in which a file fails.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._stack = ExitStack()
        self._parts: list[_Storage] = []
        try:
            for path in paths:
                part = _opened(path)
                self._stack.callback(part.close)
                self._parts.append(part)
        except BaseException:
            self._stack.close()
            raise
        self._parts.sort(key=lambda part: part.start_ns)
        ros1 = any(isinstance(part, _Bag1) for part in self._parts)
        self._store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
        self._deserialise = self._store.deserialize_ros1 if ros1 else self._store.deserialize_cdr

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def topics(self) -> list[Topic]:
        """All topics, each once, with the messages of all files."""
        counts: dict[tuple[str, str], int] = {}
        for part in self._parts:
            for topic in part.topics:
                key = topic.name, topic.kind
                counts[key] = counts.get(key, 0) + topic.count
        return [Topic(*key, count) for key, count in counts.items()]

    def messages(self, topic: Topic) -> Iterator[tuple[int, bytes]]:
        """When each was recorded, and its bytes; raises SourceError on the way where a file is
        damaged."""
        try:
            for part in self._parts:
                yield from part.messages(topic.name)
        # A cut or damaged file fails in as many ways as there are storages.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SourceError(f"cannot be read any further: {reason}") from error

    def decoded(
        self, topic: Topic, decode: Callable[[Any], Value], complain: Callable[[str], None]
    ) -> Iterator[Recorded[Value]]:
        """What `decode` makes of each message of a topic of a type that ROS itself has.

        Those that are damaged, or that decode fails on, are passed over, and so is what comes
        after the place where a file is; `complain` is told of each.
        """
        messages = self.messages(topic)
        while True:
            try:
                logged_ns, data = next(messages)
            except StopIteration:
                return
            except SourceError as error:
                complain(str(error))
                return
            try:
                message: Any = self._deserialise(unpacked(data), topic.kind)
                value, stamp = decode(message), message.header.stamp
                header_ns = stamp.sec * NS_PER_S + stamp.nanosec
            # Deserialising damaged bytes raises whatever they happen to hit first.
            except Exception as error:
                complain(f"skipped a message of {topic.name}: {error}")
                continue
            yield Recorded(logged_ns, header_ns, value)


def _opened(path: Path) -> _Storage:
    kinds: dict[str, Callable[[Path], _Storage]] = {".bag": _Bag1, ".mcap": _Mcap, ".db3": _Sqlite}
    try:
        return kinds[path.suffix](path)
    except SourceError:
        raise
    # A file that is no bag fails in as many ways as there are storages.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"cannot read bag {path}: {reason}") from error


class _Bag1:
    """A ROS 1 bag."""

    def __init__(self, path: Path) -> None:
        self._reader = rosbag1.Reader(path)
        self._reader.open()
        self.start_ns = self._reader.start_time
        self.topics = [Topic(x.topic, x.msgtype, x.msgcount) for x in self._reader.connections]

    def messages(self, topic: str) -> Iterator[tuple[int, bytes]]:
        wanted = [x for x in self._reader.connections if x.topic == topic]
        for _, logged_ns, data in self._reader.messages(wanted) if wanted else ():
            yield logged_ns, data

    def close(self) -> None:
        self._reader.close()


class _Unread(dict[int, Schema]):
    """Definitions of messages, of which rosbags is only to keep the name: it refuses a file with
    one in a language that it does not know."""

    def __setitem__(self, key: int, schema: Schema) -> None:
        super().__setitem__(key, schema._replace(encoding="ros2msg", data=""))


class _Mcap:
    """A ROS 2 recording in MCAP."""

    def __init__(self, path: Path) -> None:
        self._reader = McapReader(path)
        self._reader.schemas = _Unread()
        self._reader.open()
        self.start_ns = self._reader.metadata.start_time
        self._connections = [x for x in self._reader.connections if _is_cdr(x)]
        self.topics = [Topic(x.topic, x.msgtype, x.msgcount) for x in self._connections]

    def messages(self, topic: str) -> Iterator[tuple[int, bytes]]:
        wanted = [x for x in self._connections if x.topic == topic]
        for _, logged_ns, data in self._reader.messages(wanted) if wanted else ():
            yield logged_ns, data

    def close(self) -> None:
        self._reader.close()


def _is_cdr(connection: Any) -> bool:
    return bool(connection.ext.serialization_format == "cdr")


class _Sqlite:
    """A ROS 2 recording in SQLite, of any version of its tables."""

    def __init__(self, path: Path) -> None:
        # What a recorder that was killed had not yet moved into the file is beside it.
        wal = path.with_name(path.name + "-wal")
        mode = "mode=ro" if wal.is_file() and wal.stat().st_size else "immutable=1"
        self._database = sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True)
        try:
            run = self._database.execute
            counts = dict(run("SELECT topic_id, count(*) FROM messages GROUP BY topic_id"))
            rows = run("SELECT id, name, type FROM topics WHERE serialization_format = 'cdr'")
            self._topics = {
                number: Topic(str(name), str(kind), counts.get(number, 0))
                for number, name, kind in rows.fetchall()
            }
            (start,) = run("SELECT MIN(timestamp) FROM messages").fetchone()
        except BaseException:
            self._database.close()
            raise
        self.start_ns = int(start or 0)
        self.topics = list(self._topics.values())

    def messages(self, topic: str) -> Iterator[tuple[int, bytes]]:
        numbers = [number for number, known in self._topics.items() if known.name == topic]
        places = ", ".join("?" * len(numbers))
        query = "SELECT timestamp, data FROM messages"
        order = f"WHERE topic_id IN ({places}) ORDER BY timestamp, id"
        # The rows themselves would be closed with this generator, perhaps after the database.
        yield from map(tuple, self._database.execute(f"{query} {order}", numbers))

    def close(self) -> None:
        self._database.close()
