"""Warnings that are logged while something runs, for its report."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.counts[record.getMessage()] += 1


@contextmanager
def collected_warnings(logger: str = "superglue_ros") -> Iterator[Counter[str]]:
    """Counts by text of the warnings and errors logged by this package meanwhile."""
    collector = _Collector()
    logging.getLogger(logger).addHandler(collector)
    try:
        yield collector.counts
    finally:
        logging.getLogger(logger).removeHandler(collector)
