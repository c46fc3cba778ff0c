"""The registry's API in the OpenAPI document; drf-spectacular generates it once, because it depends on no model."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mlapi.openapi.refusals import responses

TAG = "Registry"
REFERENCE = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Part:
    """The part of the document that describes views of Django REST framework."""

    paths: dict[str, Any] = field(default_factory=dict)
    schemas: dict[str, Any] = field(default_factory=dict)
    security_schemes: dict[str, Any] = field(default_factory=dict)
    tags: list[dict[str, Any]] = field(default_factory=list)


# drf-spectacular resolves its extensions on first use, and fails if two threads do so at the same time.
_making = threading.Lock()


def document() -> Part:
    """Return the paths, schemas and security schemes of the views that have a schema."""
    with _making:
        return make_document()


@cache
def make_document() -> Part:
    """Generate the result of `document`. Only one thread may call this at a time."""
    from drf_spectacular.generators import SchemaGenerator

    # A generator keeps state, so each call gets a new one.
    made = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # it ships no types
    components = made.get("components", {})
    return Part(
        paths={path: _tagged(_renamed(item)) for path, item in made["paths"].items()},
        schemas={
            _name(name): _renamed(_closed(name, schema)) for name, schema in components.get("schemas", {}).items()
        },
        security_schemes=components.get("securitySchemes", {}),
        tags=[{"name": TAG, "description": "The registry for programs; a token and permission are needed."}],
    )


def _name(name: str) -> str:
    """Return a schema's name with TAG before it, and with `Request` at its end in place of `RequestRequest`."""
    return TAG + (name.removesuffix("Request") if name.endswith("RequestRequest") else name)


def _closed(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a request's schema with unknown fields forbidden: the API refuses them."""
    return {**schema, "additionalProperties": False} if name.endswith("Request") else schema


def _renamed(item: Any) -> Any:
    """Return `item` with TAG before the schema names in its references: the predictions' part also has a `Model`."""
    if isinstance(item, dict):
        return {
            key: REFERENCE + _name(value.removeprefix(REFERENCE)) if key == "$ref" else _renamed(value)
            for key, value in item.items()
        }
    return [_renamed(value) for value in item] if isinstance(item, list) else item


def _tagged(item: dict[str, Any]) -> dict[str, Any]:
    """Return a path's operations with the tag, the 503 response, and a summary from the description."""
    return {
        method: {
            **operation,
            "tags": [TAG],
            "responses": operation["responses"] | responses((503,)),
            **_words(operation),
        }
        for method, operation in item.items()
    }


def _words(operation: dict[str, Any]) -> dict[str, str]:
    words = operation.get("description", "")
    return {"summary": words.partition("; ")[0].rstrip("."), "description": words if "; " in words else ""}
