"""The thread in which a node computes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

CLOSE_TIMEOUT_S = 3.0
"""Time that a worker has for the item at hand once its node is told to stop: launch asks again
after five seconds, and kills after ten."""


class Worker:
    """A thread that first makes what it needs, then works until its work returns.

    Networks are to be made in it, too: the first thread that computes with OpenMP, by which torch
    does, keeps a team of as many threads as there are cores. Those of a second thread then come
    on top, more than the cores can run, and GNU's OpenMP lets them sleep at each of a thousand
    barriers an image, which takes a third longer.
    """

    def __init__(self, name: str, make: Callable[[], None], work: Callable[[], None]) -> None:
        self._make, self._work = make, work
        self._made: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._make()
        except BaseException as error:
            self._made.set_exception(error)
            return
        self._made.set_result(None)
        self._work()

    def wait_until_made(self) -> None:
        """Return once it works; raises what the making has raised."""
        self._made.result()

    def end(self) -> None:
        """Wait for its end, or leave it behind where that takes too long."""
        self._thread.join(CLOSE_TIMEOUT_S)
