"""Ground truth: from labels in requests to files, and quality that agrees with scikit-learn on the same rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import boto3
import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LinearRegression, LogisticRegression

from mlapi import replica
from mlapi.http import process
from mlapi.http.application import Application
from models_registry import services
from models_registry.artifacts.inference import infer_schema
from models_registry.inference.capture import Capture, CaptureQueue
from models_registry.inference.ground_truth import GroundTruthQueue
from models_registry.monitoring import joined_rows
from models_registry.monitoring.usage_report import WINDOWS
from tests.mlapi.test_api import Caller
from tests.mlapi.test_prediction_log import Log
from tests.support.asgi import AsgiClient
from tests.support.estimators import constant
from tests.support.registry import version

pytestmark = pytest.mark.django_db

URL = "/models/m/ground-truth"
CSV = {"Content-Type": "text/csv"}
LINES = {"Content-Type": "application/x-ndjson"}
RANDOM = np.random.default_rng(7)
ROWS = RANDOM.normal(size=(60, 2))
NUMBERS = ROWS @ [2.0, -1.0] + RANDOM.normal(size=60)
TARGETS = {
    "strings": np.where(NUMBERS > 0, "yes", "no"),
    "integers": (NUMBERS > 0).astype(int),
    "booleans": NUMBERS > 0,
    "floats": (NUMBERS > 0).astype(float),
    "three classes": np.digitize(NUMBERS, [-1, 1]),
}


@pytest.fixture
def log(tmp_path, monkeypatch, settings):
    """Return the log that the service of this process reads and writes."""
    monkeypatch.setattr(replica.runtime, "captured", CaptureQueue())
    monkeypatch.setattr(replica.runtime, "ground_truth", GroundTruthQueue())
    monkeypatch.setattr(replica.runtime, "captures", {"m": Capture(100)})
    made = Log(tmp_path)
    settings.MODELS_LOG_STORAGE = made.directory.as_uri()
    return made


@pytest.fixture
def client():
    return AsgiClient(Application(process.pipeline, None))


def serve(load, estimator, number: int = 1):
    load(estimator, number=number)
    return version("m", number, schema=infer_schema(estimator).to_json())


def quality(window: str = "24h") -> dict:
    answer = Caller("view_registeredmodel").get(f"/api/models/m/quality?window={window}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def labels_of(values, request_id: str = "r") -> list[dict]:
    return [{"request_id": request_id, "row": row, "label": value} for row, value in enumerate(values)]


def as_csv(labels) -> bytes:
    lines = ["request_id,row,label", *(f"{item['request_id']},{item['row']},{item['label']}" for item in labels)]
    return "\n".join(lines).encode()


# Taking labels


@pytest.mark.parametrize(
    "case",
    [
        ({"request_id": "r", "label": 1}, {}, 1),
        (labels_of([1, 2.5]), {}, 2),
        (b'{"request_id": "r", "label": 1}\n\n{"request_id": "r", "row": 1, "label": 2}\n', LINES, 2),
        (b'{"request_id": "r", "label": 1}\r\n{"request_id": "r", "row": 1, "label": 2}', {}, 2),
        (b"\xef\xbb\xbfrequest_id,row,label\r\nr,0,1\r\nr,1,2.5\r\n", CSV, 2),
        (b"label,request_id\n3,r\n", {"Content-Type": "text/csv; charset=utf-8"}, 1),
    ],
)
def test_every_form_is_taken(case, host, load, log):
    body, headers, count = case
    load(constant(1))
    answer = host.post(URL, body, **headers)
    assert (answer.status, answer.json["accepted"], answer.json["model"]) == (202, count, "m"), answer.body
    log.writer.finish()
    assert replica.runtime.ground_truth.counts == {("m", "written"): count}


@pytest.mark.parametrize(
    "case",
    [
        ([{"request_id": "r", "label": 1}, 3, {"request_id": "r"}], {}, [("label", 1), ("label", 2)]),
        (b'{"request_id": "r", "label": 1}\nno\n{"label": 1}', LINES, [("line", 2), ("line", 3)]),
        (b'{"request_id": "r", "label": 1, "label": 2}\n', LINES, [("line", 1)]),
        (b"request_id,row,label\nr,0,1\nr,x,1\nr,1\nr,2,\n", CSV, [("line", 3), ("line", 4), ("line", 5)]),
        ({"request_id": "", "label": 1}, {}, [("label", 0)]),
        ({"request_id": 5, "label": 1}, {}, [("label", 0)]),
        ({"request_id": "r", "row": -1, "label": 1}, {}, [("label", 0)]),
        ({"request_id": "r", "row": True, "label": 1}, {}, [("label", 0)]),
        ({"request_id": "r", "label": None}, {}, [("label", 0)]),
        ({"request_id": "r", "label": "high"}, {}, [("label", 0)]),
        ({"request_id": "r", "label": True}, {}, [("label", 0)]),
        ({"request_id": "r", "label": [1]}, {}, [("label", 0)]),
        ({"request_id": "r", "label": 1, "rows": 2}, {}, [("label", 0)]),
    ],
)
def test_each_wrong_label_is_named_by_number(case, host, load, log):
    body, headers, errors = case
    load(constant(1))
    answer = host.post(URL, body, **headers)
    assert (answer.status, answer.json["code"]) == (400, "invalid_ground_truth"), answer.body
    assert [next(iter(item.items())) for item in answer.json["errors"]] == errors
    assert replica.runtime.ground_truth.take() == []


@pytest.mark.parametrize(
    "case",
    [
        (b"", {}, 400),
        ([], {}, 400),
        (b"", CSV, 400),
        (b"id,label\nr,1\n", CSV, 400),
        (b"request_id,row,label\n", CSV, 400),
        (b"\xff", CSV, 400),
        (b"{", {}, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (labels_of([1] * 10_001), {}, 413),
        (as_csv(labels_of([1] * 10_001)), CSV, 413),
        (b" " * 4_000_001, {}, 413),
    ],
)
def test_bodies_without_labels_or_with_too_many_are_refused(case, client, load, log):
    body, headers, status = case
    load(constant(1))
    assert client.post(URL, body, **headers).status == status


def test_unknown_model_is_refused(client, load, log):
    load(constant(1))
    assert client.post("/models/other/ground-truth", {"request_id": "r", "label": 1}).status == 404


def test_full_queue_takes_none_of_a_request(client, load, log, monkeypatch):
    monkeypatch.setattr(replica.runtime, "ground_truth", GroundTruthQueue(max_rows=3))
    load(constant(1))
    assert client.post(URL, labels_of([1, 2])).status == 202
    answer = client.post(URL, labels_of([1, 2]))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert client.post("/predict", {"features": [1.0, 2.0]}).status == 200
    assert sum(batch.count for batch in replica.runtime.ground_truth.take()) == 2


def test_key_is_needed_where_predictions_need_one(client, load, log, settings):
    settings.MLAPI_REQUIRE_API_KEY = True
    load(constant(1))
    refused = client.post("/predict", {"features": [1.0, 2.0]})
    answer = client.post(URL, {"request_id": "r", "label": 1})
    assert (answer.status, answer.json["code"]) == (refused.status, refused.json["code"])
    assert answer.status in {401, 503}
    settings.MLAPI_REQUIRE_API_KEY = False
    assert client.post(URL, {"request_id": "r", "label": 1}).status == 202


# Quality


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_classifier_agrees_with_scikit_learn(target, form, client, load, log):
    truth = TARGETS[target]
    model = LogisticRegression().fit(ROWS[:30], truth[:30])
    serve(load, model)
    assert client.post("/predict", {"instances": ROWS.tolist()}, **{"X-Request-ID": "r"}).status == 200
    sent = labels_of(truth[:50].tolist())
    answer = client.post(URL, as_csv(sent), **CSV) if form == "csv" else client.post(URL, sent)
    assert answer.status == 202, answer.body
    log.writer.finish()
    (found,) = quality()["versions"]
    assert (found["logged_rows"], found["labelled_rows"]) == (60, 50)
    assert found["labelled_share"] == 50 / 60
    predicted, actual = model.predict(ROWS[:50]), truth[:50]
    figures = found["metrics"]
    assert figures["accuracy"] == metrics.accuracy_score(actual, predicted)
    assert figures["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(actual, predicted), abs=1e-15)
    assert figures["f1_macro"] == pytest.approx(metrics.f1_score(actual, predicted, average="macro"), abs=1e-15)
    of_label = {item["label"]: item for item in figures["labels"]}
    names = [str(value).lower().removesuffix(".0") for value in model.classes_]
    precision, recall, f1, support = metrics.precision_recall_fscore_support(actual, predicted)
    assert [of_label[name]["precision"] for name in names] == precision.tolist()
    assert [of_label[name]["recall"] for name in names] == recall.tolist()
    assert [of_label[name]["f1"] for name in names] == f1.tolist()
    assert [of_label[name]["rows"] for name in names] == support.tolist()
    if len(names) == 2:
        scores = model.predict_proba(ROWS[:50])
        assert figures["log_loss"] == pytest.approx(metrics.log_loss(actual, scores), abs=1e-12)
        assert figures["roc_auc"] == pytest.approx(metrics.roc_auc_score(actual, scores[:, 1]), abs=1e-12)
    else:
        assert figures["log_loss"] is figures["roc_auc"] is None


def test_regressor_agrees_with_scikit_learn(client, load, log):
    model = LinearRegression().fit(ROWS[:30], NUMBERS[:30])
    serve(load, model)
    client.post("/predict", {"instances": ROWS.tolist()}, **{"X-Request-ID": "r"})
    assert client.post(URL, labels_of(NUMBERS.tolist())).status == 202
    log.writer.finish()
    predicted = model.predict(ROWS)
    expected = {
        "mae": metrics.mean_absolute_error(NUMBERS, predicted),
        "rmse": metrics.root_mean_squared_error(NUMBERS, predicted),
        "r2": metrics.r2_score(NUMBERS, predicted),
    }
    assert quality()["versions"][0]["metrics"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("is_one_file", [True, False])
def test_later_label_replaces_the_earlier_one(is_one_file, client, load, log):
    serve(load, constant(1))
    client.post("/predict", {"features": [1.0, 2.0]}, **{"X-Request-ID": "r"})
    for value in (5, 9, 3):
        client.post(URL, [{"request_id": "r", "label": 100}, {"request_id": "r", "row": 0, "label": value}])
        if not is_one_file:
            log.writer.finish()
    log.writer.finish()
    (found,) = quality()["versions"]
    assert found["labelled_rows"] == 1
    assert found["metrics"] == {"mae": 2.0, "rmse": 2.0, "r2": None}


def test_labels_are_joined_by_version_and_row(client, load, log):
    for number in (1, 2):
        serve(load, constant(number), number)
        client.post("/predict", {"instances": [[1.0, 2.0]] * 3}, **{"X-Request-ID": f"of-{number}"})
    client.post(URL, [{"request_id": "of-2", "row": 1, "label": 5}, {"request_id": "other", "label": 7}])
    log.writer.finish()
    report = quality()
    found = {item["version"]: (item["logged_rows"], item["labelled_rows"]) for item in report["versions"]}
    assert found == {2: (3, 1), 1: (3, 0)}
    assert [item["metrics"].get("mae") for item in report["versions"]] == [3.0, None]
    assert report["is_complete"]


def test_days_are_those_of_the_predictions(client, load, log):
    model = serve(load, constant(1)).model
    client.post("/predict", {"features": [1.0, 2.0]}, **{"X-Request-ID": "r"})
    client.post(URL, {"request_id": "r", "label": 4})
    log.writer.finish()
    now = datetime.now(UTC)
    later = now + timedelta(hours=26)
    assert services.quality_report(model, WINDOWS["24h"], later).versions == ()
    ((day, found),) = services.quality_report(model, WINDOWS["30d"], now).versions[0].days
    assert abs((day - now.date()).days) <= 1
    assert (found.labelled_rows, found.metrics["mae"]) == (1, 3.0)


def test_report_beyond_its_bounds_says_so(client, load, log, monkeypatch):
    monkeypatch.setattr(joined_rows, "MAX_ROWS", 2)
    serve(load, constant(1))
    client.post("/predict", {"instances": [[1.0, 2.0]] * 3})
    log.writer.finish()
    report = quality()
    assert (report["is_complete"], report["versions"][0]["logged_rows"]) == (False, 2)


def test_class_the_model_lacks_is_a_model_error(client, load, log):
    serve(load, LogisticRegression().fit(ROWS, TARGETS["booleans"]))
    client.post("/predict", {"instances": [[9.0, -9.0]] * 2}, **{"X-Request-ID": "r"})
    assert client.post(URL, labels_of([True, "maybe"])).status == 202
    log.writer.finish()
    figures = quality()["versions"][0]["metrics"]
    assert (figures["accuracy"], figures["log_loss"]) == (0.5, None)
    assert {item["label"] for item in figures["labels"]} == {"true", "maybe"}


def test_log_without_predictions_has_no_quality(client, load, log, monkeypatch):
    monkeypatch.setattr(replica.runtime, "captures", {"m": Capture(100, outputs=False)})
    serve(load, constant(1))
    client.post("/predict", {"features": [1.0, 2.0]}, **{"X-Request-ID": "r"})
    client.post(URL, {"request_id": "r", "label": 4})
    log.writer.finish()
    assert quality()["versions"] == []


def test_bucket_gives_the_same_quality(client, load, s3, log, settings):
    s3_client = boto3.client("s3")
    s3_client.create_bucket(Bucket="labels")
    settings.MODELS_LOG_STORAGE = "s3://labels/log"
    bucket = Log(log.directory.parent, "s3://labels/log")
    serve(load, constant(4))
    client.post("/predict", {"features": [1.0, 2.0]}, **{"X-Request-ID": "r"})
    client.post(URL, {"request_id": "r", "label": 3.5})
    bucket.writer.finish()
    keys = [item["Key"] for item in s3_client.list_objects_v2(Bucket="labels")["Contents"]]
    assert sorted(key.split("/date=")[0] for key in keys) == ["log/_ground_truth/m", "log/m/version=1"]
    assert quality("1h")["versions"][0]["metrics"]["mae"] == 0.5
    for key in keys:
        s3_client.delete_object(Bucket="labels", Key=key)
    s3_client.delete_bucket(Bucket="labels")


@pytest.mark.parametrize(("permission", "status"), [("view_registeredmodel", 200), ("activate_modelversion", 403)])
def test_quality_needs_permission_to_view(permission, status, log):
    version("m", 1)
    assert Caller(permission).get("/api/models/m/quality").status_code == status


def test_storage_that_is_away_is_told(log, settings):
    version("m", 1)
    log.directory.mkdir()
    day = log.directory / f"m/version=1/date={datetime.now(UTC):%Y-%m-%d/hour=%H}/x-1-1.parquet"
    (day).mkdir(parents=True)
    answer = Caller("view_registeredmodel").get("/api/models/m/quality")
    assert (answer.status_code, json.loads(answer.content)["code"]) == (503, "storage_unavailable")


@pytest.mark.parametrize("folder", ["m", "_ground_truth"])
def test_damaged_file_is_named(folder, client, load, log):
    serve(load, constant(1))
    client.post("/predict", {"features": [1.0, 2.0]}, **{"X-Request-ID": "r"})
    client.post(URL, {"request_id": "r", "label": 4})
    log.writer.finish()
    (path,) = (log.directory / folder).rglob("*.parquet")
    path.write_bytes(b"PAR1")
    answer = Caller("view_registeredmodel").get("/api/models/m/quality")
    assert (answer.status_code, path.name in answer.json()["error"]) == (503, True)
