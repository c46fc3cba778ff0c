"""A bounded sample of served rows for the histograms of their features; dropped first under load."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ServedRows:
    """The rows of one request in the model's form, and its labels or values."""

    rows: Any
    labels: Any
    count: int


class RowSample:
    """Requests of one version that wait to be counted; any thread may use it."""

    def __init__(self, max_rows: int) -> None:
        """Hold the first `max_rows` rows since the last `take`; the last request may exceed the limit."""
        self._max_rows = max_rows
        self._guard = threading.Lock()
        self._requests: list[ServedRows] = []
        self._rows = 0
        self._dropped = 0

    def offer(self, rows: Any, labels: Any, count: int) -> None:
        """Add a request by reference; drop and count its rows if there is no room."""
        with self._guard:
            if self._rows >= self._max_rows:
                self._dropped += count
                return
            self._rows += count
            self._requests.append(ServedRows(rows, labels, count))

    def take(self) -> tuple[list[ServedRows], int]:
        """Return the waiting requests, and the number of dropped rows, since the last call."""
        with self._guard:
            taken = self._requests, self._dropped
            self._requests, self._rows, self._dropped = [], 0, 0
        return taken
