"""Chooses the requests that the prediction log stores, and queues them in memory without blocking."""

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
    """Return True for a random share of the requests: `percent`, from 0 to 100."""
    return percent >= 100 or random.random() * 100 < percent  # noqa: S311


@dataclass(frozen=True, slots=True)
class Capture:
    """A model's log settings: the share of requests, inputs or outputs, and hidden columns.

    `hidden` has pairs of a column and how it is hidden: EXCLUDE or HASH.
    """

    percent: float
    inputs: bool = True
    outputs: bool = True
    hidden: tuple[tuple[str, str], ...] = ()

    def is_chosen(self) -> bool:
        """Return whether a request is logged, by the sampling rate."""
        return is_chosen(self.percent)


@dataclass(frozen=True, slots=True)
class CapturedCall:
    """One request: its rows in the model's form, and the model's predictions."""

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
    """Calls that wait for the writer; a full queue drops calls."""

    def offer(self, call: CapturedCall, request_id: str) -> None:
        """Add a call; if the queue is full, drop and count it."""
        if not self.reserve(call.count):
            self.count((call.model, call.version), "dropped", call.count)
            return
        self.append(replace(call, request_id=request_id, at=datetime.now(UTC)))
