"""Two versions of a model at once: which of them answers a request, and how the answer says so."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mlapi import replica
from mlapi.observability import access_log
from models_registry.inference.batching import UnbatchedPredictor
from models_registry.inference.routing import TrafficSplit, version_key
from tests.support.estimators import constant

pytestmark = pytest.mark.django_db
BODY = b'{"features": [0, 0]}'
PROTOCOLS = [
    ("/predict", BODY, lambda body: body["version"]),
    ("/models/m/predict", BODY, lambda body: body["version"]),
    ("/models/m/invocations", b'{"instances": [[0, 0]]}', lambda body: int(body["predictions"][0])),
    ("/v1/models/m:predict", b'{"instances": [[0, 0]]}', lambda body: int(body["predictions"][0])),
    (
        "/v2/models/m/infer",
        json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [0, 0]}]}).encode(),
        lambda body: int(body["model_version"]),
    ),
]


@pytest.fixture
def split(load):
    """Serve version 7, with version 8 beside it, each answering its number; return a function that sets the share."""
    candidate = load(constant(8), "m", 8)
    load(constant(7), "m", 7)
    snapshot = replica.runtime.snapshot
    replica.runtime.snapshot = replace(snapshot, others={version_key("m", 8): candidate})

    def share(percent: float) -> TrafficSplit:
        made = TrafficSplit("m", 8, percent, "1:8")
        replica.runtime.snapshot = replace(replica.runtime.snapshot, splits={"m": made})
        return made

    return share


@pytest.mark.parametrize(("path", "body", "version_in"), PROTOCOLS, ids=[path for path, _, _ in PROTOCOLS])
def test_the_key_decides_in_every_protocol(host, split, path, body, version_in):
    takes = split(50).takes
    for number in range(12):
        answer = host.post(path, body, **{"X-Routing-Key": f"customer-{number}"})
        expected = 8 if takes(f"key customer-{number}") else 7
        assert (version_in(answer.json), answer.headers["x-model-version"]) == (expected, str(expected))


@pytest.mark.parametrize(
    ("headers", "scope", "key"),
    [
        ({"X-Routing-Key": "k", "X-API-Key": "secret"}, {}, "key k"),
        ({"X-API-Key": "secret"}, {}, "api-key secret"),
        ({"Authorization": "Bearer secret"}, {}, "api-key secret"),
        ({}, {"client": ("10.0.0.9", 1)}, "address 10.0.0.9"),
        ({}, {"client": ("10.0.0.9", 2)}, "address 10.0.0.9"),
    ],
    ids=["own key first", "API key", "bearer", "address", "another port"],
)
def test_a_caller_without_a_routing_key_is_kept_too(host, split, headers, scope, key):
    # Of two salts that decide otherwise, each is followed.
    for salt in ("a", "b", "c", "d"):
        made = replace(split(50), salt=salt)
        replica.runtime.snapshot = replace(replica.runtime.snapshot, splits={"m": made})
        answer = host.request("POST", "/predict", BODY, {"Content-Type": "application/json", **headers}, **scope)
        assert answer.json["version"] == (8 if made.takes(key) else 7)


@pytest.mark.parametrize("percent", [0, 100])
@pytest.mark.parametrize("case", PROTOCOLS[1:], ids=lambda case: case[0])
def test_requested_version_answers_whatever_the_split(host, split, case, percent):
    path, body, version_in = case
    split(percent)
    for number in (7, 8):
        assert version_in(host.post(path, body, **{"X-Model-Version": str(number)}).json) == number
        by_path = path.replace("/models/m", f"/models/m/versions/{number}")
        assert version_in(host.post(by_path, body).json) == number
        assert version_in(host.post(by_path, body, **{"X-Model-Version": str(number)}).json) == number


def test_unloaded_version_is_a_404_with_the_loaded_ones(host, split):
    split(10)
    for answer in (
        host.post("/predict", BODY, **{"X-Model-Version": "6"}),
        host.post("/models/m/versions/6/predict", BODY),
    ):
        assert (answer.status, answer.json["code"], answer.json["loaded"]) == (404, "version_not_loaded", [7, 8])
        assert "Versions 7, 8 are loaded." in answer.json["error"]


@pytest.mark.parametrize("value", ["8th", "0", "-1", "8.0", "1e1", "8, 7", "9" * 40, "٨"])
def test_header_neither_number_nor_alias_is_a_400(host, split, value):
    answer = host.post("/predict", BODY, **{"X-Model-Version": value.encode().decode("latin-1")})
    assert (answer.status, answer.json["code"]) == (400, "invalid_header")


def test_contradicting_path_and_header_are_a_400(host, split):
    answer = host.post("/models/m/versions/7/predict", BODY, **{"X-Model-Version": "8"})
    assert (answer.status, answer.json["code"]) == (400, "conflicting_versions")


def test_without_the_candidate_the_active_version_answers_all(host, split):
    split(100)
    replica.runtime.snapshot = replace(replica.runtime.snapshot, others={})
    assert host.post("/predict", BODY).json["version"] == 7


def test_another_model_is_not_split(host, split, load):
    split(100)
    load(constant(1), "n", 1)
    assert host.post("/models/n/predict", BODY).json["version"] == 1


def test_failed_request_counts_for_the_version_that_failed(host, split, monkeypatch):
    split(100)
    lines = []
    monkeypatch.setattr(access_log.logging, "write_line", lambda event, fields: lines.append(fields))
    assert host.post("/predict", b'{"features": [0]}').status == 400
    assert (lines[-1]["model"], lines[-1]["version"], lines[-1]["status"]) == ("m", 8, 400)


def test_each_version_is_called_in_its_own_form(host, split):
    """A compiled candidate beside a native active version answers inline, and the native one does not."""
    made = split(50)
    snapshot = replica.runtime.snapshot
    key = version_key("m", 8)
    compiled = replace(snapshot.others[key], predictor=UnbatchedPredictor(constant(8)), inline_max_bytes=8192)
    replica.runtime.snapshot = replace(snapshot, others={key: compiled})
    found = {host.post("/predict", BODY, **{"X-Routing-Key": str(number)}).json["version"] for number in range(20)}
    assert found == {8 if made.takes(f"key {number}") else 7 for number in range(20)} == {7, 8}


def test_the_metrics_tell_the_shares_and_the_loaded_versions(host, split):
    split(10)
    text = host.get("/metrics").body.decode()
    assert 'mlapi_traffic_percent{model="m",version="7"} 90.0' in text
    assert 'mlapi_traffic_percent{model="m",version="8"} 10.0' in text
    assert 'mlapi_model_workers{model="m",state="candidate",version="8"} 1.0' in text


def test_the_index_lists_both_versions(host, split):
    found = host.post("/v2/repository/index", {}).json
    assert [(item["version"], item["state"]) for item in found] == [("7", "READY"), ("8", "READY")]
