"""The log: one line a request, readable by machines and on a terminal, nothing of the inputs unless asked for."""

from __future__ import annotations

import gzip
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlapi import replica
from mlapi.http import process
from mlapi.observability import logging
from mlapi.observability.tracing import Tracer
from models_registry.inference.api_key_cache import ApiKeyCache, HeldKey
from models_registry.services.api_keys import digest_of_key
from tests.support.estimators import constant

ROOT = Path(__file__).resolve().parents[2]
ROW = {"features": [0.123456, 7]}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.fixture
def lines(capfd):
    """Return a function that gives the request lines written since the last time."""
    capfd.readouterr()

    def read():
        written = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
        return [line for line in written if line["event"] == "request"]

    return read


def test_request_is_one_descriptive_line(host, load, lines):
    load(constant(1), name="a", number=3)
    host.post("/models/a/predict", {"instances": [[0, 0], [1, 1]]}, **{"X-Request-ID": "mine"})
    (line,) = lines()
    assert line | {"ms": 0, "timestamp": ""} == {
        "id": "mine",
        "route": "predict-model",
        "protocol": "native",
        "model": "a",
        "version": 3,
        "status": 200,
        "ms": 0,
        "rows": 2,
        "event": "request",
        "logger": "mlapi.access",
        "level": "info",
        "timestamp": "",
    }
    assert 0 < line["ms"] < 60_000
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


def test_failures_are_logged_where_no_success_is(host, load, lines, settings):
    settings.MLAPI_LOG_SAMPLE_PERCENT = 0
    load(constant(1), name="a")
    host.post("/models/a/predict", ROW)
    host.post("/models/a/predict", {"features": [0]})
    assert [line["status"] for line in lines()] == [400]


def test_a_share_of_the_successes_is_logged(host, load, lines, settings):
    settings.MLAPI_LOG_SAMPLE_PERCENT = 50
    load(constant(1), name="a")
    for _ in range(60):
        host.post("/models/a/predict", ROW)
    assert 5 < len(lines()) < 55  # outside of it once in 10 ** 11 runs


def test_a_refused_request_says_why(host, load, lines):
    load(constant(1), name="a")
    host.post("/models/a/predict", {"features": [0]})
    (line,) = lines()
    assert (line["status"], line["model"], line["version"], line["rows"]) == (400, "a", 1, 0)
    assert line["code"]


def test_health_checks_write_no_line(host, load, lines):
    load(constant(1))
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        host.get(path)
    assert lines() == []


def test_inputs_are_logged_only_on_request(host, load, lines, settings):
    load(constant(1))
    host.post("/predict", ROW)
    assert "0.123456" not in json.dumps(lines())
    settings.MLAPI_LOG_FEATURES = True
    host.post("/predict", ROW)
    host.post("/predict", b"no json")
    host.post("/predict", {"instances": [[0, 0]] * 40_000})
    asked, torn, large = lines()
    assert asked["inputs"] == ROW
    assert torn["inputs"] == "7 bytes, not JSON"
    assert large["inputs"].endswith("bytes")


def test_the_key_is_named_by_its_prefix_alone(host, load, lines, settings):
    load(constant(1))
    settings.MLAPI_REQUIRE_API_KEY = True
    key = HeldKey(1, "shop", "mlapi_1234")
    replica.runtime.keys = ApiKeyCache({bytes.fromhex(digest_of_key("mlapi_1234_secret")): key})
    host.post("/predict", ROW, **{"X-API-Key": "mlapi_1234_secret"})
    replica.runtime.keys = None
    (line,) = lines()
    assert line["key"] == "mlapi_1234"
    assert "secret" not in json.dumps(line)


def test_the_caller_s_trace_is_carried_into_the_line(host, load, lines):
    load(constant(1))
    host.post("/predict", ROW, traceparent=f"00-{TRACE}-{SPAN}-01")
    host.post("/predict", ROW, traceparent="00-xyz")
    host.post("/predict", ROW)
    traced, wrong, none = lines()
    assert (traced["trace_id"], traced["span_id"]) == (TRACE, SPAN)
    assert "trace_id" not in wrong
    assert "trace_id" not in none


@pytest.mark.django_db
def test_registry_call_has_its_line_too(admin_client, lines):
    admin_client.get("/api/models/none", headers={"X-Request-ID": "mine", "traceparent": f"00-{TRACE}-{SPAN}-01"})
    (line,) = lines()
    assert line["id"] == "mine"
    assert (line["protocol"], line["method"], line["model"], line["status"]) == ("registry", "GET", "none", 404)
    assert (line["route"], line["user"], line["trace_id"]) == ("api-model", "admin", TRACE)


WRITE = """
import sys
from mlapi.observability import logging
logging.configure("auto")
import structlog
logging.write_line("request", {"id": "mine", "model": "digits", "status": 200})
structlog.get_logger("somewhere").info("activated", model="digits", version=2)
"""


def test_log_is_text_on_terminals_and_json_elsewhere():
    elsewhere = subprocess.run(
        [sys.executable, "-c", WRITE], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    request, event = map(json.loads, elsewhere.stderr.splitlines())
    assert (request["event"], request["id"]) == ("request", "mine")
    assert (event["event"], event["version"], event["level"]) == ("activated", 2, "info")
    assert request.keys() >= {"timestamp", "level", "logger"}
    terminal, end = pty.openpty()
    subprocess.run([sys.executable, "-c", WRITE], cwd=ROOT, stderr=end, timeout=60, check=True)
    os.close(end)
    shown = os.read(terminal, 65_536).decode()
    os.close(terminal)
    assert "mine" in shown
    assert "activated" in shown
    assert not shown.startswith("{")


def test_a_prediction_is_answered_although_nobody_takes_the_log(host, load):
    load(constant(1))
    kept = os.dup(2)
    os.close(2)
    try:
        assert host.post("/predict", ROW).status == 200
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_long_line_survives_signals_whole(tmp_path):
    reading, writing = os.pipe()
    with (tmp_path / "log").open("wb") as log:
        reader = subprocess.Popen(["sh", "-c", "sleep 0.5; exec cat"], stdin=reading, stdout=log)
    os.close(reading)
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    kept = os.dup(2)
    os.dup2(writing, 2)
    os.close(writing)
    interrupter = threading.Timer(0.2, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
    interrupter.start()
    try:
        logging.write_line("request", {"inputs": "x" * 500_000})  # more than a pipe takes at once
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        interrupter.join()
        signal.signal(signal.SIGUSR1, before)
    assert reader.wait(30) == 0
    assert len(json.loads((tmp_path / "log").read_text())["inputs"]) == 500_000


class Collector(BaseHTTPRequestHandler):
    """Takes traces as an OpenTelemetry collector does."""

    spans: list = []

    def do_POST(self):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            name = next(item.value.string_value for item in resource.resource.attributes if item.key == "service.name")
            self.spans += [(name, span) for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def tracer():
    """Return a tracer that sends to a collector on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    Collector.spans.clear()
    process.pipeline.tracer = Tracer("prod")
    yield process.pipeline.tracer
    process.pipeline.tracer = None
    del os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
    server.shutdown()
    server.server_close()


def test_a_span_for_each_request_reaches_the_collector(host, load, lines, tracer):
    load(constant(1), name="a", number=3)
    host.post("/predict", {"instances": [[0, 0], [1, 1]]}, traceparent=f"00-{TRACE}-{SPAN}-01")
    host.post("/predict", {"features": [0]})
    tracer.stop()
    first, second = lines()
    (service, child), (_, alone) = Collector.spans
    assert (service, child.name) == ("prod", "predict")
    assert (child.trace_id.hex(), child.parent_span_id.hex()) == (TRACE, SPAN)
    assert (first["trace_id"], first["span_id"]) == (TRACE, child.span_id.hex())
    assert (second["trace_id"], second["span_id"]) == (alone.trace_id.hex(), alone.span_id.hex())
    told = {item.key: item.value for item in child.attributes}
    assert told["mlapi.model"].string_value == "a"
    assert told["mlapi.version"].int_value == 3
    assert told["mlapi.rows"].int_value == 2
    assert told["http.response.status_code"].int_value == 200
    assert 0 < child.end_time_unix_nano - child.start_time_unix_nano < 60e9


REFUSED = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "mlapi.settings"
import django
django.setup()
from django.test import Client
client = Client(raise_request_exception=False)
client.get("/admin/login/", headers={"Host": "elsewhere"})
"""


def test_what_django_refuses_is_logged_without_a_traceback(tmp_path):
    environment = {**os.environ, "MLAPI_VAR": str(tmp_path), "MLAPI_LOG_FORMAT": "json"}
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "django.security.DisallowedHost" in done.stderr
    assert "Traceback" not in done.stderr
