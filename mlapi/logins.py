"""Whose login it is, as the throttle counts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

# As many characters as the throttle's column takes; no account has that many.
MAX_NAME = 255


def name_of(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """Return the name that somebody tries to log in by, cut to what the throttle can store."""
    given = credentials.get("username") if credentials else request.POST.get("username")
    return str(given or "")[:MAX_NAME].replace("\0", "0x00")
