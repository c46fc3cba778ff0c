"""What of a model's requests is logged: decided for each request, queued in memory, never waited for."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.schema import Schema
from models_registry.inference.bounded_queue import BoundedQueue

EXCLUDE, HASH = "exclude", "hash"


def is_chosen(percent: float) -> bool:
    """Return whether a request is among the `percent` of all that are wanted."""
    return percent >= 100 or random.random() * 100 < percent  # noqa: S311


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
        return is_chosen(self.percent)


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


class CaptureQueue(BoundedQueue[CapturedCall]):
    """Calls that wait for the writer: an append for each, and a drop where the queue is full."""

    def offer(self, call: CapturedCall, request_id: str) -> None:
        """Take a call, or drop and count it where the queue is full."""
        if not self.reserve(call.count):
            self.count((call.model, call.version), "dropped", call.count)
            return
        self.append(replace(call, request_id=request_id, at=datetime.now(UTC)))
