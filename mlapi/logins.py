"""The username by which django-axes throttles failed logins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

# The length of the throttle's column; no account name is that long.
MAX_NAME = 255


def name_of(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """Return the username of a login attempt, cut to MAX_NAME characters, without NUL characters."""
    given = credentials.get("username") if credentials else request.POST.get("username")
    return str(given or "")[:MAX_NAME].replace("\0", "0x00")
