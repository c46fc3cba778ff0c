"""OpenTelemetry traces: a span for each request; needs requirements/otel.txt.

OpenTelemetry's own variables set the collector and the sampling, e.g. OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class Tracer:
    """Creates a span after a request has ended, so that tracing adds nothing to a prediction."""

    def __init__(self, service: str) -> None:
        """Send spans of `service`. Create it after the fork, because it starts a thread."""
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ImproperlyConfigured(
                f"MLAPI_OTEL is on, but OpenTelemetry is not installed ({error}). "
                "Install it: python3 requirements/install.py .venv requirements/otel.txt"
            ) from error
        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        # Resource.create reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("mlapi")

    def span(
        self, headers: Mapping[str, str], name: str, *, seconds: float, failed: bool, attributes: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Record a request that took `seconds` until now; return its trace id and span id."""
        ended = time.time_ns()
        carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        span = self._tracer.start_span(
            name,
            context=self._propagator.extract(carrier),
            kind=self._trace.SpanKind.SERVER,
            attributes={key: value for key, value in attributes.items() if value is not None},
            start_time=ended - int(seconds * 1e9),
        )
        if failed:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(ended)
        context = span.get_span_context()
        return self._trace.format_trace_id(context.trace_id), self._trace.format_span_id(context.span_id)

    def stop(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()
