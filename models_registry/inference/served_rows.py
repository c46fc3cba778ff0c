"""Rows that were served, on their way to the histograms of their features: a bounded sample, dropped first."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ServedRows:
    """The rows of one request as the model took them, and its labels or values."""

    rows: Any
    labels: Any
    count: int


class RowSample:
    """Requests of one version that wait to be counted; any thread may use it."""

    def __init__(self, max_rows: int) -> None:
        """Hold the requests with the first `max_rows` rows since the last `take`: one request may go beyond."""
        self._max_rows = max_rows
        self._guard = threading.Lock()
        self._requests: list[ServedRows] = []
        self._rows = 0
        self._dropped = 0

    def offer(self, rows: Any, labels: Any, count: int) -> None:
        """Take a request by reference, or drop and count its rows if there is no room."""
        with self._guard:
            if self._rows >= self._max_rows:
                self._dropped += count
                return
            self._rows += count
            self._requests.append(ServedRows(rows, labels, count))

    def take(self) -> tuple[list[ServedRows], int]:
        """Return the requests that wait, and how many rows were dropped, since the last call."""
        with self._guard:
            taken = self._requests, self._dropped
            self._requests, self._rows, self._dropped = [], 0, 0
        return taken
