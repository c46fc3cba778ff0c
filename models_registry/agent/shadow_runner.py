"""Runs shadows on copies of requests, and counts how often they agree with the active versions.

A shadow runs in the sandbox, in its own process with the lowest priority. So a crash, a hang or too much memory affects
no worker. A machine runs one shadow at a time.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial

import structlog

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread
from models_registry.agent.fleet import Fleet
from models_registry.agent.lookout import Lookout
from models_registry.artifacts.prediction_json import content_of
from models_registry.artifacts.replaying import Replayed
from models_registry.artifacts.sandbox import OF_MODELS
from models_registry.errors import ArtifactError, StorageError
from models_registry.inference.mirroring import MirroredCall
from models_registry.inference.runtime import Runtime
from models_registry.monitoring.buckets import SECONDS
from models_registry.monitoring.plain_rows import instances_of
from models_registry.monitoring.replay import compare
from models_registry.services.shadows import ShadowCounts

log = structlog.get_logger(__name__)

# Rows for one run of a shadow. The worker converts them to JSON, which must not delay a prediction.
MAX_ROWS = 500
MIN_PAUSE_SECONDS = 1.0
# After a process that took one second, the shadow pauses for four seconds.
PAUSE_SHARE = 4.0
LOWEST_PRIORITY = 19
ADVICE = OF_MODELS._replace(slow_cpu="Publish a faster model, or raise MLAPI_PREDICTION_SECONDS.")

Slot = Callable[[], AbstractContextManager[bool]]


class ShadowRunner:
    """A thread that runs shadows on the waiting copies."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        replica: str,
        poll_seconds: float,
        limit_seconds: float,
        slot: Slot,
        lookout: Lookout | None = None,
        fleet: Fleet | None = None,
    ) -> None:
        """Report as `replica`; `slot` yields whether this worker may run a shadow now, for `limit_seconds`.

        `lookout` reads the running shadows, less often in a large `fleet`.
        """
        self._runtime = runtime
        self._queue = runtime.mirrored
        self._replica = replica
        self._slot = slot
        self._limit_seconds = limit_seconds
        self._poll_seconds = max(MIN_PAUSE_SECONDS, poll_seconds)
        self._run_seconds = 0.0
        self._unwritten: dict[int, list[ShadowCounts]] = defaultdict(list)
        if lookout is not None:
            lookout.add(self.read, seconds=partial((fleet or Fleet()).pause_seconds, self._poll_seconds))
        self._thread = DatabaseThread("shadow_runner", self.step, seconds=self._pause_seconds, last_step=self.finish)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop. A running shadow process ends at its time limit."""
        self._thread.stop(join_seconds=0.0)

    def read(self) -> bool:
        """Read the running shadows, and return False: no loop needs to wake. Raises DatabaseError."""
        self._runtime.shadows = services.read_shadows()
        return False

    def step(self) -> None:
        """Run a shadow on its waiting copies, and store the counts. Raises DatabaseError."""
        self._run_seconds = 0.0
        if not self._queue.is_empty:
            self._ask_one()
        self._record()

    def finish(self) -> None:
        """Count the waiting copies as dropped: the worker ends and runs no shadow for them."""
        while calls := self._queue.take(MAX_ROWS):
            self._queue.drop(calls)
        self._record()

    def _pause_seconds(self) -> float:
        return max(self._poll_seconds, PAUSE_SHARE * self._run_seconds)

    def _ask_one(self) -> None:
        with self._slot() as is_held:
            if is_held and (calls := self._queue.take(MAX_ROWS)):
                began = time.monotonic()
                self._ask(calls)
                self._run_seconds = time.monotonic() - began

    def _ask(self, calls: list[MirroredCall]) -> None:
        first = calls[0]
        shadow = services.get_running_shadow(first.share.shadow_id)
        if shadow is None:
            self._queue.drop(calls)
            return
        rows = [row for call in calls for row in instances_of(call.rows, call.schema)]
        problem = ""
        try:
            replayed = services.run_version(
                shadow.version,
                rows,
                cpu_seconds=self._limit_seconds,
                niceness=LOWEST_PRIORITY,
                advice=ADVICE,
            )
            counts = _counts(calls, rows, replayed)
        except ArtifactError as error:
            problem, counts = str(error), ShadowCounts(rows=len(rows), errors=len(rows))
            log.warning("shadow_failed", model=first.model, version=first.share.number, reason=problem)
        except StorageError as error:
            self._queue.drop(calls)
            services.note_shadow_problem(shadow, str(error))
            return
        self._queue.count(
            first,
            agreed=counts.agreed,
            differed=counts.rows - counts.agreed - counts.errors,
            error=counts.errors,
        )
        self._unwritten[shadow.pk].append(counts)
        services.note_shadow_problem(shadow, problem)

    def _record(self) -> None:
        for shadow_id, dropped in self._queue.take_dropped().items():
            self._unwritten[shadow_id].append(ShadowCounts(dropped=dropped))
        found = {shadow_id: _total(parts) for shadow_id, parts in self._unwritten.items()}
        if found:
            services.record_shadow_counts(self._replica, datetime.now(UTC).replace(second=0, microsecond=0), found)
            self._unwritten.clear()


def _counts(calls: Sequence[MirroredCall], rows: Sequence[object], shadow: Replayed) -> ShadowCounts:
    answered = [
        prediction
        for call in calls
        for prediction in content_of(call.prediction, call.schema, is_single=False, with_probabilities=False)[
            "predictions"
        ]
    ]
    compared = compare(rows, Replayed(answered, [None] * len(rows), {}), shadow)
    latency = [0] * (len(SECONDS) + 1)
    for seconds in shadow.seconds:
        latency[bisect_left(SECONDS, seconds)] += 1
    return ShadowCounts(
        rows=len(rows), agreed=len(rows) - compared["changed"], errors=compared["errors"], latency=latency
    )


def _total(parts: Sequence[ShadowCounts]) -> ShadowCounts:
    latencies = [part.latency for part in parts if part.latency]
    return ShadowCounts(
        rows=sum(part.rows for part in parts),
        agreed=sum(part.agreed for part in parts),
        errors=sum(part.errors for part in parts),
        dropped=sum(part.dropped for part in parts),
        latency=[sum(column) for column in zip(*latencies, strict=True)],
    )
