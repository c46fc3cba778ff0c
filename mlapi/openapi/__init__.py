"""`/openapi.json`: the document of the served models, generated again only after they change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson
from django.conf import settings

from mlapi.endpoint import Endpoint
from mlapi.openapi.document import document
from mlapi.protocols.base import JSON, Call, Handler, Reply, find_model
from models_registry.inference.runtime import Runtime, ServingSnapshot


@dataclass(frozen=True, slots=True)
class CachedDocument:
    """A generated document, and the models that it describes."""

    loads: tuple[Any, ...]
    default: str | None
    limits: tuple[Any, ...]
    body: bytes
    etag: str

    def fits(self, snapshot: ServingSnapshot) -> bool:
        """Return whether the document describes the models in `snapshot` and the current limits."""
        return self.loads == _loads(snapshot) and self.default == snapshot.default and self.limits == _limits()


# Replaced by one assignment: at worst, two requests at the same time generate the same document twice.
_latest: list[CachedDocument] = []


def document_handler(endpoints: Callable[[], Iterable[Endpoint]]) -> Handler:
    """Return the handler for the document of `endpoints`.

    `endpoints` is a function, because this handler is itself one of the endpoints.
    """

    def answer(call: Call, runtime: Runtime) -> Reply:
        """Return the OpenAPI document; 304 if the client already has it."""
        cached = cached_document(runtime.snapshot, endpoints())
        headers = [("ETag", cached.etag), ("Cache-Control", "no-cache")]
        known = [item.strip().removeprefix("W/") for item in call.headers.get("If-None-Match", "").split(",")]
        if cached.etag in known or "*" in known:
            return Reply(304, b"", headers=headers)
        return Reply(200, cached.body, JSON, headers)

    return answer


def model_document_handler(endpoints: Callable[[], Iterable[Endpoint]]) -> Handler:
    """Return the handler for the document of one model."""

    def answer(call: Call, runtime: Runtime) -> Reply:
        """Return the OpenAPI document of one served model."""
        loaded = find_model(runtime.snapshot, call.model)
        snapshot = replace(runtime.snapshot, models={loaded.name: loaded})
        body = orjson.dumps(document(snapshot, endpoints()), default=str)
        return Reply(200, body, JSON, [("Cache-Control", "no-cache")])

    return answer


def cached_document(snapshot: ServingSnapshot, endpoints: Iterable[Endpoint]) -> CachedDocument:
    """Return the document of the models in `snapshot` at the `endpoints`; generate it if the cached one is old."""
    if _latest and _latest[0].fits(snapshot):
        return _latest[0]
    body = orjson.dumps(document(snapshot, endpoints), default=str)
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    _latest[:] = [CachedDocument(_loads(snapshot), snapshot.default, _limits(), body, etag)]
    return _latest[0]


def _loads(snapshot: ServingSnapshot) -> tuple[Any, ...]:
    """Return a key that identifies the loaded models; a reference would keep an unloaded model in memory."""
    return tuple((name, loaded.generation, loaded.loaded_at, loaded.digest) for name, loaded in snapshot.models.items())


def _limits() -> tuple[Any, ...]:
    return (settings.MLAPI_MAX_BODY_MB, settings.MLAPI_REQUIRE_API_KEY)
