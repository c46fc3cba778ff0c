"""The prediction log: from requests through the pipeline to Parquet files that DuckDB reads."""

from __future__ import annotations

import json

import boto3
import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mlapi import replica
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.snapshots import Snapshots
from models_registry import services
from models_registry.agent import log_files
from models_registry.agent.prediction_log import PredictionLogWriter
from models_registry.errors import RequestError
from models_registry.inference.capture import Capture, CaptureQueue
from models_registry.storage import open_log_storage
from tests.mlapi.test_api import Caller
from tests.support.estimators import constant
from tests.support.registry import version

TABLE = pd.DataFrame({"age": [30.0, 40.0, 50.0, 60.0], "email": ["a@x", "b@x", "a@x", "c@x"]})


def people():
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["email"]), remainder="passthrough")
    return make_pipeline(encoder, LogisticRegression()).fit(TABLE, ["no", "no", "yes", "yes"])


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Return a writer of a log of this test alone, and what DuckDB reads of it."""
    monkeypatch.setattr(replica.runtime, "captured", CaptureQueue())
    monkeypatch.setattr(replica.runtime, "captures", {"m": Capture(100)})
    return Log(tmp_path)


class Log:
    """A writer, its storage, and its rows."""

    def __init__(self, directory, url: str = "", runtime=replica.runtime) -> None:
        self.directory = directory / "log"
        self.waiting = directory / "waiting"
        self.writer = PredictionLogWriter(
            runtime,
            open_log_storage(url or self.directory.as_uri()),
            directory=self.waiting,
            hash_key=b"key",
            poll_seconds=1,
        )

    def rows(self, columns: str = "*"):
        found = f"{self.directory}/**/*.parquet"
        return duckdb.sql(
            f"SELECT {columns} FROM read_parquet('{found}') ORDER BY requested_at, request_id, \"row\""
        ).fetchall()

    def columns(self) -> list[str]:
        found = f"{self.directory}/**/*.parquet"
        return duckdb.sql(f"SELECT * FROM read_parquet('{found}', hive_partitioning = false)").columns

    def counted(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for (_, _, outcome), rows in replica.runtime.captured.counts.items():
            found[outcome] = found.get(outcome, 0) + rows
        return found


def test_rows_sent_are_rows_written(host, load, log):
    load(people(), number=3)
    for index, row in enumerate(TABLE.to_dict("records")):
        answer = host.post("/predict", {"features": row}, **{"X-Request-ID": f"r-{index}"})
        assert answer.status == 200
    assert host.post("/predict", {"instances": TABLE.to_dict("records")}, **{"X-Request-ID": "r-9"}).status == 200
    assert host.post("/invocations", {"dataframe_records": TABLE.to_dict("records")}).status == 200
    assert host.post("/predict", {"features": {"age": "old", "email": "a@x"}}).status == 400
    log.writer.finish()
    assert log.counted() == {"written": 12}
    rows = log.rows('request_id, "row", version, "input.age", "input.email", prediction, confidence')
    assert len(rows) == 12
    expected = people().predict(TABLE).tolist()
    confidence = people().predict_proba(TABLE).max(axis=1)
    assert [row[5] for row in rows[:4]] == expected
    assert [row[6] for row in rows[:4]] == pytest.approx(confidence)
    assert rows[1][:5] == ("r-1", 0, 3, 40.0, "b@x")
    assert [row[1] for row in rows if row[0] == "r-9"] == [0, 1, 2, 3]
    (path,) = log.directory.rglob("*.parquet")
    assert path.relative_to(log.directory).parts[:2] == ("m", "version=3")
    assert not list(log.waiting.iterdir())


def test_values_and_types_are_those_of_the_request(host, load, log):
    load(constant(7))
    host.post("/predict", {"instances": [[0.1, -2.5e30], [3, 4]]})
    log.writer.finish()
    assert log.rows('"input.x0", "input.x1", prediction') == [(0.1, -2.5e30, 7.0), (3.0, 4.0, 7.0)]


def test_columns_are_left_out_or_hashed(host, load, log, monkeypatch):
    hidden = (("age", "exclude"), ("email", "hash"))
    monkeypatch.setattr(replica.runtime, "captures", {"m": Capture(100, outputs=False, hidden=hidden)})
    load(people())
    host.post("/predict", {"instances": TABLE.to_dict("records")})
    log.writer.finish()
    names = log.columns()
    assert names == ["request_id", "row", "requested_at", "version", "input.email"]
    hashes = [row[0] for row in log.rows('"input.email"')]
    assert hashes[0] == hashes[2] != hashes[1]
    assert not any("@x" in value for value in hashes)
    assert b"a@x" not in next(log.directory.rglob("*.parquet")).read_bytes()


@pytest.mark.parametrize("share", [(0.0, 0, 0), (50.0, 20, 80), (100.0, 100, 100)])
def test_share_of_requests_is_logged(share, host, load, log, monkeypatch):
    percent, least, most = share
    monkeypatch.setattr(replica.runtime, "captures", {"m": Capture(percent)})
    load(constant(1))
    for _ in range(100):
        host.post("/predict", {"features": [1.0, 2.0]})
    log.writer.finish()
    assert least <= log.counted().get("written", 0) <= most


def test_full_queue_drops_and_counts(host, load, log, monkeypatch):
    monkeypatch.setattr(replica.runtime, "captured", CaptureQueue(max_rows=10))
    log = Log(log.directory.parent)
    load(constant(1))
    for _ in range(7):
        assert host.post("/predict", {"instances": [[1.0, 2.0]] * 3}).status == 200
    log.writer.finish()
    assert log.counted() == {"written": 9, "dropped": 12}
    assert len(log.rows()) == 9
    host.post("/predict", {"instances": [[1.0, 2.0]] * 3})
    log.writer.finish()
    assert len(log.rows()) == 12


def test_rows_wait_while_the_storage_is_away(host, load, log):
    log.directory.write_text("no directory")
    load(constant(1))
    for _ in range(2):
        assert host.post("/predict", {"instances": [[1.0, 2.0]] * 5}).status == 200
        log.writer.finish()
    assert log.counted() == {}
    log.directory.unlink()
    log.writer.finish()
    assert log.counted() == {"written": 10}
    assert len(log.rows()) == 10


def test_oldest_rows_are_dropped_where_the_disk_is_bounded(host, load, log, monkeypatch):
    monkeypatch.setattr(log_files, "MAX_WAITING_BYTES", 4_000)
    log.directory.write_text("no directory")
    load(constant(1))
    sent = 0
    for _ in range(8):
        sent += 20
        host.post("/predict", {"instances": np.random.default_rng(sent).normal(size=(20, 2)).tolist()})
        log.writer.finish()
    log.directory.unlink()
    log.writer.finish()
    counted = log.counted()
    assert counted["written"] + counted["dropped"] == sent
    assert counted["written"] == len(log.rows()) > 0
    assert counted["dropped"] > 0


def test_bucket_holds_the_same_files(host, load, s3, tmp_path, log):
    client = boto3.client("s3")
    client.create_bucket(Bucket="predictions")
    bucket = Log(tmp_path, "s3://predictions/log")
    load(constant(4), number=2)
    host.post("/predict", {"instances": [[1.0, 2.0]] * 3})
    bucket.writer.finish()
    (item,) = client.list_objects_v2(Bucket="predictions")["Contents"]
    assert item["Key"].startswith("log/m/version=2/date=")
    bucket.directory.mkdir()
    client.download_file("predictions", item["Key"], str(bucket.directory / "one.parquet"))
    assert len(bucket.rows()) == 3
    client.delete_object(Bucket="predictions", Key=item["Key"])
    client.delete_bucket(Bucket="predictions")


def test_metrics_count_the_logged_rows(host, load, log, tmp_path):
    load(constant(1), number=5)
    host.post("/predict", {"instances": [[1.0, 2.0]] * 3})
    log.writer.finish()
    totals = MetricsRecorder(replica.runtime, Snapshots(tmp_path / "metrics")).snapshot().totals
    assert totals.counters["mlapi_logged_rows"] == {("m", "5", "written"): 3.0}


# Settings


@pytest.mark.django_db
def test_settings_reach_the_replicas():
    model = version("m", 1).model
    assert services.read_captures() == {}
    services.set_capture(model, by="ann", percent=12.5, sides="input", exclude=["x0", {"column": "x1", "hash": True}])
    expected = Capture(12.5, inputs=True, outputs=False, hidden=(("x0", "exclude"), ("x1", "hash")))
    assert services.read_captures() == {"m": expected}


@pytest.mark.django_db
def test_column_that_no_version_has_is_refused():
    model = version("m", 1).model
    with pytest.raises(RequestError, match="capture_exclude names 'typo'"):
        services.set_capture(model, by="ann", exclude=["typo"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"capture_percent": 25, "capture": "output", "capture_exclude": ["x0"]}, 200),
        ({"capture_percent": 101}, 400),
        ({"capture_percent": -1}, 400),
        ({"capture": "everything"}, 400),
        ({"capture_exclude": ["typo"]}, 400),
        ({"capture_exclude": "x0"}, 400),
        ({"capture_exclude": [3]}, 400),
        ({"capture_exclude": [{"column": "x0"}]}, 400),
        ({"capture_exclude": [{"column": "x0", "hash": "yes"}]}, 400),
        ({"capture_exclude": [{"column": 3, "hash": True}]}, 400),
        ({"captures": 1}, 400),
    ],
)
def test_settings_are_changed_through_the_api(body, status):
    version("m", 1)
    caller = Caller("view_registeredmodel", "change_registeredmodel")
    content = json.dumps(body)
    answer = caller.client.patch("/api/models/m", content, content_type="application/json", headers=caller.headers)
    assert answer.status_code == status, answer.content
    found = caller.get("/api/models/m").json()
    assert found["capture_percent"] == (25 if status == 200 else 0)


@pytest.mark.django_db
def test_settings_need_the_permission_to_change():
    version("m", 1)
    caller = Caller("view_registeredmodel")
    answer = caller.client.patch("/api/models/m", "{}", content_type="application/json", headers=caller.headers)
    assert answer.status_code == 403
