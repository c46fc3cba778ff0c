"""The endpoints `/models` and `/models/{name}`: active versions, schemas, and example requests that work."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

import orjson
from django.conf import settings

from mlapi.protocols.base import Call, HttpError, Reply, find_model
from models_registry.artifacts.examples import example_of
from models_registry.artifacts.features import Feature
from models_registry.inference.runtime import LoadedModel, Runtime

MAX_NAMES_SHOWN = 16
# Models on one page of /models.
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


def index(call: Call, runtime: Runtime) -> Reply:
    """Return one page, by name, of the models that should be served, with the reason for each that is not."""
    snapshot = runtime.snapshot
    limit, after = _page(call)
    missing, unloaded = snapshot.missing(), snapshot.unloaded()
    following = sorted(name for name in {*snapshot.models, *missing, *unloaded} if name > after)
    shown = following[:limit]
    content = {
        "models": [
            describe(snapshot.models[name], call, is_default=name == snapshot.default)
            for name in shown
            if name in snapshot.models
        ],
        "missing": {name: missing[name] for name in shown if name in missing},
        # Models that load at their first request, with the number of their active version.
        "unloaded": {name: unloaded[name] for name in shown if name in unloaded},
        "default": snapshot.default,
        "next": shown[-1] if len(following) > limit else None,
    }
    return Reply(200, orjson.dumps(content, default=str))


def _page(call: Call) -> tuple[int, str]:
    """Return the requested number of models, and the name after which they start."""
    given = dict(parse_qsl(call.query, keep_blank_values=True, max_num_fields=100))
    limit = given.get("limit", str(DEFAULT_LIMIT))
    # ASCII digits only: int() accepts spaces, signs and underscores.
    if not re.fullmatch(r"[0-9]{1,4}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
        raise HttpError(400, "bad_limit", f"limit is {limit[:50]!r}; expected a whole number from 1 to {MAX_LIMIT}.")
    return int(limit), given.get("after", "")


def detail(call: Call, runtime: Runtime) -> Reply:
    """Return one served model."""
    snapshot = runtime.snapshot
    if call.model is None:
        raise HttpError(404, "unknown_model", "No model is named.")
    loaded = find_model(snapshot, call.model)
    return Reply(200, orjson.dumps(describe(loaded, call, is_default=loaded.name == snapshot.default), default=str))


def describe(loaded: LoadedModel, call: Call, *, is_default: bool) -> dict[str, Any]:
    """Return a model's catalogue entry."""
    schema = loaded.schema
    example = example_request(loaded)
    url = f"{call.base_url}/models/{loaded.name}/predict"
    shown = _quoted(_short_body(example, schema.names))
    key = ' -H "X-API-Key: $MLAPI_KEY"' if settings.MLAPI_REQUIRE_API_KEY else ""
    return {
        "name": loaded.name,
        "active_version": loaded.number,
        "digest": loaded.digest,
        "description": loaded.description,
        "is_default": is_default,
        "activated_at": loaded.activated_at.isoformat() if loaded.activated_at else None,
        "loaded_at": loaded.loaded_at.isoformat(),
        "signature": {
            "inputs": [_described(feature, loaded) for feature in schema.inputs],
            "kind": schema.kind,
            "outputs": schema.outputs,
            "classes": schema.classes,
            "methods": schema.methods,
        },
        "runs": loaded.runs,
        "samples": loaded.samples,
        "example": {
            "url": url,
            "body": example,
            "curl": f"curl -s {url}{key} -H 'Content-Type: application/json' -d '{shown}'",
        },
    }


def _described(feature: Feature, loaded: LoadedModel) -> dict[str, Any]:
    """Return a feature, with the range of its numbers in the sample."""
    held = loaded.ranges.get(feature.name)
    return feature.to_json() | ({} if held is None else {"range": held})


def example_request(loaded: LoadedModel) -> dict[str, Any]:
    """Return an example body: the sample's first row, else the generated row that the validation used."""
    return {"features": example_of(loaded.schema) if loaded.example is None else loaded.example}


def _short_body(body: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the row by position if its names would fill the screen."""
    row = body["features"]
    if len(names) <= MAX_NAMES_SHOWN or not isinstance(row, dict):
        return body
    return {"features": [_short_number(row.get(name)) for name in names]}


def _short_number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _quoted(body: dict[str, Any]) -> str:
    return orjson.dumps(body).decode().replace("'", "'\\''")
