"""Who called, where proxies stand in between: their word counts only as far as they are configured."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def client_address(environ: Mapping[str, Any], *, trusted_proxies: int) -> str:
    """Return the caller's address: the peer's, or what the outermost of `trusted_proxies` proxies saw.

    Each proxy appends the address that it was called from to X-Forwarded-For. What stands further left was sent by
    the caller, who can write anything there.
    """
    peer = str(environ.get("REMOTE_ADDR", ""))
    if trusted_proxies < 1:
        return peer
    entries = [entry.strip() for entry in environ.get("HTTP_X_FORWARDED_FOR", "").split(",") if entry.strip()]
    if not entries:
        return peer
    # With fewer entries than proxies, somebody went around the outer ones; a trusted one still wrote the first.
    return _address(entries[-min(trusted_proxies, len(entries))]) or peer


def _address(entry: str) -> str:
    """Return an address without its port; empty where it is none."""
    bare = entry[1:].partition("]")[0] if entry.startswith("[") else entry
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""


def client_address_of(request: HttpRequest) -> str:
    """Return the address by which logins are throttled."""
    return client_address(request.META, trusted_proxies=settings.TRUSTED_PROXIES)
