"""The commands as a person types them, and what they say when something is wrong."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.estimators import constant, constant_label, save
from tests.support.service import free_port
from tests.support.waiting import eventually


@pytest.fixture
def service(new_service):
    return new_service()


def test_publish_activate_rollback_list(service, tmp_path):
    first = save(constant(1), tmp_path / "a.joblib", rows=[[0, 0]], predictions=[1.0])
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"rmse": 0.5}')
    sample = tmp_path / "sample.csv"
    sample.write_text("x0,x1,prediction\n0,0,2.0\n1,1,2.0\n")
    done = service.manage("publish_model", "m", str(first), "--activate", "--description", "first")
    assert "m 1: ready" in done.stdout
    assert "m 1: active" in done.stdout
    second = save(constant(2), tmp_path / "b.joblib")
    service.publish("m", second, "--sample", str(sample), "--metrics", str(metrics))
    again = service.manage("activate_model", "m", "1")
    assert "nothing changes" in again.stdout
    service.manage("activate_model", "m", "2", "--reason", "better")
    service.manage("rollback_model", "m")
    (model,) = service.list_models()
    assert {key: model[key] for key in ("name", "active_version", "generation", "policy", "replicas")} == {
        "name": "m",
        "active_version": 1,
        "generation": 3,
        "policy": "manual",
        "replicas": {"live": 0, "serving": 0},
    }
    assert [(item["number"], item["state"], item["format"], item["reason"]) for item in model["versions"]] == [
        (2, "ready", "joblib", None),
        (1, "ready", "joblib", None),
    ]
    assert "active version 1" in service.manage("list_models").stdout


def tried(done):
    """Run the curl line that a command printed, and return what it answers."""
    line = done.stdout.rpartition("Try it:\n")[2].strip()
    answer = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, timeout=30)
    return json.loads(answer.stdout)


@pytest.mark.any_database
def test_activation_names_its_replicas_and_waits_on_request(new_service, tmp_path):
    service = new_service(WEB_WORKERS="2")
    first = save(constant(1), tmp_path / "a.joblib", rows=[[0, 0]], predictions=[1.0])
    before = service.manage("publish_model", "m", str(first), "--activate")
    assert "m 1: active. No replica is running: the next one that starts serves it." in before.stdout
    none = service.manage("activate_model", "m", "1", "--wait")
    assert "No replica has reported" in none.stdout
    assert "URL" not in none.stdout
    service.start().wait_until_served("m", 1, replicas=2)

    second = save(constant(2), tmp_path / "b.joblib", rows=[[0, 0]])
    done = service.manage("publish_model", "m", str(second), "--activate", "--wait")
    assert "m: 2 of 2 replicas serve version 2." in done.stdout
    assert f"URL: http://localhost:{service.port}/models/m/predict" in done.stdout
    assert {key: tried(done)[key] for key in ("prediction", "model", "version")} == {
        "prediction": 2.0, "model": "m", "version": 2,
    }  # fmt: skip
    assert tried(service.manage("rollback_model", "m", "--wait"))["version"] == 1
    assert tried(service.manage("activate_model", "m", "2", "--wait"))["version"] == 2
    again = service.manage("activate_model", "m", "2")
    assert "nothing changes (generation 4). All 2 running replicas serve it." in again.stdout
    later = service.manage("activate_model", "m", "1")
    assert "m 1: active (generation 5). All 2 running replicas serve it." in later.stdout


@pytest.mark.any_database
def test_curl_line_sends_a_required_key(new_service, tmp_path, monkeypatch):
    service = new_service(MLAPI_REQUIRE_API_KEY="true").start()
    key = service.manage("create_api_key", "caller").stdout.split()
    monkeypatch.setenv("MLAPI_KEY", next(word for word in key if word.startswith("mlapi_")))
    artifact = save(constant(1), tmp_path / "a.joblib", rows=[[0, 0]])
    done = service.manage("publish_model", "m", str(artifact), "--activate", "--wait")
    assert eventually(lambda: tried(done).get("prediction")) == 1.0


@pytest.mark.any_database
def test_a_command_elsewhere_than_the_service_prints_no_address(new_service, tmp_path):
    service = new_service().start()
    artifact = save(constant(1), tmp_path / "a.joblib", rows=[[0, 0]])
    service.environment["PORT"] = str(free_port())
    done = service.manage("publish_model", "m", str(artifact), "--activate", "--wait")
    assert "send POST /models/m/predict to the address of the service" in done.stdout
    assert "curl" not in done.stdout


@pytest.mark.any_database
def test_waiting_without_an_activation_publishes_nothing(service, tmp_path):
    artifact = save(constant(1), tmp_path / "a.joblib")
    done = service.manage("publish_model", "m", str(artifact), "--wait", check=False)
    assert (done.returncode, service.list_models()) == (1, [])
    assert "Give both" in done.stderr


@pytest.mark.any_database
def test_rejected_version_exits_1_and_stays_inactive(service, tmp_path):
    wrong = save(constant_label("yes"), tmp_path / "a.joblib", rows=[[0, 0]], predictions=["no"])
    done = service.manage("publish_model", "m", str(wrong), check=False)
    assert done.returncode == 1
    assert "the model answers 'yes', expected 'no'" in done.stderr
    refused = service.manage("activate_model", "m", "1", check=False)
    assert refused.returncode == 1
    assert "was rejected" in refused.stderr


def test_sync_finds_checks_and_marks(service, tmp_path):
    path = save(constant(1), service.storage / "m" / "model.joblib")
    (service.storage / "m" / "notes.txt").write_text("x")
    (service.storage / "n").mkdir()
    (service.storage / "n" / "broken.joblib").write_bytes(b"no pickle at all")
    done = service.manage("sync_models")
    assert "m 1: ready" in done.stdout
    assert "n 1: rejected" in done.stdout
    assert "is not an artifact" in done.stderr
    path.unlink()
    assert "m 1: missing" in service.manage("sync_models").stdout


def test_sync_says_what_it_cannot_check_now(service, tmp_path):
    for name in ("a", "b"):
        save(constant(1), service.storage / name / "model.joblib")
    (tmp_path / "file").write_text("")
    service.environment["MODELS_CACHE"] = str(tmp_path / "file")
    done = service.manage("sync_models", check=False)
    assert done.returncode == 1
    assert "a 1: postponed." in done.stderr
    assert "2 could not be validated" in done.stderr
    assert "2 new" in done.stdout
    del service.environment["MODELS_CACHE"]
    assert "b 1: ready" in service.manage("sync_models").stdout


WRONG = {
    "no artifact": (["publish_model", "m", "/nowhere/model.joblib"], "is not there"),
    "no model in it": (["publish_model", "m", "{text}"], "ends in .txt"),
    "odd name": (["publish_model", "a b/c", "{good}"], "is not a valid model name"),
    "bad sample": (["publish_model", "m", "{good}", "--sample", "{text}"], "is not valid JSON"),
    "unknown model": (["activate_model", "digts", "1"], "No model is called 'digts'"),
    "no such version": (["activate_model", "m", "99"], "m has no version 99. It has 1"),
    "nothing to roll back to": (["rollback_model", "m"], "nothing to roll back to"),
}


@pytest.mark.any_database
def test_what_is_wrong_is_said_in_a_sentence(service, tmp_path):
    good = save(constant(1), tmp_path / "good.joblib")
    text = tmp_path / "text.txt"
    text.write_text("hello")
    service.publish("m", good)
    for arguments, sentence in WRONG.values():
        done = service.manage(*(item.format(good=good, text=text) for item in arguments), check=False)
        assert done.returncode == 1, arguments
        assert sentence in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert len(service.list_models()[0]["versions"]) == 1


@pytest.mark.any_database
def test_a_storage_or_a_database_that_is_not_there(service, new_service, tmp_path):
    good = save(constant(1), tmp_path / "good.joblib")
    service.publish("m", good)
    service.storage.rename(service.storage.with_name("away"))
    gone = service.manage("sync_models", check=False)
    assert gone.returncode == 1
    assert "Create the directory" in gone.stderr
    assert json.loads(service.manage("list_models", "--json").stdout)[0]["versions"][0]["state"] == "ready"
    service.environment["DATABASE_URL"] = "postgres://nobody:x@127.0.0.1:9/none"
    away = service.manage("list_models", check=False)
    assert away.returncode == 1
    assert "Check DATABASE_URL" in away.stderr
    assert "Traceback" not in away.stderr
