"""Requests for models that are loaded at their first request."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace

import pytest

from mlapi import replica
from mlapi.observability.metrics.emf import EmfExporter
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.snapshots import Snapshots
from models_registry.inference.api_key_cache import ApiKeyCache, HeldKey
from models_registry.inference.on_demand import OnDemand
from models_registry.inference.runtime import ServingSnapshot
from models_registry.services.api_keys import digest_of_key
from tests.support.estimators import constant

ROW = {"features": [0, 0]}
TENSOR = {"inputs": [{"name": "input-0", "shape": [1, 2], "datatype": "FP64", "data": [0, 0]}]}


@pytest.fixture
def lazy(load, monkeypatch):
    """Serve the models a and b, version 1, on demand; return the names that were loaded, in order."""
    on_demand = OnDemand(wait_seconds=0.2)
    monkeypatch.setattr(replica.runtime, "on_demand", on_demand)
    replica.runtime.snapshot = ServingSnapshot(
        has_read_desired_state=True,
        was_ready=True,
        desired={"a": 1, "b": 1},
        on_demand=frozenset("ab"),
        default="a",
    )
    loaded: list[str] = []

    def wake() -> None:
        for name in on_demand.asked():
            loaded.append(name)
            load(constant(1), name=name)
            on_demand.end_wait(name)

    on_demand.wake = wake
    return loaded


PREDICTIONS = {
    "/predict": ROW,
    "/models/a/predict": ROW,
    "/models/a/versions/1/predict": ROW,
    "/invocations": {"inputs": [[0, 0]]},
    "/v1/models/a:predict": {"instances": [[0, 0]]},
    "/v2/models/a/infer": TENSOR,
}


@pytest.mark.parametrize("path", PREDICTIONS)
def test_a_prediction_has_its_model_loaded(host, lazy, path):
    assert host.post(path, PREDICTIONS[path]).status == 200
    assert lazy == ["a"]
    assert host.post(path, PREDICTIONS[path]).status == 200
    assert lazy == ["a"]


@pytest.mark.parametrize("path", ["/models/b", "/models/b/openapi.json", "/v2/models/b", "/v2/models/b/config"])
def test_a_description_has_its_model_loaded(host, lazy, path):
    assert host.get(path).status == 200
    assert lazy == ["b"]


@pytest.mark.parametrize("path", ["/v2/models/b/ready", "/v2/models/b/versions/1/ready", "/v1/models/b"])
def test_a_loadable_model_is_ready(host, lazy, path):
    assert (host.get(path).json["ready"], lazy) == (True, [])


@pytest.mark.parametrize("path", ["/v2/models/b/ready", "/v1/models/b"])
def test_a_model_whose_load_failed_is_not_ready(host, lazy, path):
    replica.runtime.post(problems={"b": "version 1 failed to load"})
    assert host.get(path).status == 503
    assert lazy == []


@pytest.mark.parametrize(
    "path", ["/health", "/health/ready", "/health/live", "/v2/health/ready", "/models", "/metrics"]
)
def test_what_names_no_model_loads_none(host, lazy, path):
    assert host.get(path).status == 200
    assert lazy == []


def test_the_state_is_told(host, lazy):
    host.post("/models/b/predict", ROW)
    assert host.get("/health/ready").json == {
        "status": "ready",
        "loaded": 1,
        "active": 2,
        "models": {"b": 1},
        "unloaded": 1,
    }
    assert host.get("/models").json["unloaded"] == {"a": 1}
    states = {entry["name"]: entry["state"] for entry in host.post("/v2/repository/index", {}).json}
    assert states == {"a": "UNAVAILABLE", "b": "READY"}
    assert host.get("/v1/models").json == {"models": ["a", "b"]}
    assert 'mlapi_model_workers{model="a",state="unloaded",version="1"} 1.0' in host.get("/metrics").body.decode()


def test_a_load_that_takes_too_long_is_a_503(host, lazy, monkeypatch):
    monkeypatch.setattr(replica.runtime.on_demand, "wake", lambda: None)
    answer = host.post("/models/a/predict", ROW)
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "not_loaded", "5")


def test_a_load_that_fails_says_why(host, lazy, monkeypatch):
    def fail() -> None:
        replica.runtime.post(problems={"a": "version 1 failed to load"})
        replica.runtime.on_demand.end_wait("a")

    monkeypatch.setattr(replica.runtime.on_demand, "wake", fail)
    for _ in range(2):
        answer = host.post("/models/a/predict", ROW)
        assert (answer.status, answer.json["code"]) == (503, "not_loaded")
        assert "version 1 failed to load" in answer.json["error"]
        assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize("drops", [1, 3])
def test_model_dropped_before_its_answer_is_reloaded(host, lazy, monkeypatch, drops):
    load_now = replica.runtime.on_demand.wake

    def load_and_drop() -> None:
        load_now()
        if len(lazy) <= drops:
            replica.runtime.drop("a")

    monkeypatch.setattr(replica.runtime.on_demand, "wake", load_and_drop)
    answer = host.post("/models/a/predict", ROW)
    assert (answer.status, lazy) == (200, ["a"] * (drops + 1))


def test_model_dropped_repeatedly_is_a_503(host, lazy, monkeypatch):
    load_now = replica.runtime.on_demand.wake

    def load_and_drop() -> None:
        load_now()
        replica.runtime.drop("a")

    monkeypatch.setattr(replica.runtime.on_demand, "wake", load_and_drop)
    answer = host.post("/models/a/predict", ROW)
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "not_loaded", "2")


def test_another_version_than_the_active_one_loads_nothing(host, lazy):
    answer = host.post("/models/a/versions/2/predict", ROW)
    assert (answer.status, answer.json["code"], lazy) == (404, "version_not_loaded", [])
    assert "Version 1 is loaded at its first request" in answer.json["error"]


def test_unknown_name_loads_nothing_and_names_served_models(host, lazy):
    answer = host.post("/models/nowhere/predict", ROW)
    assert (answer.status, answer.json["served"], lazy) == (404, ["a", "b"], [])


def test_where_keys_are_needed_only_a_prediction_loads(host, lazy, settings, monkeypatch):
    settings.MLAPI_REQUIRE_API_KEY = True
    key = HeldKey(id=1, name="shop", prefix="secret")
    monkeypatch.setattr(replica.runtime, "keys", ApiKeyCache({bytes.fromhex(digest_of_key("secret")): key}))
    assert host.post("/models/a/predict", ROW).status == 401
    described = host.get("/models/a")
    assert (described.status, described.json["code"], lazy) == (503, "not_loaded", [])
    assert "it is loaded at its next prediction" in described.json["error"]
    assert host.post("/models/a/predict", ROW, **{"X-API-Key": "secret"}).status == 200
    replica.runtime.key_uses.take()
    assert lazy == ["a"]


def test_an_unloaded_model_has_no_line_for_cloudwatch(lazy, load, tmp_path):
    recorder = MetricsRecorder(replica.runtime, Snapshots(tmp_path))
    exporter = EmfExporter(replica.runtime, recorder, service="s")
    assert exporter.lines() == []
    load(constant(1), name="b")
    assert [json.loads(line)["Model"] for line in exporter.lines()] == ["b"]


class Weighty:
    """A model that a test can follow into its end."""

    def __init__(self) -> None:
        self.inner = constant(1)
        self.n_features_in_ = 2

    def predict(self, rows):
        return self.inner.predict(rows)


def test_a_dropped_model_is_freed_after_its_description(host, lazy, load):
    model = Weighty()
    load(model, name="b", schema=load(constant(1), name="a").schema)
    followed = weakref.ref(model)
    del model
    assert host.get("/openapi.json").status == 200
    assert host.get("/models").status == 200
    snapshot = replica.runtime.snapshot
    replica.runtime.snapshot = replace(snapshot, models={"a": snapshot.models["a"]})
    del snapshot
    gc.collect()
    assert followed() is None
