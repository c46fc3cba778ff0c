"""Chooses the version that answers a request."""

from __future__ import annotations

import re

from django.conf import settings

from mlapi.http.auth import given_key
from mlapi.http.clients import client_address, proxy_header
from mlapi.http.request import Headers, Request
from mlapi.protocols.base import HttpError
from models_registry.artifacts.suggestions import shown
from models_registry.inference.routing import ALIAS_PATTERN
from models_registry.inference.runtime import LoadedModel, ServingSnapshot

VERSION_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
VERSION = re.compile(rf"{VERSION_NUMBER.pattern}|{ALIAS_PATTERN}")


def asked_version(in_path: str | None, headers: Headers, snapshot: ServingSnapshot, model: str | None) -> int | None:
    """Return the version from the path or from X-Model-Version, by number or alias; None without either."""
    in_header = headers.raw(b"x-model-version")
    if not in_header:
        return None if in_path is None else _number_of(in_path, snapshot, model)
    if not VERSION.fullmatch(in_header):
        raise HttpError(
            400,
            "invalid_header",
            f"The header X-Model-Version is {in_header[:80]!r}; expected a version's number, such as 8, or an alias.",
            expected="a whole number from 1, or an alias",
            found=in_header[:80],
        )
    if in_path is not None and in_path != in_header:
        raise HttpError(
            400,
            "conflicting_versions",
            f"The path asks for version {in_path}, but the header X-Model-Version asks for {in_header}. "
            "Name one version.",
        )
    return _number_of(in_header, snapshot, model)


def _number_of(version: str, snapshot: ServingSnapshot, model: str | None) -> int:
    """Return the number for a version's number or alias; HttpError 404 for an unknown alias."""
    if version.isdigit():
        return int(version)
    name = model or snapshot.default or ""
    aliases = snapshot.aliases.get(name, {})
    if version not in aliases:
        known = f"Its aliases are {shown(sorted(aliases))}." if aliases else "It has no aliases."
        raise HttpError(
            404,
            "unknown_alias",
            f"{name[:200]!r} has no alias {version!r}. {known}",
            model=name[:200],
            expected=sorted(aliases),
        )
    return aliases[version]


def routing_key(request: Request) -> str:
    """Return the routing key of a client: its X-Routing-Key, else its API key, else its address."""
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
    """Return the loaded model that a request is for; None if it is not served.

    For a version that is not loaded, this is the active version: the request is refused later, and counted for it.
    """
    loaded = snapshot.models.get(name or snapshot.default or "")
    if loaded is None:
        return None
    if version is not None:
        return snapshot.versions_of(loaded.name).get(version, loaded)
    return snapshot.route(loaded, key)
