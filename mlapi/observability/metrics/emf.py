"""Metrics for CloudWatch: embedded metric format on standard output, one line per model and minute."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import structlog

from mlapi.observability.metrics.recorder import MetricsRecorder, model_states
from mlapi.observability.metrics.records import Record
from models_registry.agent.periodic import PeriodicThread
from models_registry.inference.runtime import Runtime

log = structlog.get_logger(__name__)

NAMESPACE = "mlapi"
MINUTE_SECONDS = 60.0
# CloudWatch accepts at most 100 distinct values per metric: 0.1 ms to over 60 s in steps of 15 %.
_BOUNDS_MS = 0.1 * 1.15 ** np.arange(98)
# Outcomes that count as errors.
_FAULTS = frozenset({"failed", "unavailable"})


@dataclass(slots=True)
class Minute:
    """A model's requests in the current minute."""

    requests: int = 0
    errors: int = 0
    # Successful predictions by the index of their latency's bucket in _BOUNDS_MS.
    buckets: Counter[int] = field(default_factory=Counter)
    lowest_ms: float = float("inf")
    highest_ms: float = 0.0
    sum_ms: float = 0.0


class EmfExporter:
    """Adds up requests for a minute, and writes the sums as a log line from which CloudWatch makes metrics."""

    def __init__(self, runtime: Runtime, recorder: MetricsRecorder, *, service: str) -> None:
        """Report `runtime`'s models under the name of `service`."""
        self._runtime = runtime
        self._service = service
        self._minutes: dict[str, Minute] = defaultdict(Minute)
        self._guard = threading.Lock()
        self._recorder = recorder
        self._is_writing = True
        self._thread = PeriodicThread("emf", self._write, seconds=MINUTE_SECONDS, last_step=self._write)
        recorder.on_records = self.take

    def start(self) -> None:
        """Report every minute from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Write the lines of the current minute, and stop."""
        self._thread.stop()

    def take(self, records: list[Record]) -> None:
        """Add requests to the current minute."""
        with self._guard:
            for record in records:
                minute = self._minutes[record.model]
                minute.requests += 1
                minute.errors += record.outcome in _FAULTS
                if record.outcome == "success" and record.rows:
                    took_ms = record.seconds * 1000
                    minute.buckets[int(np.searchsorted(_BOUNDS_MS, took_ms))] += 1
                    minute.lowest_ms = min(minute.lowest_ms, took_ms)
                    minute.highest_ms = max(minute.highest_ms, took_ms)
                    minute.sum_ms += took_ms

    def lines(self) -> list[bytes]:
        """Return one line for each model that is served or was requested, and start the next minute."""
        self._recorder.sum_up()
        with self._guard:
            minutes, self._minutes = self._minutes, defaultdict(Minute)
        states = model_states(self._runtime)
        failed = {name for name, _, state in states if state == "failed"}
        # Each pair of metric and dimensions is billed.
        names = sorted({name for name, _, state in states if state != "unloaded"} | set(minutes))
        return [
            orjson.dumps(self._line(name, minutes.get(name) or Minute(), is_failed=name in failed)) for name in names
        ]

    def _line(self, model: str, minute: Minute, *, is_failed: bool) -> dict[str, Any]:
        units = {"Requests": "Count", "Errors": "Count", "ReplicaFailed": "Count"}
        line: dict[str, Any] = {
            "Service": self._service,
            # Empty for a request without a model.
            "Model": model or "(none)",
            "Requests": minute.requests,
            "Errors": minute.errors,
            "ReplicaFailed": int(is_failed),
        }
        if minute.buckets:
            units["LatencyMs"] = "Milliseconds"
            line["LatencyMs"] = _histogram(minute)
        metrics = [{"Name": name, "Unit": unit} for name, unit in units.items()]
        directives = [{"Namespace": NAMESPACE, "Dimensions": [["Service", "Model"], ["Service"]], "Metrics": metrics}]
        if minute.requests:
            line["FailurePercent"] = _failures(minute)
            rate = [{"Name": "FailurePercent", "Unit": "Percent"}]
            # only for the service: each pair of metric and dimensions is billed
            directives.append({"Namespace": NAMESPACE, "Dimensions": [["Service"]], "Metrics": rate})
        return {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": directives}, **line}

    def _write(self) -> None:
        failure: OSError | None = None
        for line in self.lines():
            try:
                # One write per line: lines of several workers do not mix.
                os.write(1, line + b"\n")
            except OSError as error:
                # A full disk may refuse this line and accept the next one.
                failure = error
        self._note_writing(failure)

    def _note_writing(self, error: OSError | None) -> None:
        """Log once that standard output refuses lines, and once that it accepts them again."""
        if error is not None and self._is_writing:
            log.error("emf_not_written", reason=str(error), next="CloudWatch lacks metrics until this is corrected.")
        if error is None and not self._is_writing:
            log.info("emf_written_again")
        self._is_writing = error is None


def _failures(minute: Minute) -> dict[str, Any]:
    """Return a sample of 0 or 100 for each request: their average over all workers is a rate in percent."""
    counts = {0: minute.requests - minute.errors, 100: minute.errors}
    seen = {value: count for value, count in counts.items() if count}
    return {
        "Values": list(seen),
        "Counts": list(seen.values()),
        "Min": min(seen),
        "Max": max(seen),
        "Sum": 100 * minute.errors,
        "Count": minute.requests,
    }


def _histogram(minute: Minute) -> dict[str, Any]:
    pairs = sorted(minute.buckets.items())
    values = [round(min(max(_middle(index), minute.lowest_ms), minute.highest_ms), 4) for index, _ in pairs]
    return {
        "Values": values,
        "Counts": [count for _, count in pairs],
        "Min": round(minute.lowest_ms, 4),
        "Max": round(minute.highest_ms, 4),
        "Sum": round(minute.sum_ms, 4),
        "Count": sum(minute.buckets.values()),
    }


def _middle(index: int) -> float:
    """Return the value for a bucket: the geometric mean of its bounds."""
    upper = _BOUNDS_MS[min(index, len(_BOUNDS_MS) - 1)]
    return float(upper / 1.15**0.5)
