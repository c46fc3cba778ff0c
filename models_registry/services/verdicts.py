"""Waits for a version's check, which a replica makes."""

from __future__ import annotations

import time

from models_registry.models import ModelVersion, State

STILL_OPEN = frozenset({State.FOUND, State.CHECKING})


def wait_for_verdict(version: ModelVersion, *, timeout_seconds: float, poll_seconds: float = 0.2) -> bool:
    """Return as soon as the check of `version` has ended, with whether it has at the timeout; refreshes it."""
    deadline = time.monotonic() + timeout_seconds
    while version.state in STILL_OPEN:
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll_seconds)
        version.refresh_from_db()
    return True


def open_check(version: ModelVersion) -> str:
    """Say of a version without a verdict how long it waits for one."""
    if version.reason:
        return f"its check is postponed. {version.reason}"
    return "its check has not ended. It takes seconds."
