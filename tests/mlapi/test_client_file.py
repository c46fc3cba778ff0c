"""The client's file: publishing from a notebook and asking, against a live service in this process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.authtoken.models import Token
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline

from mlapi.pages import client
from models_registry import services
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.sample import verify_sample
from models_registry.models import ModelVersion, ReferenceRows
from tests.support.live import live_service

# The client talks to the API, which is tested on both databases.
pytestmark = pytest.mark.any_database

FRAME = pd.DataFrame({"age": [20.0, 30, 40, 50], "income": [1.0, 2, np.nan, 4]})
ARRAY = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])


@pytest.mark.parametrize(
    ("model", "X"),
    [
        (LogisticRegression().fit(FRAME.fillna(0), ["a", "b", "a", "b"]), FRAME.fillna(0)),
        (LogisticRegression().fit(ARRAY, [True, False, True, False]), ARRAY),
        (LogisticRegression().fit(ARRAY, [3, 1, 2, 1]), ARRAY.tolist()),
        (LinearRegression().fit(ARRAY, ARRAY), ARRAY),
        (MultiOutputClassifier(LogisticRegression()).fit(ARRAY, [[0, 1], [1, 0], [0, 0], [1, 1]]), ARRAY),
        (
            make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good", "bad"], [1, 0]),
            pd.Series(["good", "bad"]),
        ),
    ],
    ids=["frame", "booleans", "lists", "two outputs", "two labels", "texts"],
)
def test_sample_of_a_model_passes_its_version(model, X):
    sample = Sample.from_json(client.sample_of(model, X))
    assert sample.predictions is not None
    verify_sample(model, infer_schema(model, None, sample.instances), sample)


def test_missing_values_and_times_become_json():
    frame = pd.DataFrame({"at": [pd.Timestamp("2024-05-01"), pd.NaT], "n": pd.array([1, None], dtype="Int64")})
    assert client.rows_of(frame, None) == [{"at": "2024-05-01T00:00:00", "n": 1}, {"at": None, "n": None}]


@pytest.fixture
def token(transactional_db) -> str:
    user = User.objects.create_user("trainer")
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["publish_modelversion", "view_registeredmodel"]),
    )
    return Token.objects.create(user=user).key


@pytest.fixture
def validating(transactional_db):
    """Validate what is found, as a replica's maintenance does."""
    ended = threading.Event()

    def check() -> None:
        from django.db import connection

        while not ended.wait(0.05):
            services.check_next("test")
        connection.close()

    thread = threading.Thread(target=check)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_publish_uploads_waits_and_prints_the_page(validating, token, storage_directory, capsys):
    model = LogisticRegression().fit(FRAME.fillna(0), ["a", "b", "a", "b"])
    with live_service() as url:
        version = client.publish(
            model, FRAME.fillna(0), url, token, name="churn", metrics={"accuracy": np.float32(0.5)}
        )
    stored = ModelVersion.objects.get()
    assert (version["number"], stored.state, stored.metrics) == (1, "ready", {"accuracy": 0.5})
    assert len(stored.sample["probabilities"]) == 4
    printed = capsys.readouterr().out
    assert "Uploading" in printed
    assert f"{url}/admin/models_registry/modelversion/{stored.pk}/change/" in printed


@pytest.mark.parametrize("kind", [pd.DataFrame, np.asarray, lambda frame: frame.to_numpy().tolist()])
def test_publish_sends_a_random_part_of_the_reference(kind, validating, token, storage_directory, monkeypatch):
    frame = FRAME.fillna(0)
    model = LogisticRegression().fit(frame.to_numpy(), ["a", "b", "a", "b"])
    monkeypatch.setattr(client, "REFERENCE_ROWS", 50)
    many = kind(pd.concat([frame] * 100, ignore_index=True))
    with live_service() as url:
        version = client.publish(model, frame.to_numpy(), url, token, name="churn", reference=many)
    assert (version["reference"]["file"], version["reference"]["rows"]) == ("reference.jsonl", 50)
    kept = ReferenceRows.objects.get()
    assert len({json.dumps(row) for row in kept.instances}) == 4


def test_a_rejected_version_raises_with_its_reason(validating, token, storage_directory):
    with live_service() as url, pytest.raises(client.ServiceError, match="churn version 1 is rejected"):
        client.publish(Impostor(), ARRAY, url, token, name="churn")


class Impostor:
    """A model of the notebook's own code."""

    def predict(self, X):
        return np.zeros(len(X))


def test_refusals_are_told_in_the_service_s_words(token, storage_directory):
    model = LinearRegression().fit(ARRAY, ARRAY[:, 0])
    with live_service() as url:
        with pytest.raises(client.ServiceError) as refused:
            client.publish(model, ARRAY, url, "wrong", name="churn")
        assert refused.value.status == 401
        with pytest.raises(ValueError, match="not a valid model name"):
            client.publish(model, ARRAY, url, token, name="my model")
        with pytest.raises(ValueError, match="http://localhost:8000"):
            client.publish(model, ARRAY, "localhost:8000", token, name="churn")
        with pytest.raises(ValueError, match="no rows"):
            client.publish(model, ARRAY[:0], url, token, name="churn")


def test_predict_asks_any_model_in_parts(load, monkeypatch):
    model = LogisticRegression().fit(FRAME.fillna(0), ["a", "b", "a", "b"])
    load(model, "churn")
    monkeypatch.setattr(client, "ROWS_PER_REQUEST", 3)
    with live_service() as url:
        assert client.predict(FRAME.fillna(0), url, name="churn") == model.predict(FRAME.fillna(0)).tolist()
        assert client.predict(FRAME.fillna(0), f"{url}/") == model.predict(FRAME.fillna(0)).tolist()
        chances = client.predict(FRAME.fillna(0), url, name="churn", probabilities=True)
        assert [list(row.values()) for row in chances] == pytest.approx(model.predict_proba(FRAME.fillna(0)))
        with pytest.raises(client.ServiceError, match="No model called 'x'"):
            client.predict(FRAME, url, name="x")


def test_request_that_stays_refused_ends_with_its_reason(transactional_db, monkeypatch):
    monkeypatch.setattr(client, "MAX_RETRY_SECONDS", 0)
    with live_service() as url, pytest.raises(client.ServiceError, match="No model is active yet") as refused:
        client.predict(FRAME, url)
    assert refused.value.status == 503


def test_predict_takes_one_row_as_a_dict(load):
    load(LogisticRegression().fit(FRAME.fillna(0), ["a", "b", "a", "b"]), "churn")
    with live_service() as url:
        assert client.predict({"age": np.float64(20), "income": 1}, url) == client.predict(FRAME[:1], url)


def test_service_that_is_down_is_told_with_its_url():
    with pytest.raises(client.ServiceError, match="http://localhost:9 cannot be reached: .* Check the url") as down:
        client.predict(FRAME, "http://localhost:9")
    assert down.value.status == 0


def test_file_is_served_and_needs_the_standard_library_alone(host, tmp_path):
    answer = host.get("/client.py")
    assert answer.headers["content-type"] == "text/x-python; charset=utf-8"
    (tmp_path / "mlapi_client.py").write_bytes(answer.body)
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import mlapi_client"],
        check=True,
    )
