"""The routes that the gate answers, in front of Django and as Django's views alike."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mlapi import catalogue, health, openapi
from mlapi.gate import Endpoint
from mlapi.protocols import native

NAME = r"(?P<model>[^/]+)"
NUMBER = r"(?P<version>[1-9][0-9]{0,8})"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("predict", r"predict", native.answer),
    Endpoint("predict-model", rf"models/{NAME}/predict", native.answer),
    Endpoint("predict-version", rf"models/{NAME}/versions/{NUMBER}/predict", native.answer),
    Endpoint("models", r"models", catalogue.index, methods=("GET",), is_prediction=False),
    Endpoint("model", rf"models/{NAME}", catalogue.detail, methods=("GET",), is_prediction=False),
    Endpoint("openapi", r"openapi\.json", openapi.answer, methods=("GET",), is_prediction=False),
    health.endpoint("health", r"health", health.ready),
    health.endpoint("health-ready", r"health/ready", health.ready),
    health.endpoint("health-live", r"health/live", health.live),
)

_BY_PATH = {f"/{item.pattern}".replace("\\", ""): item for item in ENDPOINTS if "(" not in item.pattern}
_PATTERNS = [(re.compile(f"/{item.pattern}"), item) for item in ENDPOINTS if "(" in item.pattern]
_FIRST = frozenset(item.pattern.split("/")[0] for item in ENDPOINTS)
_NONE: Mapping[str, str] = {}


def match(path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
    """Return the endpoint of `path` and what its pattern names; None where it is Django's."""
    endpoint = _BY_PATH.get(path)
    if endpoint is not None:
        return endpoint, _NONE
    if path[1:].partition("/")[0] not in _FIRST:
        return None
    for pattern, item in _PATTERNS:
        found = pattern.fullmatch(path)
        if found:
            return item, found.groupdict()
    return None
