"""`GET /metrics`, for Prometheus."""

from __future__ import annotations

from mlapi.endpoint import Endpoint
from mlapi.observability.metrics.bounding import SeriesBound
from mlapi.observability.metrics.exposition import expose
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.protocols.base import Call, Reply
from models_registry.inference.runtime import Runtime


def metrics_endpoint(name: str, pattern: str, recorder: MetricsRecorder, bound: SeriesBound) -> Endpoint:
    """Return the route to the metrics of `recorder`, with the number of series limited by `bound`.

    It accepts any Host, since Prometheus uses IP addresses, and writes no log line.
    """

    def answer(call: Call, runtime: Runtime) -> Reply:
        """Return the metrics of all workers of this machine."""
        body, content_type = expose(bound.apply(recorder.all_snapshots()), accept=call.headers.get("Accept", ""))
        return Reply(200, body, content_type=content_type)

    return Endpoint(
        name,
        pattern,
        answer,
        methods=("GET",),
        is_prediction=False,
        any_host=True,
        is_quiet=True,
        is_internal=True,
    )
