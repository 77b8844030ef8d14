"""A mailbox of one place between the callbacks and the worker: the newest item wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Holds at most one item; putting never waits, taking waits for an item or the end."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> bool:
        """Leave an item; true if an older one, never taken, made room for it."""
        with self._condition:
            replaced = self._item is not None
            self._item = item
            self._condition.notify()
            return replaced

    def take(self) -> Item | None:
        """The newest item, waited for; None once the mailbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is not None)
            if self._closed:
                return None
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Send every taker home; what was not taken is dropped."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
