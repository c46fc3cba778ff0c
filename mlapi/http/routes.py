"""The routes of the request pipeline. The ASGI application and Django's URL configuration both serve them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from mlapi import catalogue, health, openapi
from mlapi.endpoint import Endpoint
from mlapi.observability.metrics.endpoint import metrics_endpoint
from mlapi.observability.metrics.triton_statistics import triton_statistics
from mlapi.protocols import ground_truth, kserve_v1, mlflow, native, openinference
from mlapi.protocols.base import Handler, PredictionHandler
from mlapi.replica import recorder, series_bound
from models_registry.inference.routing import ALIAS_PATTERN

NAME = r"(?P<model>[^/]+)"
# A version number, or an alias.
NUMBER = rf"(?P<version>[1-9][0-9]{{0,8}}|{ALIAS_PATTERN})"
V1_NAME = r"(?P<model>[^/:]+)"
V2_MODEL = rf"v2/models/{NAME}(?:/versions/{NUMBER})?"


def v2(name: str, pattern: str, handler: Handler | PredictionHandler, method: str = "GET") -> Endpoint:
    """Return a route of Open Inference Protocol v2, whose clients send no Content-Type."""
    return Endpoint(
        name,
        pattern,
        handler,
        methods=(method,),
        protocol="v2",
        error_reply=openinference.error_reply,
        content_types=(),
        is_prediction=False,
    )


def v2_health(name: str, check: Handler) -> Endpoint:
    """Return a health route that answers `{name: true}` if `check` passes."""
    endpoint = health.endpoint(f"v2-{name}", f"v2/health/{name}", openinference.health_handler(check, name))
    return replace(endpoint, protocol="v2", error_reply=openinference.error_reply)


def mlflow_route(name: str, pattern: str) -> Endpoint:
    """Return a route of MLflow's `/invocations`."""
    return Endpoint(
        name,
        pattern,
        mlflow.answer,
        protocol="mlflow",
        error_reply=mlflow.error_reply,
        content_types=mlflow.CONTENT_TYPES,
        names_outputs=True,
    )


def v1(name: str, pattern: str, handler: Handler | PredictionHandler, method: str = "GET") -> Endpoint:
    """Return a route of KServe's protocol V1.

    Its errors have the form of v2's errors. Its clients send no Content-Type.
    """
    return replace(v2(name, pattern, handler, method), protocol="v1", is_prediction=method == "POST")


def mlflow_health_route(name: str, handler: Handler) -> Endpoint:
    """Return a route with which MLflow and SageMaker check that the container serves."""
    endpoint = health.endpoint(name, name, handler)
    return replace(endpoint, protocol="mlflow", error_reply=mlflow.error_reply)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("predict", r"predict", native.answer),
    Endpoint("predict-model", rf"models/{NAME}/predict", native.answer),
    Endpoint("predict-version", rf"models/{NAME}/versions/{NUMBER}/predict", native.answer),
    Endpoint(
        "ground-truth",
        rf"models/{NAME}/ground-truth",
        ground_truth.answer,
        content_types=ground_truth.CONTENT_TYPES,
        is_prediction=False,
        takes_key=True,
    ),
    Endpoint("models", r"models", catalogue.index, methods=("GET",), is_prediction=False),
    Endpoint("model", rf"models/{NAME}", catalogue.detail, methods=("GET",), is_prediction=False),
    Endpoint(
        "model-openapi",
        rf"models/{NAME}/openapi\.json",
        openapi.model_document_handler(lambda: ENDPOINTS),
        methods=("GET",),
        is_prediction=False,
    ),
    Endpoint(
        "openapi",
        r"openapi\.json",
        openapi.document_handler(lambda: ENDPOINTS),
        methods=("GET",),
        is_prediction=False,
    ),
    metrics_endpoint("metrics", r"metrics", recorder, series_bound),
    health.endpoint("health", r"health", health.balanced),
    health.endpoint("health-ready", r"health/ready", health.ready),
    health.endpoint("health-live", r"health/live", health.live),
    mlflow_route("invocations", r"invocations"),
    mlflow_route("invocations-model", rf"models/{NAME}/invocations"),
    mlflow_route("invocations-version", rf"models/{NAME}/versions/{NUMBER}/invocations"),
    mlflow_health_route("ping", mlflow.ping(health.balanced)),
    mlflow_health_route("version", mlflow.version),
    v1("v1-models", r"v1/models", kserve_v1.index),
    replace(v1("v1-model", rf"v1/models/{V1_NAME}", kserve_v1.ready), loads_model=False),
    v1("v1-predict", rf"v1/models/{V1_NAME}(?:/versions/{NUMBER})?:predict", kserve_v1.answer, "POST"),
    v2("v2-server", r"v2", openinference.server),
    v2_health("live", health.live),
    v2_health("ready", health.ready),
    v2("v2-stats", r"v2/models/stats", openinference.statistics(triton_statistics(recorder))),
    replace(v2("v2-infer", rf"{V2_MODEL}/infer", openinference.infer, "POST"), is_prediction=True, names_outputs=True),
    v2("v2-model", V2_MODEL, openinference.model),
    replace(v2("v2-model-ready", rf"{V2_MODEL}/ready", openinference.model_ready), loads_model=False),
    v2("v2-model-config", rf"{V2_MODEL}/config", openinference.model_config),
    v2("v2-model-stats", rf"{V2_MODEL}/stats", openinference.statistics(triton_statistics(recorder))),
    v2("v2-index", r"v2/repository/index", openinference.index, "POST"),
    replace(
        v2("v2-load", rf"v2/repository/models/{NAME}/(?:load|unload)", openinference.refuse_load, "POST"),
        loads_model=False,
    ),
    replace(v2("v2-nowhere", r"v2/(?P<rest>.*)", openinference.unknown_address), methods=("GET", "POST")),
)

_BY_PATH = {f"/{item.pattern}".replace("\\", ""): item for item in ENDPOINTS if "(" not in item.pattern}
_PATTERNS = [(re.compile(f"/{item.pattern}"), item) for item in ENDPOINTS if "(" in item.pattern]
_FIRST_SEGMENTS = frozenset(item.pattern.split("/")[0] for item in ENDPOINTS)
_NO_PARAMS: Mapping[str, str] = {}


@lru_cache(maxsize=1024)
def match(path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
    """Return the endpoint of `path` and the values of its pattern; None for one of Django's paths."""
    endpoint = _BY_PATH.get(path)
    if endpoint is not None:
        return endpoint, _NO_PARAMS
    if path[1:].partition("/")[0] not in _FIRST_SEGMENTS:
        return None
    for pattern, item in _PATTERNS:
        found = pattern.fullmatch(path)
        if found:
            return item, MappingProxyType(found.groupdict())
    return None
