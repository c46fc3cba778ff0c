"""What of a model's requests is logged: decided for each request, queued in memory, never waited for."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.schema import Schema

# Rows that one worker holds until they are in a file. A wide row takes some kilobytes.
MAX_QUEUED_ROWS = 50_000

EXCLUDE, HASH = "exclude", "hash"

RowKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Capture:
    """A model's settings: the share of its requests, which sides of them, and the columns that are kept back.

    `hidden` has pairs of a column and how it is kept back: EXCLUDE or HASH.
    """

    percent: float
    inputs: bool = True
    outputs: bool = True
    hidden: tuple[tuple[str, str], ...] = ()

    def is_chosen(self) -> bool:
        """Return whether a request is logged, by the share that is wanted."""
        return self.percent >= 100 or random.random() * 100 < self.percent  # noqa: S311


@dataclass(frozen=True, slots=True)
class CapturedCall:
    """One request: its rows as the model took them, and what the model answered."""

    model: str
    version: int
    schema: Schema
    settings: Capture
    rows: Any
    count: int
    prediction: Prediction
    request_id: str = ""
    at: datetime | None = None


class CaptureQueue:
    """Calls that wait for the writer: an append for each, and a drop where the queue is full."""

    def __init__(self, *, max_rows: int = MAX_QUEUED_ROWS) -> None:
        """Hold at most `max_rows` rows."""
        self._max_rows = max_rows
        self._calls: deque[CapturedCall] = deque()
        self._rows = 0
        self._guard = threading.Lock()
        # Rows by (model, version, what became of them): written, dropped.
        self.counts: Counter[tuple[str, int, str]] = Counter()

    def offer(self, call: CapturedCall, request_id: str) -> None:
        """Take a call, or drop and count it where the queue is full."""
        with self._guard:
            if self._rows + call.count > self._max_rows:
                self.counts[call.model, call.version, "dropped"] += call.count
                return
            self._rows += call.count
        self._calls.append(replace(call, request_id=request_id, at=datetime.now(UTC)))

    def take(self) -> list[CapturedCall]:
        """Return the calls that wait; they count against the queue until `done` says that they are in a file."""
        taken = []
        while self._calls:
            taken.append(self._calls.popleft())
        return taken

    def done(self, rows: int) -> None:
        """Give room for `rows` further rows."""
        with self._guard:
            self._rows -= rows

    def count(self, key: RowKey, outcome: str, rows: int) -> None:
        """Count rows that were written or dropped."""
        with self._guard:
            self.counts[(*key, outcome)] += rows
