"""KServe's protocol V1, CORS, byte order marks, extra features and slashes: what other clients send."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from django.core.exceptions import ImproperlyConfigured
from sklearn.linear_model import LogisticRegression

from mlapi import environment
from mlapi.http.messages import response_head
from mlapi.protocols.base import Reply
from tests.support.estimators import constant

APP = "https://app.example.com"
MARK = b"\xef\xbb\xbf"


@pytest.fixture
def named(load):
    frame = pd.DataFrame({"x": [0.0, 1, 2, 3], "y": [0.0, 1, 0, 1]})
    load(LogisticRegression().fit(frame, ["a", "b", "a", "b"]), number=3)


@pytest.mark.parametrize("address", ["/v1/models/m:predict", "/v1/models/m/versions/3:predict"])
def test_kserve_v1_predicts(host, named, address):
    for body in (
        {"instances": [[0, 0], [1, 1]]},
        {"instances": [{"y": 0, "x": 0}, {"x": 1, "y": 1}], "signature_name": "serving_default"},
        {"inputs": {"x": [0, 1], "y": [0, 1]}},
        {"instances": [{"y": 0, "x": 0, "z": 5}, {"x": 1, "y": 1}], "ignore_extra": True},
    ):
        answer = host.post(address, body, **{"Content-Type": "application/x-www-form-urlencoded"})
        assert (answer.status, answer.json) == (200, {"predictions": ["a", "b"]})
        assert answer.headers["x-model-version"] == "3"
    asked = host.post(address, {"instances": [[0, 0]], "probabilities": True}).json
    assert asked["probabilities"][0].keys() == {"a", "b"}


def test_kserve_v1_lists_its_models(host, named):
    assert host.get("/v1/models").json == {"models": ["m"]}
    assert host.get("/v1/models/m").json == {"name": "m", "ready": True}


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        ("/v1/models/x:predict", {"instances": [[0, 0]]}, (404, "No model called 'x'")),
        ("/v1/models/m/versions/4:predict", {"instances": [[0, 0]]}, (404, "Version 4")),
        ("/v1/models/m:predict", {"rows": [[0, 0]]}, (400, "'instances'")),
        ("/v1/models/m:predict", {"instances": [[0, 0]], "inputs": [[0, 0]]}, (400, "'instances'")),
        ("/v1/models/m:predict", {"instances": [[0]]}, (400, "expected 2 features")),
        ("/v1/models/m:predict", {"instances": [[0, 0]], "rows": 1}, (400, "Unknown field 'rows'")),
    ],
)
def test_kserve_v1_refuses_in_its_own_form(host, named, path, body, refusal):
    status, words = refusal
    answer = host.post(path, body)
    assert answer.status == status
    assert answer.json.keys() == {"error"}
    assert words in answer.json["error"]


def test_a_byte_order_mark_before_json_is_accepted(host, named):
    row = {"x": 0, "y": 0}
    tensors = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [0, 0]}]}
    bodies = {
        "/predict": {"features": row},
        "/invocations": {"dataframe_records": [row]},
        "/v1/models/m:predict": {"instances": [row]},
        "/v2/models/m/infer": tensors,
    }
    for path, body in bodies.items():
        assert host.post(path, MARK + json.dumps(body).encode()).status == 200, path
    assert host.post("/invocations", MARK + b'{"inputs": [[NaN, 0]]}').status == 400
    twice = host.post("/predict", MARK + b'{"features": {"x": 1, "x": 2, "y": 0}}')
    assert twice.json["code"] == "duplicate_key"
    assert host.post("/predict", MARK).json["code"] == "invalid_json"


def test_extra_features_are_ignored_on_request(host, named):
    row = {"x": 0, "y": 0, "id": "k1"}
    for body in ({"features": row}, {"instances": [row, {"x": 0, "y": 0}]}):
        assert host.post("/predict", body).json["code"] == "unknown_feature"
        assert host.post("/predict", body | {"ignore_extra": False}).status == 400
        assert host.post("/predict", body | {"ignore_extra": True}).status == 200
    missing = host.post("/predict", {"features": {"x": 0, "id": 1}, "ignore_extra": True})
    assert missing.json["code"] == "missing_feature"
    assert host.post("/predict", {"features": row, "ignore_extra": 1}).json["code"] == "invalid_field"
    many = host.post("/predict", {"instances": [row] * 2000, "ignore_extra": True})
    assert len(many.json["predictions"]) == 2000
    columns = [{"name": name, "shape": [1], "datatype": "FP64", "data": [0]} for name in ("x", "z", "y")]
    assert host.post("/v2/models/m/infer", {"inputs": columns}).status == 400
    infer = {"inputs": columns, "parameters": {"ignore_extra": True}}
    assert host.post("/v2/models/m/infer", infer).json["outputs"][0]["data"] == ["a"]


def preflight(host, path="/predict", origin=APP, **headers):
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", **headers}
    return host.request("OPTIONS", path, headers=asked)


@pytest.mark.parametrize(("status", "is_told"), [(204, False), (304, False), (200, True)])
def test_only_responses_with_a_body_tell_its_length(status, is_told):
    assert ("content-length" in response_head(Reply(status, b""))) == is_told


@pytest.mark.parametrize("path", ["/predict", "/models/m/predict", "/invocations", "/v1/models/m:predict"])
def test_pages_of_an_allowed_origin_may_call(host, named, settings, path):
    settings.MLAPI_CORS_ORIGINS = ["https://other.example.com", APP]
    settings.MLAPI_REQUIRE_API_KEY = True
    answer = preflight(host, path)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert "X-API-Key" in answer.headers["access-control-allow-headers"]
    assert answer.headers["vary"] == "Origin"
    # An error is for the page to read, too.
    refused = host.post(path, {}, Origin=APP)
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == APP
    assert "X-Model-Version" in refused.headers["access-control-expose-headers"]


def test_pages_of_any_origin_may_call_with_a_star(host, named, settings):
    settings.MLAPI_CORS_ORIGINS = ["*"]
    assert preflight(host, origin="https://anywhere.example").headers["access-control-allow-origin"] == "*"
    answer = host.post("/predict", {"features": [0, 0]}, Origin=APP)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")


@pytest.mark.parametrize("origins", [[], [APP]])
def test_pages_of_other_origins_are_told_nothing(host, named, settings, origins):
    settings.MLAPI_CORS_ORIGINS = origins
    answer = preflight(host, origin="https://evil.example.com")
    assert answer.status == 405
    assert "access-control-allow-origin" not in answer.headers
    answer = host.post("/predict", {"features": [0, 0]}, Origin=f"{APP}.evil.example")
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


def test_metrics_are_for_no_page(host, settings):
    settings.MLAPI_CORS_ORIGINS = ["*"]
    assert "access-control-allow-origin" not in host.request("GET", "/metrics", headers={"Origin": APP}).headers


@pytest.mark.parametrize("value", ["app.example.com", "https://app.example.com/", "https://*.example.com", "null"])
def test_a_wrong_origin_is_an_error_at_start(monkeypatch, value):
    monkeypatch.setenv("MLAPI_CORS_ORIGINS", f"{APP}, {value}")
    with pytest.raises(ImproperlyConfigured, match="expected origins without a path"):
        environment.origins("MLAPI_CORS_ORIGINS")


def test_a_list_of_origins_is_read(monkeypatch):
    monkeypatch.setenv("MLAPI_CORS_ORIGINS", f"{APP.upper()}, http://localhost:3000,*")
    assert environment.origins("MLAPI_CORS_ORIGINS") == [APP, "http://localhost:3000", "*"]


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("/predict/", "/predict"),
        ("/models/m/predict/", "/models/m/predict"),
        ("/invocations/", "/invocations"),
        ("/v1/models/m:predict/", "/v1/models/m:predict"),
        ("/v2/models/m/infer/", "/v2/models/m/infer"),
        ("/api/models/", "/api/models"),
    ],
)
def test_a_slash_too_many_is_named(host, load, path, other):
    load(constant(1))
    answer = host.post(path, {"features": [0, 0]})
    assert answer.status == 404
    assert other in answer.json["error"]
    assert "slash" in answer.json["error"] or answer.json["expected"] == other


def test_an_address_that_is_nowhere_gets_no_hint(host):
    assert "expected" not in host.get("/nowhere/").json
