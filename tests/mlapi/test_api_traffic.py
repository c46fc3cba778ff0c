"""The registry's API: canaries and shadows."""

from __future__ import annotations

import pytest
from django.utils import timezone

from models_registry import services
from models_registry.models import ModelVersion, ReplicaModel, State
from tests.mlapi.callers import Caller, replica_serving, version

pytestmark = pytest.mark.django_db


def test_a_canary_is_started_shown_promoted_and_ended(caller):
    schema = {"inputs": [{"name": "x0", "type": "float"}], "kind": "classifier"}
    for number in (1, 2, 3):
        version(number, schema=schema)
    caller.post("/api/models/digits/activate", {"version": 1})
    asked = {"candidate": 2, "percent": 10, "bake_minutes": 30, "guardrails": {"error_rate": 0.01, "label_shift": 0.2}}
    started = caller.put("/api/models/digits/traffic", {**asked, "reason": "weekly retrain"})
    assert started.status_code == 200
    told = started.json()
    assert (told["changed"], told["active"]["version"], told["active"]["percent"]) == (True, 1, 100)
    candidate = told["candidate"]
    assert (candidate["version"], candidate["percent"], candidate["state"]) == (2, 10, "loading")
    assert (candidate["loaded"], candidate["live"], candidate["bake_minutes"]) == (0, 0, 30)
    assert (candidate["reason"], candidate["started_by"]) == ("weekly retrain", "pipeline (API)")
    assert caller.put("/api/models/digits/traffic", asked).json()["changed"] is False
    assert caller.get("/api/models/digits/rollout").json()["canary"] == {"version": 2, "percent": 10}
    promoted = caller.post("/api/models/digits/promote", {}).json()
    assert (promoted["version"], promoted["changed"]) == (2, True)
    caller.put("/api/models/digits/traffic", {"candidate": 3, "percent": 5})
    ended = caller.delete("/api/models/digits/traffic", {"reason": "enough seen"}).json()
    assert (ended["changed"], ended["candidate"], ended["active"]["percent"]) == (True, None, 100)
    last = ended["last"]
    assert (last["version"], last["outcome"], last["reason"]) == (3, "ended", "enough seen")
    assert caller.delete("/api/models/digits/traffic").json()["changed"] is False


def test_a_canary_answers_its_share_once_it_is_loaded(caller):
    version(1)
    version(2, digest="2" * 64)
    caller.post("/api/models/digits/activate", {"version": 1})
    caller.put("/api/models/digits/traffic", {"candidate": 2, "percent": 10})
    replica_serving(ModelVersion.objects.get(number=1))
    ReplicaModel.objects.update(others={"2": {"state": "serving", "digest": "2" * 64, "reason": ""}})
    services.watch_canaries()
    told = caller.get("/api/models/digits/traffic").json()
    assert (told["active"]["percent"], told["candidate"]["state"], told["candidate"]["loaded"]) == (90, "serving", 1)


@pytest.mark.parametrize(
    "case",
    [
        ("put", "traffic", {"candidate": 9, "percent": 10}, 404, "unknown_version"),
        ("put", "traffic", {"candidate": 1, "percent": 10}, 409, "not_splittable"),
        ("put", "traffic", {"candidate": 2, "percent": 10}, 409, "not_activatable"),
        ("put", "traffic", {"candidate": 3, "percent": 101}, 400, "invalid_request"),
        ("put", "traffic", {"candidate": 3, "percent": "10"}, 400, "invalid_request"),
        ("put", "traffic", {"candidate": 3, "percent": True}, 400, "invalid_request"),
        ("put", "traffic", {"candidate": 3}, 400, "invalid_request"),
        ("put", "traffic", {"candidate": 3, "percent": 10, "bake_minutes": 0}, 400, "invalid_request"),
        ("put", "traffic", {"candidate": 3, "percent": 10, "guardrails": {"speed": 1}}, 400, "invalid_request"),
        ("put", "traffic", {"candidate": 3, "percent": 10, "guardrails": [1]}, 400, "invalid_request"),
        ("put", "traffic", {"candidate": 3, "percent": 10, "seen_generation": 7}, 409, "activation_conflict"),
        ("put", "traffic", {"candidate": 3, "percent": 10, "colour": "red"}, 400, "invalid_request"),
        ("post", "promote", {}, 409, "no_canary"),
        ("delete", "traffic", {"colour": "red"}, 400, "invalid_request"),
    ],
)
def test_a_split_that_cannot_be_is_refused(caller, case):
    method, path, body, status, code = case
    version(1)
    version(2, state=State.FOUND)
    version(3)
    caller.post("/api/models/digits/activate", {"version": 1})
    answer = getattr(caller, method)(f"/api/models/digits/{path}", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(("method", "path"), [("put", "traffic"), ("delete", "traffic"), ("post", "promote")])
def test_a_split_needs_the_permission_to_activate(method, path):
    version(1)
    reader = Caller("view_registeredmodel")
    assert getattr(reader, method)(f"/api/models/digits/{path}", {}).status_code == 403
    assert reader.get("/api/models/digits/traffic").status_code == 200


def test_a_shadow_is_started_shown_and_ended(caller):
    schema = {"inputs": [{"name": "x0", "type": "float"}], "kind": "classifier"}
    version(1, schema=schema)
    version(2, schema=schema)
    caller.post("/api/models/digits/activate", {"version": 1})
    asked = {"version": 2, "percent": 20}
    started = caller.put("/api/models/digits/shadow", {**asked, "reason": "weekly retrain"})
    assert started.status_code == 200
    told = started.json()
    assert (told["changed"], told["version"], told["active_version"], told["percent"]) == (True, 2, 1, 20)
    assert (told["rows"], told["agreement"], told["latency"]) == (0, None, {"p50_ms": None, "p99_ms": None})
    assert (told["reason"], told["started_by"]) == ("weekly retrain", "pipeline (API)")
    assert caller.put("/api/models/digits/shadow", asked).json()["changed"] is False
    counts = services.ShadowCounts(rows=10, agreed=9, errors=1, dropped=5)
    services.record_shadow_counts(
        "r", timezone.now(), {services.current_shadow(services.get_model("digits")).pk: counts}
    )
    told = caller.get("/api/models/digits/shadow").json()
    assert [told[name] for name in ("rows", "agreed", "differed", "errors", "dropped")] == [10, 9, 0, 1, 5]
    assert (told["agreement"], len(told["agreement_interval"])) == (0.9, 2)
    ended = caller.delete("/api/models/digits/shadow", {"reason": "enough seen"}).json()
    assert (ended["changed"], ended["version"], ended["percent"]) == (True, None, 0)
    assert (ended["last"]["version"], ended["last"]["reason"]) == (2, "enough seen")
    assert caller.delete("/api/models/digits/shadow").json()["changed"] is False


@pytest.mark.parametrize(
    "case",
    [
        ({"version": 9}, 404, "unknown_version"),
        ({"version": "champion"}, 404, "unknown_version"),
        ({"version": 1}, 409, "not_shadowable"),
        ({"version": 2}, 409, "not_activatable"),
        ({"version": 4}, 409, "not_shadowable"),
        ({"version": 3, "percent": -1}, 400, "invalid_request"),
        ({"version": 3, "percent": 101}, 400, "invalid_request"),
        ({"version": 3, "percent": "10"}, 400, "invalid_request"),
        ({"percent": 10}, 400, "invalid_request"),
        ({"version": 3, "colour": "red"}, 400, "invalid_request"),
        ({"version": 3, "seen_generation": 7}, 409, "activation_conflict"),
    ],
)
def test_a_shadow_that_cannot_be_is_refused(caller, case):
    body, status, code = case
    version(1)
    version(2, state=State.FOUND)
    version(3)
    version(4, schema={"inputs": [{"name": "x9", "type": "float"}]})
    caller.post("/api/models/digits/activate", {"version": 1})
    answer = caller.put("/api/models/digits/shadow", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("method", ["put", "delete"])
def test_a_shadow_needs_the_permission_to_activate(method):
    version(1)
    reader = Caller("view_registeredmodel")
    assert getattr(reader, method)("/api/models/digits/shadow", {}).status_code == 403
    assert reader.get("/api/models/digits/shadow").status_code == 200


def test_a_shadow_against_the_check_needs_the_permission(caller):
    version(1)
    version(2, override_reason="No sample.")
    caller.post("/api/models/digits/activate", {"version": 1})
    asked = {"version": 2, "override": True, "reason": "known"}
    other = Caller("view_registeredmodel", "activate_modelversion", name="other")
    assert other.put("/api/models/digits/shadow", asked).status_code == 403
    assert caller.put("/api/models/digits/shadow", asked).status_code == 200
