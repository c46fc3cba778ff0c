"""Every metric: name, help text, labels, buckets."""

from __future__ import annotations

from dataclasses import dataclass

from models_registry.monitoring.buckets import SECONDS, VALUES

# Upper bounds of the buckets of rows in a call.
ROWS = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 5000.0, 10000.0, 100000.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; a histogram if it has `buckets`."""

    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


_VERSION = ("model", "version")

REQUESTS = Metric(
    "mlapi_requests",
    "Requests by outcome: success, refused (the client's mistake), unauthorized, limited, left, unavailable, failed.",
    (*_VERSION, "protocol", "outcome"),
)
ROWS_PREDICTED = Metric("mlapi_rows", "Rows predicted.", _VERSION)
TOTAL_SECONDS = Metric("mlapi_request_seconds", "Total duration of a successful prediction.", _VERSION, SECONDS)
WAITING_SECONDS = Metric(
    "mlapi_waiting_seconds",
    "Part of mlapi_request_seconds: waiting for a slot, and for the model while it computes other requests' rows.",
    _VERSION,
    SECONDS,
)
MODEL_SECONDS = Metric(
    "mlapi_model_seconds", "Part of mlapi_request_seconds: the model's computation.", _VERSION, SECONDS
)
CALL_ROWS = Metric("mlapi_model_call_rows", "Rows in one call of the model, from one or more requests.", _VERSION, ROWS)
CLASSES = Metric("mlapi_predictions", "Predictions by class.", (*_VERSION, "prediction"))
PREDICTED_VALUES = Metric("mlapi_prediction_value", "Predicted numbers.", _VERSION, VALUES)
MODEL_ERRORS = Metric(
    "mlapi_model_errors",
    "Requests on which the model failed, by kind: exception, not_finite, out_of_memory, worker_lost.",
    (*_VERSION, "kind"),
)
SWAPS = Metric("mlapi_swaps", "Versions that this machine's workers swapped in.", ("model",))
LOAD_FAILURES = Metric("mlapi_load_failures", "Failed attempts to load a version.", ("model",))

LOGGED_ROWS = Metric("mlapi_logged_rows", "Rows of the prediction log: written, dropped.", (*_VERSION, "outcome"))
GROUND_TRUTH_ROWS = Metric("mlapi_ground_truth_rows", "Labels of ground truth: written, dropped.", ("model", "outcome"))
SHADOW_ROWS = Metric(
    "mlapi_shadow_rows",
    "Rows copied for a shadow, by outcome: agreed, differed, error, dropped.",
    (*_VERSION, "outcome"),
)
COUNTED_ROWS = Metric(
    "mlapi_counted_rows", "Rows for the histograms of the features: counted, dropped.", (*_VERSION, "outcome")
)

COUNTERS = (
    REQUESTS,
    ROWS_PREDICTED,
    MODEL_ERRORS,
    CLASSES,
    SWAPS,
    LOAD_FAILURES,
    LOGGED_ROWS,
    SHADOW_ROWS,
    COUNTED_ROWS,
    GROUND_TRUTH_ROWS,
)
HISTOGRAMS = (TOTAL_SECONDS, WAITING_SECONDS, MODEL_SECONDS, CALL_ROWS, PREDICTED_VALUES)

WORKERS = Metric("mlapi_workers", "Serving worker processes of this machine.", ())
MODEL_WORKERS = Metric("mlapi_model_workers", "Workers by their state for a version.", (*_VERSION, "state"))
TRAFFIC = Metric(
    "mlapi_traffic_percent", "Share of a model's requests that a version answers while traffic is split.", _VERSION
)
RESIDENT_BYTES = Metric("mlapi_worker_resident_bytes", "Resident memory of a worker.", ("pid",))
REGISTRY_READ = Metric(
    "mlapi_registry_read_timestamp_seconds", "Oldest time at which a worker last read the registry.", ()
)
GAUGES = (WORKERS, MODEL_WORKERS, TRAFFIC, RESIDENT_BYTES, REGISTRY_READ)
# The lowest value of the workers is reported; other gauges are summed.
LOWEST = {TRAFFIC.name, REGISTRY_READ.name}
ALL = (*COUNTERS, *HISTOGRAMS, *GAUGES)
