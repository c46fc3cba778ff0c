"""Liveness and readiness of this process."""

from __future__ import annotations

import orjson
from django.conf import settings

from mlapi.endpoint import Endpoint
from mlapi.protocols.base import Call, Handler, HttpError, Reply
from models_registry.inference.model_calls import oldest_seconds
from models_registry.inference.runtime import Runtime, ServingSnapshot


def endpoint(name: str, pattern: str, handler: Handler) -> Endpoint:
    """Return a health route: it accepts any Host, since a balancer uses the task's address, and writes no log line."""
    return Endpoint(
        name, pattern, handler, methods=("GET",), is_prediction=False, any_host=True, is_quiet=True, is_inline=True
    )


def live(call: Call, runtime: Runtime) -> Reply:
    """Answer 200 unless a prediction hangs."""
    oldest = oldest_seconds()
    if oldest > settings.MLAPI_PREDICTION_SECONDS:
        raise HttpError(
            503,
            "prediction_hangs",
            f"A prediction has been running for {oldest:.0f} s; at most {settings.MLAPI_PREDICTION_SECONDS:.0f} are "
            "allowed (MLAPI_PREDICTION_SECONDS). The worker is replaced.",
        )
    return Reply(200, b'{"status":"live"}')


def ready(call: Call, runtime: Runtime) -> Reply:
    """Answer 200 if every active model is loaded, or loads on demand; else 503 with the missing models."""
    snapshot = runtime.snapshot
    if not snapshot.has_read_desired_state:
        raise HttpError(503, "starting", "This worker has not read the registry yet; its database may be unavailable.")
    missing = snapshot.missing()
    if missing:
        sentence = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise HttpError(
            503,
            "not_ready",
            f"Not every active model is loaded here. {sentence}.",
            missing=missing,
            loaded=len(snapshot.models),
            active=len(snapshot.desired),
        )
    return _serving(snapshot)


def balanced(call: Call, runtime: Runtime) -> Reply:
    """Answer like `ready` until its first 200, then always 200 with the missing models: for a load balancer.

    A new model that fails to load is missing in all replicas: a balancer would remove all of them, together with the
    models that do serve.
    """
    snapshot = runtime.snapshot
    return _serving(snapshot) if snapshot.was_ready else ready(call, runtime)


def _serving(snapshot: ServingSnapshot) -> Reply:
    served = {name: loaded.number for name, loaded in snapshot.models.items()}
    missing = snapshot.missing()
    content = {"status": "ready", "loaded": len(served), "active": len(snapshot.desired), "models": served}
    unloaded = len(snapshot.unloaded())
    more = {"missing": missing} if missing else {}
    return Reply(200, orjson.dumps(content | more | ({"unloaded": unloaded} if unloaded else {})))
