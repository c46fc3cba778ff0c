"""Who calls the registry's API: a person who is logged in."""

from __future__ import annotations

import copy

from django.http import QueryDict
from drf_spectacular.authentication import SessionScheme
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request


class HeaderSession(SessionAuthentication):
    """A session of the admin, with the token against forged requests in the header."""

    def enforce_csrf(self, request: Request) -> None:
        """Look for the token in the header alone: to look into the form would read its files before any permission."""
        bare = copy.copy(request._request)
        bare.POST = QueryDict()
        super().enforce_csrf(bare)  # type: ignore[arg-type]  # it takes either kind of request


class HeaderSessionScheme(SessionScheme):  # type: ignore[no-untyped-call]  # drf-spectacular ships no types
    """Describes it in the OpenAPI document as any other session."""

    target_class = "mlapi.registry_api.authentication.HeaderSession"
