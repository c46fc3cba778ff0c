"""The registry's API, as drf-spectacular reads it off the views: it depends on no model, so it is made once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

TAG = "Registry"


@dataclass(frozen=True, slots=True)
class Part:
    """What the views of Django REST framework add to the document."""

    paths: dict[str, Any] = field(default_factory=dict)
    schemas: dict[str, Any] = field(default_factory=dict)
    security_schemes: dict[str, Any] = field(default_factory=dict)
    tags: list[dict[str, Any]] = field(default_factory=list)


@cache
def document() -> Part:
    """Return the paths, schemas and security schemes of the views that have a schema."""
    # A generator keeps what it has read; one of its own leaves nothing behind.
    made = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # it ships no types
    paths = {path: _tagged(item) for path, item in made["paths"].items()}
    components = made.get("components", {})
    return Part(
        paths=paths,
        schemas=components.get("schemas", {}),
        security_schemes=components.get("securitySchemes", {}),
        tags=[{"name": TAG, "description": "The registry for programs; a token and permission are needed."}]
        if paths
        else [],
    )


def _tagged(item: dict[str, Any]) -> dict[str, Any]:
    """Return a path whose operations stand together under one heading."""
    return {
        method: {**operation, "tags": [TAG]} if isinstance(operation, dict) else operation
        for method, operation in item.items()
    }
