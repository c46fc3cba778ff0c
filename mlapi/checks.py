"""System checks of the HTTP face."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


@register()
def check_https(**_: Any) -> list[CheckMessage]:
    """W001: HTTPS ends at a proxy that nobody trusts to say so."""
    if not settings.SECURE or settings.TRUSTED_PROXIES:
        return []
    return [
        Warning(
            "MLAPI_HTTPS is on and MLAPI_TRUSTED_PROXIES is 0: the service takes every request for plain HTTP, "
            "and its own login form for another site's.",
            hint="Set MLAPI_TRUSTED_PROXIES to the number of proxies in front, 1 for a load balancer.",
            id="mlapi.W001",
        )
    ]


@register()
def check_log_of_features(**_: Any) -> list[CheckMessage]:
    """W002: what callers send is kept in the log."""
    if not settings.MLAPI_LOG_FEATURES or settings.DEBUG:
        return []
    return [
        Warning(
            "MLAPI_LOG_FEATURES is on: the log holds what callers send, which may be about people.",
            hint="Switch it off when the search is over, or see that the log is kept as such data must be.",
            id="mlapi.W002",
        )
    ]
