"""The dashboards and alerts, and the metrics for CloudWatch."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import numpy as np
import yaml
from structlog.testing import capture_logs

from mlapi.observability.metrics import definitions
from mlapi.observability.metrics.emf import EmfExporter
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.snapshots import Snapshots
from models_registry.inference.runtime import Runtime, ServingSnapshot
from tests.mlapi.recorded import ROOT, record


def test_a_minute_is_reported_in_cloudwatch_s_form(tmp_path):
    runtime = Runtime()
    recorder = MetricsRecorder(runtime, Snapshots(tmp_path))
    report = EmfExporter(runtime, recorder, service="prod")
    runtime.snapshot = ServingSnapshot(desired={"m": 2, "idle": 1}, problems={"m": "it failed"})
    milliseconds = [0.05, 1.0, 1.0, 2.0, 1000.0, 90_000.0]
    for took in milliseconds:
        recorder.record(record(seconds=took / 1000))
    recorder.record(record(outcome="failed", rows=0))
    recorder.record(record(outcome="refused", rows=0))
    idle, line = map(json.loads, report.lines())
    directive = line["_aws"]["CloudWatchMetrics"][0]
    assert directive["Namespace"] == "mlapi"
    assert directive["Dimensions"] == [["Service", "Model"], ["Service"]]
    assert {item["Name"] for item in directive["Metrics"]} == {"Requests", "Errors", "LatencyMs", "ReplicaFailed"}
    assert all(item["Name"] in line for item in directive["Metrics"])
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 60
    assert (line["Service"], line["Model"]) == ("prod", "m")
    assert (line["Requests"], line["Errors"], line["ReplicaFailed"]) == (8, 1, 1)
    rate = line["_aws"]["CloudWatchMetrics"][1]
    assert (rate["Dimensions"], rate["Metrics"][0]["Name"]) == ([["Service"]], "FailurePercent")
    assert dict(zip(line["FailurePercent"]["Values"], line["FailurePercent"]["Counts"], strict=True)) == {0: 7, 100: 1}
    latency = line["LatencyMs"]
    assert (latency["Min"], latency["Max"], latency["Count"]) == (0.05, 90_000.0, 6)
    assert sum(latency["Counts"]) == 6
    assert len(latency["Values"]) == len(latency["Counts"]) <= 100
    assert all(latency["Min"] <= value <= latency["Max"] for value in latency["Values"])
    assert (idle["Model"], idle["Requests"], idle["ReplicaFailed"]) == ("idle", 0, 0)
    assert "FailurePercent" not in idle
    assert "LatencyMs" not in idle
    assert json.loads(report.lines()[1])["Requests"] == 0, "the next minute begins at nothing"


def test_a_minute_never_has_more_values_than_cloudwatch_takes(tmp_path):
    runtime = Runtime()
    recorder = MetricsRecorder(runtime, Snapshots(tmp_path))
    report = EmfExporter(runtime, recorder, service="s")
    for took in np.geomspace(1e-6, 1e4, 4000):
        recorder.record(record(seconds=float(took)))
    (line,) = map(json.loads, report.lines())
    assert 50 < len(line["LatencyMs"]["Values"]) <= 100


def test_full_standard_output_is_logged_once(tmp_path):
    runtime = Runtime()
    recorder = MetricsRecorder(runtime, Snapshots(tmp_path))
    runtime.snapshot = ServingSnapshot(desired={"m": 2, "n": 1})
    output = os.dup(1)
    with Path("/dev/full").open("wb") as full, capture_logs() as logs:
        os.dup2(full.fileno(), 1)
        try:
            exporter = EmfExporter(runtime, recorder, service="s")
            exporter.start()
            exporter.stop()
        finally:
            os.dup2(output, 1)
            os.close(output)
    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("emf_not_written", "[Errno 28] No space left on device")
    ]


def exposed() -> dict[str, set[str]]:
    """Return the labels of each series that the service can expose."""
    found = {}
    for metric in definitions.COUNTERS:
        found[f"{metric.name}_total"] = set(metric.labels)
    for metric in definitions.HISTOGRAMS:
        found[f"{metric.name}_bucket"] = {*metric.labels, "le"}
        if metric.buckets[0] >= 0:  # a sum that may fall is none to take a rate of
            found[f"{metric.name}_sum"] = found[f"{metric.name}_count"] = set(metric.labels)
    for metric in definitions.GAUGES:
        found[metric.name] = set(metric.labels)
    return found


def check_promql(expression: str) -> None:
    """Fail where an expression is torn, or asks for a metric or label that there is not."""
    for left, right in ("()", "{}", "[]"):
        assert expression.count(left) == expression.count(right), expression
    names = re.findall(r"mlapi_[a-z_]+", expression)
    assert names, expression
    labels = {"instance"}.union(*(exposed()[name] for name in names))
    for group in re.findall(r"\b(?:by|ignoring|without) \(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",")} <= labels, expression
    for selector in re.findall(r"(mlapi_[a-z_]+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector[1])) <= exposed()[selector[0]], expression


def test_the_dashboard_loads_and_asks_for_what_there_is():
    snapshot = json.loads((ROOT / "ops" / "grafana-dashboard.json").read_text())
    assert snapshot["title"]
    identifiers = [panel["id"] for panel in snapshot["panels"]]
    assert len(set(identifiers)) == len(identifiers) >= 10
    for panel in snapshot["panels"]:
        for target in panel["targets"]:
            check_promql(target["expr"])
    shown = " ".join(target["expr"] for panel in snapshot["panels"] for target in panel["targets"])
    missing = {metric.name for metric in definitions.ALL if metric.name not in shown} - {"mlapi_workers"}
    assert not missing, "a metric without an alert"


def test_the_alerts_load_and_ask_for_what_there_is():
    (group,) = yaml.safe_load((ROOT / "ops" / "alerts.yaml").read_text())["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for rule in group["rules"]:
        check_promql(rule["expr"])
        assert re.fullmatch(r"\d+[mhd]", rule["for"])
        assert rule["annotations"].keys() == {"summary", "next"}
        assert rule["labels"]["severity"] in {"page", "warn"}
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert re.search(rf"\b{label}\b", rule["expr"]), rule["alert"]
