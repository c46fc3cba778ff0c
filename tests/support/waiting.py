"""Waits on conditions, never on time alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def eventually(condition: Callable[[], Any], *, seconds: float = 20, poll: float = 0.05, saying: str = "") -> Any:
    """Return the condition's first true value, or fail after `seconds` with what it was last."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds} s: {saying or condition!r}; last: {value!r}")
        time.sleep(poll)
