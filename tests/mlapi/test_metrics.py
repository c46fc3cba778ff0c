"""The metrics: right across workers and models, cheap, and readable by those who watch."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sklearn.linear_model import LogisticRegression

from mlapi import replica
from mlapi.http.process import admission
from mlapi.observability.metrics import definitions
from mlapi.observability.metrics.exposition import expose
from mlapi.observability.metrics.recorder import MAX_RECORDS, MetricsRecorder
from mlapi.observability.metrics.records import MAX_CLASSES, OTHER, sum_up
from mlapi.observability.metrics.snapshots import Snapshot, Snapshots
from mlapi.observability.metrics.totals import Totals
from mlapi.observability.metrics.usage import usage_by_version
from models_registry.inference.runtime import Runtime, ServingSnapshot
from models_registry.monitoring.usage import Usage
from tests.mlapi.recorded import ROOT, record
from tests.support.estimators import constant, forest, save
from tests.support.waiting import eventually


def samples(text: str) -> dict[tuple[str, frozenset], float]:
    """Return the value of each sample by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of `name` that have these labels."""
    wanted = set(labels.items())
    return sum(value for (found, has), value in samples(text).items() if found == name and wanted <= has)


@pytest.fixture
def metrics(host):
    """Return a function that reads the metrics, as they grew since the test began."""
    before = samples(host.get("/metrics").body.decode())

    def read(name: str, **labels: str) -> float:
        wanted = set(labels.items())
        now = samples(host.get("/metrics").body.decode())
        return sum(
            value - before.get((found, has), 0)
            for (found, has), value in now.items()
            if found == name and wanted <= has
        )

    return read


def test_requests_count_by_model_version_protocol_and_outcome(host, load, metrics):
    load(constant(1), name="a", number=7)
    host.post("/predict", {"features": [0, 0]})
    host.post("/models/a/predict", {"instances": [[0, 0], [1, 1]]})
    host.post("/models/a/predict", {"features": [0]})
    host.post("/models/a/predict", b"{")
    host.get("/models/a/predict")
    asked = {"model": "a", "version": "7", "protocol": "native"}
    assert metrics("mlapi_requests_total", **asked, outcome="success") == 2
    assert metrics("mlapi_requests_total", **asked, outcome="refused") == 3
    assert metrics("mlapi_rows_total", model="a", version="7") == 3
    assert metrics("mlapi_request_seconds_count", model="a") == 2
    assert metrics("mlapi_model_seconds_count", model="a") == 2
    assert metrics("mlapi_waiting_seconds_count", model="a") == 2
    assert metrics("mlapi_model_call_rows_sum", model="a") == 3
    assert 0 < metrics("mlapi_model_seconds_sum", model="a") < metrics("mlapi_request_seconds_sum", model="a")


def test_waiting_for_a_slot_counts_as_waiting(host, load, metrics, monkeypatch):
    load(constant(1), name="a")
    monkeypatch.setattr(admission, "max_in_flight", 1)
    monkeypatch.setattr(admission, "queue_timeout_seconds", 20)
    held = asyncio.run(admission.acquire())
    timer = threading.Timer(0.5, held.release)
    eventually_waiting = threading.Thread(target=lambda: (eventually(lambda: admission.queued == 1), timer.start()))
    eventually_waiting.start()
    answer = host.post("/predict", {"features": [0, 0]})
    eventually_waiting.join()
    assert answer.json["processing_time_ms"] > 400
    assert 0.4 < metrics("mlapi_waiting_seconds_sum", model="a") < metrics("mlapi_request_seconds_sum", model="a")


def test_a_name_that_callers_made_up_is_no_label(host, load, metrics):
    load(constant(1))
    for name in ("nowhere", "x" * 300, "a\nb", 'a"b', "%00"):
        host.post(f"/models/{name}/predict", {"features": [0, 0]})
    text = host.get("/metrics").body.decode()
    assert "nowhere" not in text
    assert "xxx" not in text
    assert metrics("mlapi_requests_total", model="", outcome="refused") == 5


def test_a_v2_request_counts_under_its_protocol(host, load, metrics):
    load(constant(1), name="a")
    tensor = {"name": "input-0", "shape": [1, 2], "datatype": "FP64", "data": [0, 0]}
    assert host.post("/v2/models/a/infer", {"inputs": [tensor]}).status == 200
    assert metrics("mlapi_requests_total", model="a", protocol="v2", outcome="success") == 1
    assert metrics("mlapi_rows_total", model="a") == 1


def test_predictions_are_counted_by_class_or_into_a_histogram(host, load, metrics):
    rows = np.array([[0.0], [1], [2], [3]])
    load(LogisticRegression().fit(rows, ["low", "low", "high", "high"]), name="classes")
    load(constant(5), name="numbers")
    host.post("/models/classes/predict", {"instances": [[0], [0.1], [9]]})
    host.post("/models/classes/predict", {"features": [9]})
    host.post("/models/numbers/predict", {"instances": [[0, 0], [1, 1]]})
    assert metrics("mlapi_predictions_total", model="classes", prediction="low") == 2
    assert metrics("mlapi_predictions_total", model="classes", prediction="high") == 2
    assert metrics("mlapi_prediction_value_bucket", model="numbers", le="+Inf") == 2
    assert metrics("mlapi_prediction_value_bucket", model="numbers", le="3.0") == 0
    assert metrics("mlapi_prediction_value_bucket", model="numbers", le="10.0") == 2


def test_metrics_take_any_host_and_require_a_set_token(host, load, settings):
    load(constant(1))
    answer = host.request(
        "GET", "/metrics", headers={"Host": "localhost" if host.is_behind_django else "10.0.0.7:8000"}
    )
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    settings.MLAPI_METRICS_TOKEN = "scraper"
    for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer \udcff"}):
        refused = host.get("/metrics", **headers)
        assert (refused.status, refused.json["code"]) == (401, "metrics_token_needed")
    assert host.get("/metrics", Authorization="Bearer scraper").status == 200


def test_both_of_prometheus_s_formats_are_spoken(host, load):
    load(constant(1))
    open_metrics = host.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.body.endswith(b"# EOF\n")


def test_states_of_models_are_told(host, load):
    load(constant(1), name="a", number=1)
    snapshot = replica.runtime.snapshot
    replica.runtime.post(
        desired={**snapshot.desired, "a": 2, "b": 1, "c": 4}, problems={"a": "version 2 failed", "c": "x"}
    )
    text = host.get("/metrics").body.decode()
    rows = {
        (sample.labels["model"], sample.labels["version"], sample.labels["state"])
        for family in text_string_to_metric_families(text)
        if family.name == "mlapi_model_workers"
        for sample in family.samples
    }
    assert rows == {("a", "1", "serving"), ("a", "2", "failed"), ("b", "1", "loading"), ("c", "4", "failed")}
    assert total(text, "mlapi_worker_resident_bytes", pid=str(os.getpid())) > 10_000_000
    assert total(text, "mlapi_workers") == 1


def test_swaps_and_failures_are_counted():
    runtime = Runtime()
    runtime.load_failures["m"] += 2
    runtime.swaps["m"] += 3
    body, _ = expose([MetricsRecorder(runtime, Snapshots(Path("/nowhere"))).snapshot()])
    assert total(body.decode(), "mlapi_swaps_total", model="m") == 3
    assert total(body.decode(), "mlapi_load_failures_total", model="m") == 2


def test_bucket_includes_its_bound_and_last_takes_larger():
    totals = Totals()
    totals.observe(definitions.TOTAL_SECONDS, ("m", "1"), [0.0005, 0.00051, 30.0, 31.0])
    text = expose([Snapshot(totals)])[0].decode()

    def at(bound):
        return total(text, "mlapi_request_seconds_bucket", le=bound)

    assert (at("0.0005"), at("0.001"), at("10.0"), at("30.0"), at("+Inf")) == (1, 2, 2, 3, 4)
    assert total(text, "mlapi_request_seconds_sum") == pytest.approx(61.00101)


def test_classes_have_a_bound():
    totals = Totals()
    labels = np.array([f"class {number}" for number in range(500)])
    for part in (labels[:200], labels[200:], labels[:1]):
        sum_up([record(kind="clusterer", predictions=part, rows=len(part))], totals)
    series = totals.counters[definitions.CLASSES.name]
    assert len(series) == MAX_CLASSES + 1
    assert sum(series.values()) == 501
    assert series["m", "1", OTHER] >= 450


def test_what_has_no_one_distribution_is_left_out():
    totals = Totals()
    sum_up([record(predictions=np.zeros((2, 3))), record(predictions=None)], totals)
    assert totals.counters[definitions.CLASSES.name] == {}
    assert totals.histograms[definitions.PREDICTED_VALUES.name] == {}
    assert totals.counters[definitions.ROWS_PREDICTED.name] == {("m", "1"): 2}


def test_notes_are_summed_before_they_fill_memory(tmp_path):
    recorder, summed = MetricsRecorder(Runtime(), Snapshots(tmp_path)), []
    recorder.on_records = summed.extend
    for _ in range(10_000):
        recorder.record(record())
    assert len(summed) >= 10_000 - MAX_RECORDS
    recorder.record(record(rows=100_000, predictions=np.zeros(100_000)))
    assert len(summed) == 10_001


WORK = """
import sys
from pathlib import Path
from mlapi.observability.metrics.recorder import MAX_RECORDS, MetricsRecorder
from mlapi.observability.metrics.records import Record
from mlapi.observability.metrics.snapshots import Snapshots
from models_registry.inference.runtime import Runtime

recorder = MetricsRecorder(Runtime(), Snapshots(Path(sys.argv[1])))
recorder.start()
for _ in range(int(sys.argv[2])):
    recorder.record(Record("m", "1", "native", "success", 0.002, 0.0, 0.001, 1, 1, "regressor", None))
recorder.stop()
"""


def test_workers_add_up_and_ended_ones_stay_counted(tmp_path):
    snapshots = Snapshots(tmp_path)
    workers = [
        subprocess.Popen([sys.executable, "-c", WORK, str(tmp_path), requests], cwd=ROOT) for requests in ("10", "20")
    ]
    assert [worker.wait(30) for worker in workers] == [0, 0]
    recorder = MetricsRecorder(Runtime(), snapshots)
    recorder.record(record())
    text = expose(recorder.all_snapshots())[0].decode()
    assert total(text, "mlapi_requests_total") == 31
    assert total(text, "mlapi_workers") == 3
    for worker in workers:
        snapshots.retire(worker.pid)
        snapshots.retire(worker.pid)
    text = expose(recorder.all_snapshots())[0].decode()
    assert total(text, "mlapi_requests_total") == 31
    assert total(text, "mlapi_request_seconds_count") == 31
    assert total(text, "mlapi_workers") == 1
    snapshots.clear()
    assert total(expose(recorder.all_snapshots())[0].decode(), "mlapi_requests_total") == 1


def test_call_that_ended_with_its_worker_is_an_error(tmp_path, load):
    candidate = replace(load(constant(1), number=1), version_id=41)
    runtime = Runtime()
    runtime.snapshot = ServingSnapshot(models={candidate.name: candidate}, was_ready=True)
    snapshots = Snapshots(tmp_path)
    recorders = [MetricsRecorder(runtime, snapshots) for _ in range(2)]
    snapshots.leave_calls([41])
    snapshots.leave_calls([41, 999])
    for recorder in recorders:
        recorder.start()
        recorder.stop()
    found = [usage_by_version(recorder.totals()) for recorder in recorders]
    total = sum((one[candidate.name, 1] for one in found if one), Usage())
    assert (total.requests, total.attempts, total.errors) == (2, 2, {"worker_lost": 2})


def test_a_lost_call_waits_until_the_versions_are_loaded(tmp_path):
    runtime = Runtime()
    snapshots = Snapshots(tmp_path)
    snapshots.leave_calls([41])
    recorder = MetricsRecorder(runtime, snapshots)
    recorder.start()
    recorder.stop()
    assert snapshots.take_calls() == [41]


def test_a_worker_that_cannot_share_tells_its_own(tmp_path):
    (tmp_path / "file").write_text("")
    recorder = MetricsRecorder(Runtime(), Snapshots(tmp_path / "file" / "metrics"))
    recorder.record(record())
    assert total(expose(recorder.all_snapshots())[0].decode(), "mlapi_requests_total") == 1


# Across real workers


def text_of(service) -> str:
    """Return the metrics that one of the workers answers."""
    return service.get("/metrics")[1].decode()


@pytest.mark.any_database
def test_any_worker_tells_what_all_have_counted(new_service, tmp_path):
    service = new_service(WEB_WORKERS="2", MLAPI_EMF="on")
    service.add_ready("m", save(forest(seed=1), tmp_path / "model.joblib", rows=[[0, 0, 0, 0]]))
    service.start()
    eventually(lambda: total(text_of(service), "mlapi_workers") == 2, saying="both workers report")
    answered: Counter[int] = Counter()
    for _ in range(60):
        answered[service.post("/predict", {"features": [0, 0, 0, 0]})[0]] += 1
    assert answered == {200: 60}

    def counted() -> float:
        return total(text_of(service), "mlapi_requests_total", model="m", version="1", outcome="success")

    eventually(lambda: counted() == 60, saying="all requests in any worker's answer")
    seen = {counted() for _ in range(10)}
    assert seen == {60}
    os.kill(service.worker_pids()[0], 9)
    eventually(lambda: len(service.worker_pids()) == 2 and service.is_ready(), saying="the worker is replaced")
    eventually(lambda: total(text_of(service), "mlapi_workers") == 2, saying="both workers report")
    assert counted() == 60, "what the killed worker counted is kept"
    serving = {"model": "m", "version": "1", "state": "serving"}
    eventually(lambda: total(text_of(service), "mlapi_model_workers", **serving) == 2, saying="both have the model")
    text = text_of(service)
    assert total(text, "mlapi_swaps_total", model="m") >= 2
    assert math.isclose(total(text, "mlapi_rows_total"), 60)
    # The killed worker took its last minute along.
    assert service.post("/predict", {"features": [0, 0, 0, 0]})[0] == 200
    assert service.stop() == 0
    lines = [json.loads(line) for line in service.log().splitlines() if '"_aws"' in line]
    assert sum(line["Requests"] for line in lines if line["Model"] == "m") >= 1
