"""Queue of labels that became known after the prediction, for the storage of the prediction log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models_registry.inference.bounded_queue import BoundedQueue

LabelValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Label:
    """The true label of one row of a request."""

    request_id: str
    row: int
    label: LabelValue


@dataclass(frozen=True, slots=True)
class LabelBatch:
    """The labels of one request, in its order: for two labels of one row, the later one counts."""

    model: str
    labels: tuple[Label, ...]
    at: datetime

    @property
    def count(self) -> int:
        """The number of labels."""
        return len(self.labels)


class GroundTruthQueue(BoundedQueue[LabelBatch]):
    """Labels that wait for the writer."""

    def offer(self, batch: LabelBatch) -> bool:
        """Add all labels of a batch, or none if the queue is full; return whether they were added."""
        if not self.reserve(batch.count):
            return False
        self.append(batch)
        return True
