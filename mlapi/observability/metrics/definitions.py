"""Every metric: name, meaning, labels, buckets."""

from __future__ import annotations

from dataclasses import dataclass

from models_registry.monitoring.buckets import SECONDS, VALUES

ROWS = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 5000.0, 10000.0, 100000.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; with `buckets` it is a histogram."""

    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


_VERSION = ("model", "version")

REQUESTS = Metric(
    "mlapi_requests",
    "Requests by outcome: success, refused (the caller's mistake), unauthorized, limited, left, unavailable, failed.",
    (*_VERSION, "protocol", "outcome"),
)
ROWS_PREDICTED = Metric("mlapi_rows", "Rows predicted.", _VERSION)
TOTAL_SECONDS = Metric(
    "mlapi_request_seconds", "Time of an answered prediction, from first to last.", _VERSION, SECONDS
)
WAITING_SECONDS = Metric(
    "mlapi_waiting_seconds", "Of it: waiting for a place and for the model, busy with others' rows.", _VERSION, SECONDS
)
MODEL_SECONDS = Metric("mlapi_model_seconds", "Of it: the model's own.", _VERSION, SECONDS)
CALL_ROWS = Metric(
    "mlapi_model_call_rows", "Rows in one call of the model, several requests' together.", _VERSION, ROWS
)
CLASSES = Metric("mlapi_predictions", "Predictions by class.", (*_VERSION, "prediction"))
PREDICTED_VALUES = Metric("mlapi_prediction_value", "Predicted numbers.", _VERSION, VALUES)
MODEL_ERRORS = Metric(
    "mlapi_model_errors",
    "Requests that the model failed at, by kind: exception, not_finite, out_of_memory, worker_lost.",
    (*_VERSION, "kind"),
)
SWAPS = Metric("mlapi_swaps", "Versions swapped in by this machine's workers.", ("model",))
LOAD_FAILURES = Metric("mlapi_load_failures", "Attempts to load a version that failed.", ("model",))

LOGGED_ROWS = Metric("mlapi_logged_rows", "Rows of the prediction log: written, dropped.", (*_VERSION, "outcome"))
GROUND_TRUTH_ROWS = Metric("mlapi_ground_truth_rows", "Labels of ground truth: written, dropped.", ("model", "outcome"))
SHADOW_ROWS = Metric(
    "mlapi_shadow_rows",
    "Rows copied for a shadow, by what became of them: agreed, differed, error, dropped.",
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
MODEL_WORKERS = Metric("mlapi_model_workers", "Workers by what they do about a version.", (*_VERSION, "state"))
TRAFFIC = Metric(
    "mlapi_traffic_percent", "Share of a model's requests that a version answers while traffic is split.", _VERSION
)
RESIDENT_BYTES = Metric("mlapi_worker_resident_bytes", "Memory that a worker occupies.", ("pid",))
REGISTRY_READ = Metric(
    "mlapi_registry_read_timestamp_seconds", "When the worker that is furthest behind read the registry.", ()
)
GAUGES = (WORKERS, MODEL_WORKERS, TRAFFIC, RESIDENT_BYTES, REGISTRY_READ)
# The workers' lowest value is told; of the other gauges their sum.
LOWEST = {TRAFFIC.name, REGISTRY_READ.name}
ALL = (*COUNTERS, *HISTOGRAMS, *GAUGES)
