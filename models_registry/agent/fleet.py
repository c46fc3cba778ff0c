"""Limits how often the replicas together check for work that any of them may do."""

from __future__ import annotations

import random
import time

from models_registry import services

# Up to this number of replicas, each one checks at the loop's interval. More replicas together check as often as this
# number of replicas.
MAX_LOOKING = 10
# The least time between two queries for the number of replicas.
COUNT_SECONDS = 15.0


class Fleet:
    """The approximate number of live replicas."""

    def __init__(self) -> None:
        """Start with one."""
        self._live = 1
        self._count_at = 0.0

    def count(self) -> None:
        """Count the live replicas, at most once in COUNT_SECONDS. Raises DatabaseError."""
        if time.monotonic() >= self._count_at:
            self._live = services.count_live_replicas()
            self._count_at = time.monotonic() + COUNT_SECONDS

    def pause_seconds(self, seconds: float) -> float:
        """Return the pause of a loop that a small fleet repeats every `seconds`.

        In a large fleet it is longer and random, so that replicas that started together do not check together.
        """
        share = self._live / MAX_LOOKING
        return seconds if share <= 1 else seconds * share * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
