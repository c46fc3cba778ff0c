"""Versions that failed to load here, and when to retry each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from models_registry.inference.desired_version import DesiredVersion

MAX_PAUSE_SECONDS = 300.0
# Pause before a retry if no version of the model is served here, e.g. because the storage was unavailable.
MISSING_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A version that failed to load here, and when to retry it."""

    generation: int
    build: str
    attempts: int
    # In seconds of `time.monotonic`.
    retry_at: float
    pause_seconds: float
    reason: str
    since: datetime


class Failures(dict[str, Failure]):
    """The last failure of each desired version that failed to load, by `DesiredVersion.key`."""

    def note(
        self,
        desired: DesiredVersion,
        error: Exception,
        *,
        load_seconds: float,
        serves_another: bool,
        poll_seconds: float,
    ) -> Failure:
        """Record a failed load that took `load_seconds`; the pause before the next retry grows."""
        before = self.get(desired.key)
        attempts = before.attempts + 1 if before else 1
        pause = min(
            pause_limit(serves_another=serves_another, load_seconds=load_seconds),
            max(1.0, poll_seconds) * 2.0 ** min(attempts - 1, 20),
        )
        self[desired.key] = Failure(
            generation=desired.generation,
            build=desired.build,
            attempts=attempts,
            retry_at=time.monotonic() + pause,
            pause_seconds=pause,
            reason=str(error) or type(error).__name__,
            since=before.since if before else datetime.now(UTC),
        )
        return self[desired.key]

    def keep_if_of(self, key: str, desired: DesiredVersion | None) -> None:
        """Delete a failure if it was for another version than `desired`."""
        failure = self.get(key)
        if failure and (desired is None or (desired.generation, desired.build) != (failure.generation, failure.build)):
            del self[key]

    def is_due(self, key: str) -> bool:
        """Return whether a version may be tried now."""
        failure = self.get(key)
        return failure is None or time.monotonic() >= failure.retry_at


def pause_limit(*, serves_another: bool, load_seconds: float) -> float:
    """Return the longest pause before a retry, in seconds.

    If no version of the model is served here, clients wait for this one, so the pause is short. It is longer than a
    slow load, which must not occupy the process all the time.
    """
    return MAX_PAUSE_SECONDS if serves_another else max(MISSING_PAUSE_SECONDS, 4 * load_seconds)
