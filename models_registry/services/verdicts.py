"""Waits for a version's validation by a replica."""

from __future__ import annotations

import time

from models_registry.models import ModelVersion, State

STILL_OPEN = frozenset({State.FOUND, State.CHECKING})


def wait_for_verdict(version: ModelVersion, *, timeout_seconds: float, poll_seconds: float = 0.2) -> bool:
    """Wait until the validation of `version` has ended or the timeout, refresh it, and return whether it has ended."""
    deadline = time.monotonic() + timeout_seconds
    while version.state in STILL_OPEN:
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll_seconds)
        version.refresh_from_db()
    return True


def open_check(version: ModelVersion) -> str:
    """Return a sentence about the validation of a version without a verdict."""
    if version.reason:
        return f"its validation is postponed. {version.reason}"
    return "its validation has not ended. It takes seconds."
