"""The registry for programs: the same acts and permissions as the admin's, errors in the contract's form."""

from __future__ import annotations

import json
import threading
import time
from importlib import import_module

import pytest
import requests
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from mlapi.api.base import waiting
from mlapi.protocols.base import HttpError
from models_registry import services
from models_registry.models import Activation, ModelVersion, ReplicaModel, State
from tests.mlapi.callers import PERMISSIONS, Caller, replica_serving, version
from tests.support.databases import execute
from tests.support.estimators import constant, forest, save
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db


def test_models_and_versions_are_listed(caller):
    version(1, state=State.REJECTED, reason="It names os.system.")
    version(2, metrics={"accuracy": 0.9})
    (model,) = caller.get("/api/models").json()
    assert model == caller.get("/api/models/digits").json()
    assert (model["name"], model["active_version"], model["generation"]) == ("digits", None, 0)
    assert [item["number"] for item in model["versions"]] == [2, 1]
    one = caller.get("/api/models/digits/versions/1").json()
    assert (one["state"], one["reason"]) == ("rejected", "It names os.system.")
    assert caller.get("/api/models/digits/versions/2").json()["metrics"] == {"accuracy": 0.9}


def test_activation_equals_the_admins(caller):
    version(1)
    version(2)
    done = caller.post("/api/models/digits/activate", {"version": 1, "reason": "weekly retrain"})
    assert done.status_code == 200
    assert done.json() | {"replicas": []} == {
        "model": "digits",
        "version": 1,
        "generation": 1,
        "is_complete": True,
        "live": 0,
        "serving": 0,
        "failed": 0,
        "replicas": [],
        "changed": True,
    }
    row = Activation.objects.get()
    assert (row.activated_by, row.reason) == ("pipeline (API)", "weekly retrain")
    assert caller.post("/api/models/digits/activate", {"version": 1}).json()["changed"] is False
    assert caller.post("/api/models/digits/activate", {"version": 2}).json()["version"] == 2
    back = caller.post("/api/models/digits/rollback", {"reason": "worse"}).json()
    assert (back["version"], back["generation"]) == (1, 3)
    assert Activation.objects.first().kind == "rollback"
    off = caller.post("/api/models/digits/deactivate", {"reason": "retired"}).json()
    assert (off["version"], off["generation"], off["is_complete"], off["changed"]) == (None, 4, True, True)
    assert caller.get("/api/models/digits").json()["active_version"] is None
    assert caller.post("/api/models/digits/deactivate", {}).json()["changed"] is False


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/models/digits/activate", {"version": 9}, 404, "unknown_version"),
        ("/api/models/nothing/activate", {"version": 1}, 404, "unknown_model"),
        ("/api/models/digits/activate", {"version": 2}, 409, "not_activatable"),
        ("/api/models/digits/activate", {"version": 1, "seen_generation": 7}, 409, "activation_conflict"),
        ("/api/models/digits/rollback", {}, 409, "nothing_to_roll_back_to"),
        ("/api/models/nothing/deactivate", {}, 404, "unknown_model"),
        ("/api/models/digits/deactivate", {"version": 1}, 400, "invalid_request"),
        ("/api/models/digits/deactivate", {"reason": 0}, 400, "invalid_request"),
        ("/api/models/digits/deactivate", {"seen_generation": "0"}, 400, "invalid_request"),
        ("/api/models/digits/activate", {"version": 1, "override": "yes"}, 400, "invalid_request"),
        ("/api/models/digits/activate", {"version": 1, "override": 0}, 400, "invalid_request"),
        ("/api/models/digits/activate", {}, 400, "invalid_request"),
        ("/api/models/digits/activate", {"version": "one"}, 404, "unknown_version"),
        ("/api/models/digits/activate", {"version": 10**30}, 400, "invalid_request"),
        ("/api/models/digits/activate", {"version": 1, "resaon": "x"}, 400, "invalid_request"),
        ("/api/models/digits/activate", {"version": 1, "wait_seconds": 1e9}, 400, "invalid_request"),
        ("/api/models/digits/activate", {"version": 1, "reason": "\x00"}, 400, "invalid_request"),
        ("/api/models/digits/activate", [1], 400, "invalid_request"),
        ("/api/models/digits/activate", b'{"version": NaN}', 400, "invalid_json"),
        ("/api/models/digits/activate", b"\xff", 400, "invalid_json"),
        ("/api/models/digits/activate", b"[" * 100_000, 400, "invalid_json"),
        ("/api/models/digits/activate", b" " * 1_000_001, 413, "body_too_large"),
        ("/api/models/a%00b/activate", {"version": 1}, 404, "not_found"),
        ("/api/nowhere", {}, 404, "not_found"),
        ("/api/models", {}, 405, "method_not_allowed"),
    ],
)
def test_impossible_requests_get_the_documented_errors(caller, path, body, status, code):
    version(1)
    version(2, state=State.FOUND)
    answer = caller.post(path, body, **{"X-Request-ID": "mine"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["request_id"] == answer["X-Request-ID"] == "mine"
    assert answer.json()["error"]


def test_without_a_token_nothing_is_told():
    version(1)
    for headers in ({}, {"Authorization": "Token wrong"}, {"Authorization": "Token"}):
        answer = Client().get("/api/models", headers=headers)
        assert answer.status_code == 401, headers
        assert answer["WWW-Authenticate"] == "Bearer, Token"
        assert "'Authorization: Bearer TOKEN' or as 'Authorization: Token TOKEN'" in answer.json()["error"]
        assert answer.json().keys() == {"error", "code", "request_id"}


@pytest.mark.parametrize(
    ("method", "path", "body", "needed"),
    [
        ("get", "/api/models", None, "view_registeredmodel"),
        ("get", "/api/models/digits", None, "view_registeredmodel"),
        ("get", "/api/models/digits/versions/1", None, "view_registeredmodel"),
        ("get", "/api/models/digits/rollout", None, "view_registeredmodel"),
        ("post", "/api/sync", {}, "publish_modelversion"),
        ("post", "/api/models/digits/activate", {"version": 1}, "activate_modelversion"),
        ("post", "/api/models/digits/rollback", {}, "activate_modelversion"),
        ("post", "/api/models/digits/deactivate", {}, "activate_modelversion"),
        ("post", "/api/models/digits/versions", {}, "publish_modelversion"),
    ],
)
def test_each_act_needs_the_admins_permission(method, path, body, needed, storage_directory):
    version(1)
    others = Caller(*[name for name in PERMISSIONS if name != needed])
    refused = getattr(others, method)(path, body) if method == "post" else others.get(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    assert needed in refused.json()["error"]
    allowed = Caller(needed, name="allowed")
    answer = getattr(allowed, method)(path, body) if method == "post" else allowed.get(path)
    assert answer.status_code != 403


def test_an_override_needs_a_permission_and_a_reason():
    version(1, override_reason="It was made with scikit-learn 1.2.")
    plain = Caller("activate_modelversion")
    assert plain.post("/api/models/digits/activate", {"version": 1}).json()["code"] == "not_activatable"
    asked = {"version": 1, "override": True, "reason": "tested by hand"}
    assert plain.post("/api/models/digits/activate", asked).json()["code"] == "permission_denied"
    chief = Caller("activate_modelversion", "override_check", name="chief")
    assert chief.post("/api/models/digits/activate", {**asked, "reason": ""}).status_code == 409
    assert chief.post("/api/models/digits/activate", asked).json()["version"] == 1


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock of what waits for a rollout or a verdict."""
    made = Clock()
    for module in ("rollout", "verdicts"):
        monkeypatch.setattr(import_module(f"models_registry.services.{module}"), "time", made)
    return made


def test_the_rollout_is_told_and_waited_for(caller, clock):
    first, second = version(1), version(2)
    services.activate(first, by="x")
    replica_serving(first)
    told = caller.get("/api/models/digits/rollout").json()
    assert (told["is_complete"], told["live"], told["serving"]) == (True, 1, 1)
    second.model.refresh_from_db()
    services.activate(second, by="x")
    waited = caller.get("/api/models/digits/rollout?wait_seconds=1").json()
    assert clock.now >= 1
    assert waited["is_complete"] is False
    assert waited["replicas"][0] | {"replica": ""} == {
        "replica": "",
        "state": "loading",
        "version": 1,
        "is_current": False,
        "reason": "",
    }
    assert caller.get("/api/models/digits/rollout?wait_seconds=x").status_code == 400
    ReplicaModel.objects.update(serving_version=second, generation=2)
    assert caller.get("/api/models/digits/rollout?wait_seconds=30").json()["is_complete"] is True


def test_an_upload_becomes_a_version(caller, storage_directory, tmp_path):
    artifact = save(constant(3), tmp_path / "model.joblib")
    manifest = {"description": "weekly", "metrics": {"r2": 0.9}}
    made = caller.upload("digits", artifact, manifest=json.dumps(manifest))
    assert made.status_code == 201, made.text
    assert made.json() | {"number": 1, "state": "found", "published_by": "pipeline (API)"} == made.json()
    (stored,) = (storage_directory / "digits").glob("*/model.joblib")
    assert stored.read_bytes() == artifact.read_bytes()
    assert json.loads(stored.with_name(stored.name + ".manifest.json").read_text()) == manifest
    assert caller.upload("digits", artifact).json()["number"] == 2
    for number, name in enumerate(("MODEL.JOBLIB", "model.pkl", "Model.Pickle", "model.SAV"), 3):
        made = caller.upload("digits", save(constant(3), tmp_path / name)).json()
        assert (made["number"], made["format"]) == (number, "joblib")


@pytest.mark.parametrize(
    ("file", "fields", "code"),
    [
        ("model.exe", {}, "invalid_artifact"),
        ("model", {}, "invalid_artifact"),
        ("x" * 300 + ".joblib" + "y" * 300, {}, "invalid_artifact"),
        ("model.joblib", {"manifest": "{"}, "invalid_artifact"),
        ("model.joblib", {"manifest": '{"metrics": 3}'}, "invalid_artifact"),
        ("model.joblib", {"artefact": "x"}, "invalid_request"),
    ],
)
def test_what_is_no_artifact_is_refused_and_leaves_nothing(caller, storage_directory, file, fields, code):
    body = {"artifact": SimpleUploadedFile(file, b"bytes"), **fields}
    answer = caller.client.post("/api/models/digits/versions", body, headers=caller.headers)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text
    assert not list(storage_directory.rglob("*.joblib"))


def test_an_uploaded_reference_is_stored_beside_the_artifact(caller, storage_directory, tmp_path):
    rows = SimpleUploadedFile("My Train.CSV", b"x0,x1\n1,2\n")
    made = caller.upload("digits", save(constant(3), tmp_path / "model.joblib"), reference=rows)
    assert made.status_code == 201, made.text
    (stored,) = (storage_directory / "digits").glob("*/reference.csv")
    assert stored.read_bytes() == b"x0,x1\n1,2\n"
    assert services.check_next("test").state == State.READY
    told = caller.get("/api/models/digits/versions/1").json()["reference"]
    assert (told["file"], told["rows"], told["size_bytes"]) == ("reference.csv", 1, 10)


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"reference": SimpleUploadedFile("train.xlsx", b"x")}, 400, "not a table of rows"),
        ({"reference": SimpleUploadedFile("train.csv", bytes(20_000_001))}, 413, "The reference has more than"),
        ({"rows": SimpleUploadedFile("train.csv", b"x")}, 400, "Unexpected file 'rows'"),
        ({"manifest": '{"reference": "train.csv"}'}, 400, "Send it as the file 'reference'"),
    ],
    ids=["format", "size", "field", "not sent"],
)
def test_what_is_no_reference_is_refused(caller, fields, status, said, tmp_path):
    answer = caller.upload("digits", save(constant(3), tmp_path / "model.joblib"), **fields)
    assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text
    assert not ModelVersion.objects.exists()


def test_upload_without_file_or_of_wrong_kind_is_refused(caller, storage_directory):
    empty = caller.client.post("/api/models/digits/versions", {"manifest": "{}"}, headers=caller.headers)
    assert (empty.status_code, empty.json()["code"]) == (400, "invalid_request")
    assert caller.post("/api/models/digits/versions", {"artifact": "x"}).status_code == 415
    torn = caller.client.post(
        "/api/models/digits/versions",
        b"--b\r\nno end",
        content_type="multipart/form-data; boundary=b",
        headers=caller.headers,
    )
    assert torn.status_code == 400
    unbound = caller.client.post(
        "/api/models/digits/versions", b"x", content_type="multipart/form-data", headers=caller.headers
    )
    assert unbound.status_code == 400


def test_upload_over_the_limit_is_refused_unread(caller, settings, storage_directory, tmp_path):
    settings.MODELS_MAX_ARTIFACT_MB = 1
    big = tmp_path / "model.joblib"
    big.write_bytes(bytes(2_500_000))
    answer = caller.upload("digits", big)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_sync_finds_what_was_copied_into_the_storage(caller, storage_directory):
    save(constant(1), storage_directory / "digits" / "model.joblib")
    (storage_directory / "readme.txt").write_text("x")
    told = caller.post("/api/sync").json()
    assert told["found"] == ["digits 1"]
    assert "readme.txt" in told["ignored"][0]
    assert caller.post("/api/sync").json()["found"] == []


def test_a_verdict_is_waited_for(caller, clock):
    open_version = version(1, state=State.FOUND)
    assert caller.get("/api/models/digits/versions/1?wait_seconds=1").json()["state"] == "found"
    assert clock.now >= 1
    ModelVersion.objects.filter(pk=open_version.pk).update(state=State.READY)
    assert caller.get("/api/models/digits/versions/1?wait_seconds=30").json()["state"] == "ready"


def test_only_a_few_requests_may_wait_at_once():
    held = threading.Event()
    statuses = []

    def wait():
        try:
            with waiting():
                statuses.append(200)
                held.wait(5)
        except HttpError as error:
            statuses.append(error.status)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    [thread.start() for thread in threads]
    eventually(lambda: len(statuses) == 5)
    held.set()
    [thread.join() for thread in threads]
    assert sorted(statuses) == [200, 200, 200, 200, 429]


def test_logged_in_person_needs_the_csrf_token():
    user = User.objects.create_superuser("ann", password="pw")
    version(1)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.get("/api/models").status_code == 200
    refused = client.post("/api/models/digits/activate", {"version": 1}, content_type="application/json")
    assert refused.status_code == 403


MAKE_TOKEN = """
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
print(Token.objects.create(user=User.objects.create_superuser("ci")).key)
"""


def test_pipeline_publishes_activates_and_requires_keys(new_service, tmp_path):
    service = new_service(MLAPI_REQUIRE_API_KEY="true")
    token = service.manage("shell", "-c", MAKE_TOKEN).stdout.split()[-1]
    service.start()
    headers = {"Authorization": f"Token {token}"}
    artifact = save(forest(seed=1), tmp_path / "model.joblib")
    manifest = json.dumps({"sample": {"instances": [[0, 0, 0, 0]]}})
    with artifact.open("rb") as content:
        made = requests.post(
            f"{service.url}/api/models/m/versions",
            files={"artifact": content},
            data={"manifest": manifest, "wait_seconds": "50"},
            headers=headers,
            timeout=60,
        )
    assert made.status_code == 201, made.text
    assert made.json()["state"] == "ready", made.text
    live = service.post("/api/models/m/activate", {"version": 1, "wait_seconds": 50}, **headers)[1]
    assert (live["changed"], live["is_complete"], live["serving"]) == (True, True, 1)
    row = {"features": [0, 0, 0, 0]}
    assert service.post("/predict", row)[0] == 401
    key = service.manage("create_api_key", "shop", "--models", "m").stdout.strip()
    eventually(lambda: service.post("/predict", row, **{"X-API-Key": key})[0] == 200, saying="the key is known")
    # The keys cannot be read any more: those that are held go on opening.
    database = service.environment["DATABASE_URL"]
    execute(database, "ALTER TABLE models_registry_apikey RENAME TO away")
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert service.post("/predict", row, Authorization=f"Bearer {key}")[0] == 200
    execute(database, "ALTER TABLE away RENAME TO models_registry_apikey")
    execute(database, "UPDATE models_registry_apikey SET revoked_at = created_at")
    eventually(lambda: service.post("/predict", row, **{"X-API-Key": key})[0] == 401, saying="the key is refused")
    assert service.stop() == 0
