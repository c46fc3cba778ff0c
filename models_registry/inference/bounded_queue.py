"""An in-memory queue for a writer, limited by the number of rows; adding never blocks."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Any, Generic, TypeVar

# Rows that one worker holds until they are written to a file. A wide row takes some kilobytes.
MAX_QUEUED_ROWS = 50_000

Item = TypeVar("Item")
Key = tuple[Any, ...]


class BoundedQueue(Generic[Item]):
    """Items in order of arrival, and counts of written and dropped rows."""

    def __init__(self, *, max_rows: int = MAX_QUEUED_ROWS) -> None:
        """Hold at most `max_rows` rows."""
        self._max_rows = max_rows
        self._items: deque[Item] = deque()
        self._rows = 0
        self._guard = threading.Lock()
        # Rows by key and outcome: written, dropped.
        self.counts: Counter[Key] = Counter()

    def reserve(self, rows: int) -> bool:
        """Reserve room for `rows` rows; return False if there is none."""
        with self._guard:
            if self._rows + rows > self._max_rows:
                return False
            self._rows += rows
            return True

    def append(self, item: Item) -> None:
        """Add an item for which room is reserved."""
        self._items.append(item)

    def take(self) -> list[Item]:
        """Return the waiting items; they occupy the queue until `done` reports that they are written."""
        taken = []
        while self._items:
            taken.append(self._items.popleft())
        return taken

    def done(self, rows: int) -> None:
        """Free the room of `rows` rows."""
        with self._guard:
            self._rows -= rows

    def count(self, key: Key, outcome: str, rows: int) -> None:
        """Count rows that were written or dropped."""
        with self._guard:
            self.counts[(*key, outcome)] += rows
