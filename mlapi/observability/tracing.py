"""A span for each request, sent to an OpenTelemetry collector; needs requirements/otel.txt.

Where to, and how many: by OpenTelemetry's own variables, e.g. OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class Tracer:
    """Makes spans when requests have ended: nothing is carried through a prediction."""

    def __init__(self, service: str) -> None:
        """Send spans of `service`; made after the fork, for it keeps a thread."""
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ImproperlyConfigured(
                f"MLAPI_OTEL is on, and OpenTelemetry is not installed ({error}). "
                "Install it: python3 requirements/install.py .venv requirements/otel.txt"
            ) from error
        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are read by Resource.create.
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("mlapi")

    def span(
        self, headers: Mapping[str, str], name: str, *, seconds: float, failed: bool, attributes: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Record the request that took the last `seconds`; return its trace's and its own id."""
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
        """Send what is left."""
        self._provider.shutdown()
