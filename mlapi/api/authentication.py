"""Authenticates clients of the registry's API: a token for programs, a session for people."""

from __future__ import annotations

import copy
from typing import Any

from django.http import QueryDict
from drf_spectacular.authentication import SessionScheme, TokenScheme
from rest_framework import exceptions
from rest_framework.authentication import SessionAuthentication, TokenAuthentication, get_authorization_header
from rest_framework.request import Request

from mlapi.sign_in.one_time import must_set_password
from models_registry.services.tokens import stored_form


class ApiToken(TokenAuthentication):
    """A token as `Authorization: Token …` or `Bearer …`; the database stores only its digest."""

    def authenticate(self, request: Request) -> Any:
        """Return the user and the token; None if the header is missing or has another scheme."""
        scheme = get_authorization_header(request).partition(b" ")[0].lower()
        self.keyword = "Bearer" if scheme == b"bearer" else "Token"
        return super().authenticate(request)

    def authenticate_credentials(self, key: str) -> Any:
        """Return the user of the token `key`."""
        return super().authenticate_credentials(stored_form(key))

    def authenticate_header(self, request: Request) -> str:
        """Return the value of WWW-Authenticate for a request without a token."""
        return "Bearer, Token"


class ApiTokenScheme(TokenScheme):  # type: ignore[no-untyped-call]  # drf-spectacular ships no types
    """Describes token authentication in the OpenAPI document."""

    target_class = "mlapi.api.authentication.ApiToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the bearer scheme, which client generators support best."""
        return {"type": "http", "scheme": "bearer", "description": "A token; `Token` in place of `Bearer` works too."}


class HeaderSession(SessionAuthentication):
    """A session of the admin; unsafe methods need the CSRF token in the header."""

    def authenticate(self, request: Request) -> Any:
        """Return the session's user; None without a session. A session with a one-time password is refused."""
        found = super().authenticate(request)
        if found is not None and must_set_password(request._request):
            raise exceptions.PermissionDenied(
                "You signed in with a one-time password. Set a password of your own in the admin first.",
                code="own_password_needed",
            )
        return found

    def enforce_csrf(self, request: Request) -> None:
        """Check the CSRF token in the header only: reading the form would store files before the permission check."""
        bare = copy.copy(request._request)
        bare.POST = QueryDict()
        super().enforce_csrf(bare)  # type: ignore[arg-type]  # it takes either kind of request


class HeaderSessionScheme(SessionScheme):  # type: ignore[no-untyped-call]  # drf-spectacular ships no types
    """Describes session authentication in the OpenAPI document, with the scheme of Django's sessions."""

    target_class = "mlapi.api.authentication.HeaderSession"
