"""The login name by which attempts are throttled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

# The length of the throttle's column; no account name is that long.
MAX_NAME = 255


def name_of(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """Return the login name, cut to the column's length."""
    given = credentials.get("username") if credentials else request.POST.get("username")
    return str(given or "")[:MAX_NAME].replace("\0", "0x00")
