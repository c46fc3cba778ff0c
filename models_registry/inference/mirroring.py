"""Copies of requests for a shadow: chosen per request, queued in memory, dropped first under load."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.schema import Schema
from models_registry.inference.capture import is_chosen

# Rows that one worker holds for its shadows. Further rows are dropped and counted.
MAX_QUEUED_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class ShadowShare:
    """The share of a model's requests, 0 to 100, that is copied to a shadow.

    Only predictions of version `active_number` are compared.
    """

    shadow_id: int
    number: int
    active_number: int
    percent: float

    def takes(self, number: int) -> bool:
        """Return whether a request that version `number` answered is copied."""
        return number == self.active_number and is_chosen(self.percent)


@dataclass(frozen=True, slots=True)
class MirroredCall:
    """One request: its rows in the active version's form, and that version's predictions."""

    model: str
    share: ShadowShare
    schema: Schema
    rows: Any
    count: int
    prediction: Prediction


class ShadowQueue:
    """Calls that wait for a shadow; any thread may use it."""

    def __init__(self, *, max_rows: int = MAX_QUEUED_ROWS) -> None:
        """Hold at most `max_rows` rows."""
        self._max_rows = max_rows
        self._calls: deque[MirroredCall] = deque()
        self._rows = 0
        self._guard = threading.Lock()
        self._dropped: Counter[int] = Counter()
        # Rows by (model, version, outcome): agreed, differed, error, dropped.
        self.counts: Counter[tuple[str, int, str]] = Counter()

    @property
    def is_empty(self) -> bool:
        """Whether no call waits."""
        return not self._calls

    def offer(self, call: MirroredCall) -> None:
        """Add a call; if the queue is full, drop and count it."""
        with self._guard:
            if self._rows + call.count > self._max_rows:
                self._drop(call)
                return
            self._rows += call.count
            self._calls.append(call)

    def take(self, max_rows: int) -> list[MirroredCall]:
        """Return the oldest calls of one shadow: one, and others up to `max_rows` rows."""
        taken: list[MirroredCall] = []
        with self._guard:
            rows = 0
            while self._calls and (not taken or self._fits(taken[0], rows, max_rows)):
                call = self._calls.popleft()
                taken.append(call)
                rows += call.count
            self._rows -= rows
        return taken

    def _fits(self, first: MirroredCall, rows: int, max_rows: int) -> bool:
        following = self._calls[0]
        return following.share.shadow_id == first.share.shadow_id and rows + following.count <= max_rows

    def drop(self, calls: list[MirroredCall]) -> None:
        """Count calls that were taken from the queue but not sent to the shadow."""
        with self._guard:
            for call in calls:
                self._drop(call)

    def count(self, call: MirroredCall, **rows: int) -> None:
        """Count rows by outcome."""
        with self._guard:
            for outcome, number in rows.items():
                self.counts[call.model, call.share.number, outcome] += number

    def take_dropped(self) -> dict[int, int]:
        """Return the number of rows dropped since the last call, by shadow."""
        with self._guard:
            dropped, self._dropped = self._dropped, Counter()
        return dropped

    def _drop(self, call: MirroredCall) -> None:
        self._dropped[call.share.shadow_id] += call.count
        self.counts[call.model, call.share.number, "dropped"] += call.count
