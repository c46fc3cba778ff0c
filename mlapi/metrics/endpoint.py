"""`GET /metrics`: for Prometheus."""

from __future__ import annotations

import hmac

from django.conf import settings

from mlapi.endpoint import Endpoint
from mlapi.keys import bearer
from mlapi.metrics.exposition import expose
from mlapi.metrics.meter import Meter
from mlapi.protocols.base import Call, HttpError, Reply
from models_registry.serving.runtime import Runtime


def metrics_endpoint(name: str, pattern: str, meter: Meter) -> Endpoint:
    """Return the route to what `meter` counts: any Host, since Prometheus asks by address; no log line."""

    def answer(call: Call, runtime: Runtime) -> Reply:
        """Return the metrics of all workers of this machine."""
        require_token(call)
        body, content_type = expose(meter.everyone(), accept=call.headers.get("Accept", ""))
        return Reply(200, body, content_type=content_type)

    return Endpoint(name, pattern, answer, methods=("GET",), is_prediction=False, any_host=True, is_quiet=True)


def require_token(call: Call) -> None:
    """Raise the 401 where MLAPI_METRICS_TOKEN is set and the caller bears another."""
    wanted = settings.MLAPI_METRICS_TOKEN
    given = bearer(call.headers.get("Authorization", ""))
    if wanted and not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode()):
        raise HttpError(
            401, "metrics_token_needed", "The metrics need the token of MLAPI_METRICS_TOKEN as 'Authorization: Bearer'."
        ).with_header("WWW-Authenticate", "Bearer")
