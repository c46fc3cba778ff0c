"""Records each request: its log line, its metrics, and its span."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from mlapi.observability import logging
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.records import Record, outcome_of
from mlapi.request_settings import request_settings

if TYPE_CHECKING:
    from mlapi.endpoint import Endpoint
    from mlapi.observability.tracing import Tracer
    from mlapi.protocols.base import Reply

MAX_LOGGED_BODY_BYTES = 64_000
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}.*")


def observe(
    endpoint: Endpoint,
    method: str,
    headers: Mapping[str, str],
    reply: Reply,
    *,
    request_id: str,
    seconds: float,
    key: str,
    body: bytes,
    recorder: MetricsRecorder,
    tracer: Tracer | None = None,
) -> None:
    """Count the request, send its span if there is a `tracer`, and write its log line."""
    stats = reply.stats
    recorder.record(
        Record(
            stats.model,
            "" if stats.version is None else str(stats.version),
            endpoint.protocol,
            outcome_of(reply.status),
            seconds,
            stats.waiting_seconds,
            stats.model_seconds,
            stats.rows,
            stats.call_rows,
            stats.kind,
            stats.predictions,
            stats.error,
        )
    )
    fields: dict[str, Any] = {
        "id": request_id,
        "route": endpoint.name,
        "protocol": endpoint.protocol,
        "model": stats.model,
        "version": stats.version,
        "status": reply.status,
        "ms": round(seconds * 1000, 3),
        "rows": stats.rows,
    }
    if reply.code:
        fields["code"] = reply.code
    if key:
        fields["key"] = key
    if body:
        fields["inputs"] = _inputs(body)
    if tracer is None:
        _add_trace(fields, headers.get("traceparent", ""))
    else:
        fields["trace_id"], fields["span_id"] = _span(tracer, endpoint, method, headers, reply, seconds=seconds)
    if reply.status >= 400 or _is_sampled(request_settings().log_sample_percent):
        logging.write_line("request", fields)


def _is_sampled(percent: float) -> bool:
    """Return whether a successful request is logged, by the sampling rate; failed requests always are."""
    return percent >= 100 or random.random() * 100 < percent  # noqa: S311


def observe_api(
    *,
    trace_parent: str,
    request_id: str,
    route: str,
    method: str,
    status: int,
    model: str,
    user: str,
    seconds: float,
) -> None:
    """Write the log line of a request to the registry's API."""
    fields: dict[str, Any] = {
        "id": request_id,
        "route": route,
        "protocol": "registry",
        "method": method,
        "model": model,
        "user": user,
        "status": status,
        "ms": round(seconds * 1000, 3),
    }
    _add_trace(fields, trace_parent)
    logging.write_line("request", fields)


def _add_trace(fields: dict[str, Any], given: str) -> None:
    """Add the client's trace to the log line if the request has a W3C traceparent."""
    if given:
        found = TRACEPARENT.fullmatch(given)
        if found:
            fields["trace_id"], fields["span_id"] = found.groups()


def _span(
    tracer: Tracer, endpoint: Endpoint, method: str, headers: Mapping[str, str], reply: Reply, *, seconds: float
) -> tuple[str, str]:
    stats = reply.stats
    attributes = {
        "http.method": method,
        "http.response.status_code": reply.status,
        "mlapi.protocol": endpoint.protocol,
        "mlapi.model": stats.model or None,
        "mlapi.version": stats.version,
        "mlapi.rows": stats.rows,
        "mlapi.waiting_ms": stats.waiting_seconds * 1000,
        "mlapi.model_ms": stats.model_seconds * 1000,
    }
    failed = reply.status >= 500
    return tracer.span(headers, endpoint.name, seconds=seconds, failed=failed, attributes=attributes)


def _inputs(body: bytes) -> Any:
    """Return the request body as JSON if it is small JSON; else a text with its size."""
    if len(body) <= MAX_LOGGED_BODY_BYTES:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            return f"{len(body)} bytes, not JSON"
    return f"{len(body)} bytes"
