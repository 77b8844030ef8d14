"""`nodes.worker`: what is made and computed in one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from superglue_ros.nodes.worker import Worker


def test_it_makes_and_works_in_one_thread_of_that_name() -> None:
    threads: list[str] = []
    worker = Worker("matcher", *(_noting(threads, word) for word in ("made", "worked")))
    worker.wait_until_made()
    worker.end()
    assert threads == ["made in matcher", "worked in matcher"]


def test_what_cannot_be_made_is_raised_and_nothing_is_worked() -> None:
    def make() -> None:
        raise ValueError("no weights")

    threads: list[str] = []
    worker = Worker("matcher", make, _noting(threads, "worked"))
    with pytest.raises(ValueError, match="no weights"):
        worker.wait_until_made()
    worker.end()
    assert not threads


def _noting(threads: list[str], word: str) -> Callable[[], None]:
    return lambda: threads.append(f"{word} in {threading.current_thread().name}")
