"""What a request says about the version that it wants, and which one it gets."""

from __future__ import annotations

import re

from django.conf import settings

from mlapi.http.auth import given_key
from mlapi.http.clients import client_address, proxy_header
from mlapi.http.request import Headers, Request
from mlapi.protocols.base import HttpError
from models_registry.inference.runtime import LoadedModel, ServingSnapshot

VERSION_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def asked_version(in_path: str | None, headers: Headers) -> int | None:
    """Return the version that the path or the header X-Model-Version asks for; None where neither does."""
    in_header = headers.raw(b"x-model-version")
    if not in_header:
        return None if in_path is None else int(in_path)
    if not VERSION_NUMBER.fullmatch(in_header):
        raise HttpError(
            400,
            "invalid_header",
            f"The header X-Model-Version is {in_header[:80]!r}; expected a version's number, such as 8.",
            expected="a whole number from 1",
            found=in_header[:80],
        )
    if in_path is not None and in_path != in_header:
        raise HttpError(
            400,
            "conflicting_versions",
            f"The path asks for version {in_path}, the header X-Model-Version for {in_header}. Name one version.",
        )
    return int(in_header)


def routing_key(request: Request) -> str:
    """Return what tells a client from others: its X-Routing-Key, else its API key, else its address."""
    headers = request.headers
    own = headers.raw(b"x-routing-key")
    if own:
        return f"key {own}"
    api_key = given_key(headers)
    if api_key:
        return f"api-key {api_key}"
    forwarded = headers.raw(proxy_header("For").lower().encode())
    return f"address {client_address(request.client, forwarded, trusted_proxies=settings.TRUSTED_PROXIES)}"


def routed_model(snapshot: ServingSnapshot, name: str | None, *, version: int | None, key: str) -> LoadedModel | None:
    """Return the loaded model that a request is for; None where it is not served.

    A version that is not loaded is as good as the active one: the request is refused, and counted there.
    """
    loaded = snapshot.models.get(name or snapshot.default or "")
    if loaded is None:
        return None
    if version is not None:
        return snapshot.versions_of(loaded.name).get(version, loaded)
    return snapshot.route(loaded, key)
