"""An MLflow model directory is one version: its model's file, with the signature, the example and the run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from models_registry import services
from models_registry.errors import ManifestError, ObjectMissing
from models_registry.models import ModelVersion, State
from tests.artifacts.test_mlflow_model import SKLEARN, mlmodel

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
TABLE = pd.DataFrame({"age": [20.0, 30, 40, 50] * 5, "city": ["Oslo", "Rome"] * 10})
MODEL = make_pipeline(
    make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["city"])), LogisticRegression()
).fit(TABLE, [0, 1] * 10)
SIGNATURE = {"inputs": '[{"type": "double", "name": "age"}, {"type": "string", "name": "city"}]', "outputs": "[]"}
EXAMPLE = {"columns": ["age", "city"], "data": [[33.0, "Rome"]]}
EXAMPLE_INFO = {"artifact_path": "input_example.json", "serving_input_path": "serving_input_example.json"}
WHEN = 1_600_000_000


def write(folder: Path, model: Any = MODEL, flavors: Any = None, **others: Any) -> Path:
    """Write a directory as `mlflow.sklearn.save_model` does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "conda.yaml").write_text("name: env\n")
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code/helper.pkl").write_bytes(b"no model")
    (folder / "input_example.json").write_text(json.dumps(EXAMPLE))
    (folder / "serving_input_example.json").write_text("{}")
    joblib.dump(model, folder / "model.pkl")
    others = {"signature": SIGNATURE, "saved_input_example_info": EXAMPLE_INFO, **others}
    (folder / "MLmodel").write_bytes(mlmodel(flavors, **others))
    settle(folder)
    return folder


def settle(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (WHEN, WHEN))


def checked() -> list[ModelVersion]:
    services.discover()
    for version in ModelVersion.objects.filter(state=State.FOUND):
        services.check_version(version, holder="test")
    return list(ModelVersion.objects.order_by("number"))


def test_directory_is_one_version_with_all_that_it_says(storage_directory, admin_client):
    write(storage_directory / "churn/run")
    (version,) = checked()
    assert version.state == State.READY, version.reason
    assert (version.storage_key, version.format) == ("churn/run/model.pkl", "joblib")
    assert [(item["name"], item["type"]) for item in version.schema["inputs"]] == [("age", "float"), ("city", "string")]
    assert version.sample["instances"] == [{"age": 33.0, "city": "Rome"}]
    assert version.manifest["run_id"] == "abc"
    assert services.discover().found == []
    page = admin_client.get(f"/admin/models_registry/modelversion/{version.pk}/change/").content.decode()
    assert "MLflow run" in page
    assert "<code>abc</code>" in page


def test_directory_inside_a_models_folder_hides_no_version(storage_directory):
    write(storage_directory / "churn")
    joblib.dump(MODEL, storage_directory / "churn/v2.joblib")
    (storage_directory / "churn/later").mkdir()
    joblib.dump(MODEL, storage_directory / "churn/later/model.joblib")
    settle(storage_directory)
    assert {version.storage_key for version in checked()} == {"churn/model.pkl", "churn/later/model.joblib"}


def test_manifest_beside_the_model_goes_before_the_directory(storage_directory):
    folder = write(storage_directory / "churn/run")
    own = {"description": "ours", "metrics": {"auc": 0.9}, "sample": {"instances": [{"age": 1, "city": "Oslo"}]}}
    (folder / "model.pkl.manifest.json").write_text(json.dumps(own))
    (version,) = checked()
    assert (version.description, version.metrics) == ("ours", {"auc": 0.9})
    assert version.sample["instances"] == [{"age": 1, "city": "Oslo"}]
    assert version.manifest["run_id"] == "abc"


def test_format_is_what_the_flavor_says(storage_directory):
    folder = storage_directory / "churn/run"
    write(folder, flavors={"sklearn": {"pickled_model": "model.bin", "serialization_format": "skops"}})
    (folder / "model.pkl").unlink()
    skops.io.dump(MODEL, folder / "model.bin")
    settle(folder)
    (version,) = checked()
    assert (version.state, version.format) == (State.READY, "skops"), version.reason


def test_xgboost_keeps_its_model_as_json(storage_directory):
    folder = storage_directory / "churn/run"
    rows = np.arange(8.0).reshape(4, 2)
    write(folder, flavors={"xgboost": {"data": "model.json"}}, signature=None, saved_input_example_info=None)
    (folder / "model.pkl").unlink()
    xgboost.XGBClassifier(n_estimators=2).fit(rows, [0, 1, 0, 1]).save_model(folder / "model.json")
    settle(folder)
    (version,) = checked()
    assert (version.state, version.format) == (State.READY, "xgboost"), version.reason


def test_changed_model_in_the_directory_is_a_new_version(storage_directory):
    folder = write(storage_directory / "churn/run")
    checked()
    joblib.dump(make_pipeline(MODEL), folder / "model.pkl")
    os.utime(folder / "model.pkl", (WHEN + 9, WHEN + 9))
    assert [version.number for version in checked()] == [1, 2]


def test_directory_under_way_waits_for_its_model(storage_directory):
    folder = write(storage_directory / "churn/run")
    content = (folder / "model.pkl").read_bytes()
    (folder / "model.pkl").unlink()
    assert services.discover().ignored[0] == "churn/run/MLmodel: names model.pkl, which is not there yet."
    assert ModelVersion.objects.count() == 0
    (folder / "model.pkl").write_bytes(content)
    settle(folder)
    (version,) = checked()
    assert version.state == State.READY, version.reason


@pytest.mark.parametrize(
    ("flavors", "words"),
    [
        ({"sklearn": {**SKLEARN, "pickled_model": "../other/model.pkl"}}, "leads out of its directory"),
        ({"sklearn": {**SKLEARN, "pickled_model": "/etc/passwd"}}, "leads out of its directory"),
        ({"keras": {"data": "data"}}, "has the flavors keras; expected one of sklearn"),
    ],
)
def test_directory_that_cannot_be_served_is_rejected_in_words(storage_directory, flavors, words):
    write(storage_directory / "other/run")
    write(storage_directory / "churn/run", flavors=flavors)
    version = next(version for version in checked() if version.storage_key.startswith("churn"))
    assert (version.storage_key, version.state) == ("churn/run/MLmodel", State.REJECTED)
    assert words in version.reason


def test_example_that_the_model_refuses_rejects(storage_directory):
    folder = write(storage_directory / "churn/run")
    (folder / "input_example.json").write_text('{"columns": ["age"], "data": [[1]]}')
    (version,) = checked()
    assert (version.state, "city" in version.reason) == (State.REJECTED, True)


@pytest.mark.parametrize("given", ["", "MLmodel"])
def test_directory_is_published_as_one_version(storage_directory, tmp_path, given):
    folder = write(tmp_path / "local")
    version = services.publish("churn", folder / given, by="x", description="from here")
    services.check_version(version, holder="test")
    assert (version.state, version.description) == (State.READY, "from here"), version.reason
    assert version.manifest["run_id"] == "abc"
    assert ModelVersion.objects.count() == 1
    assert services.discover().found == []


def test_links_out_of_a_published_directory_are_refused(storage_directory, tmp_path):
    folder = write(tmp_path / "local")
    (folder / "model.pkl").rename(tmp_path / "secret.pkl")
    (folder / "model.pkl").symlink_to(tmp_path / "secret.pkl")
    with pytest.raises(ManifestError, match="leads out of its directory"):
        services.publish("churn", folder, by="x")
    (folder / "model.pkl").unlink()
    with pytest.raises(ObjectMissing, match=r"model\.pkl"):
        services.publish("churn", folder, by="x")


def test_directory_without_an_mlmodel_is_no_artifact(storage_directory, tmp_path):
    with pytest.raises(ObjectMissing, match="MLmodel"):
        services.publish("churn", tmp_path, by="x")


def test_array_model_takes_the_names_of_its_signature(storage_directory):
    arrays = LogisticRegression().fit(np.arange(8.0).reshape(4, 2), [0, 1, 0, 1])
    signature = {"inputs": '[{"type": "double", "name": "a"}, {"type": "double", "name": "b"}]'}
    folder = write(storage_directory / "churn/run", arrays, signature=signature)
    (folder / "input_example.json").write_text('{"columns": ["a", "b"], "data": [[1.0, 2.0]]}')
    (version,) = checked()
    assert version.state == State.READY, version.reason
    assert [item["name"] for item in version.schema["inputs"]] == ["a", "b"]
