"""The reference of a version: training rows in a file beside the artifact, read when the version is checked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from structlog.testing import capture_logs

from models_registry import services
from models_registry.artifacts import reference as reading
from models_registry.artifacts.inference import infer_schema
from models_registry.errors import ManifestError, ObjectMissing
from models_registry.models import FeatureBins, ModelVersion, ReferenceRows, State
from models_registry.monitoring.feature_bins import ColumnBins, VersionBins
from models_registry.services import feature_bins, references
from tests.support.estimators import save
from tests.support.registry import check
from tests.support.tables import write_parquet

# Of the database, validation and feature bins are tested on PostgreSQL by modules of their own.
pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
FRAME = pd.DataFrame({"age": np.arange(40.0), "income": np.arange(40.0) * 2})
MODEL = LogisticRegression().fit(FRAME, FRAME["age"] > 20)


def write(storage: Path, rows: str | None, *, manifest: object = "train.csv", model=MODEL) -> ModelVersion:
    """Put the model with its manifest and the reference `train.csv` into the storage, and return it checked."""
    folder = storage / "m"
    folder.mkdir(exist_ok=True)
    if rows is not None:
        (folder / "train.csv").write_text(rows)
    (folder / "model.joblib.manifest.json").write_text(json.dumps({"reference": manifest}))
    save(model, folder / "model.joblib")
    return check(storage)


def test_reference_is_pinned_and_its_rows_are_kept(storage_directory):
    text = FRAME.assign(target="x").to_csv(index=False)
    version = write(storage_directory, text)
    assert version.state == State.READY, version.reason
    pinned = ModelVersion.objects.get().reference
    assert (pinned["name"], pinned["rows"], pinned["size_bytes"]) == ("train.csv", 40, len(text))
    assert pinned["digest"] == hashlib.sha256(text.encode()).hexdigest()
    example = version.report["example"]
    assert list(example) == list(FRAME)
    assert all(example[name] in set(FRAME[name]) for name in FRAME)
    kept = ReferenceRows.objects.get()
    assert kept.instances == FRAME.to_dict("records")
    assert kept.predictions == MODEL.predict(FRAME).tolist()
    assert services.discover().ignored == []


def test_predictions_of_the_file_are_kept(storage_directory):
    write(storage_directory, "age,income,prediction\n1,2,True\n,4,False\n")
    kept = ReferenceRows.objects.get()
    assert (kept.instances[1], kept.predictions) == ({"age": None, "income": 4}, [True, False])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (None, "names 'train.csv', which is not in the artifact's folder"),
        ("age\n1\n", "'income'"),
        ("age,income\n1,2\n1,much\n", "Row 1, feature 'income': expected a number"),
        ("age,income\n", "needs a header and at least one row"),
        ("age,income\n1\n", "Line 2"),
    ],
    ids=["absent", "column", "type", "empty", "torn"],
)
def test_reference_that_does_not_fit_is_rejected(rows, reason, storage_directory):
    version = write(storage_directory, rows)
    assert (version.state, reason in version.reason) == (State.REJECTED, True), version.reason
    assert not ReferenceRows.objects.exists()


def test_corrected_reference_passes_the_next_check(storage_directory):
    version = write(storage_directory, "age\n1\n")
    services.recheck(version, by="ann")
    assert write(storage_directory, FRAME.to_csv(index=False)).state == State.READY
    assert ReferenceRows.objects.count() == 1


@pytest.mark.parametrize("name", ["../train.csv", "a/train.csv", ".train.csv", "train.txt", "", 3, "x" * 300 + ".csv"])
def test_manifest_names_a_table_in_its_own_folder(name, storage_directory):
    version = write(storage_directory, "age,income\n1,2\n", manifest=name)
    assert (version.state, "'reference'" in version.reason) == (State.REJECTED, True), version.reason


def test_too_large_reference_is_refused_before_it_is_read(storage_directory, monkeypatch):
    monkeypatch.setattr(references, "MAX_TABLE_BYTES", 10)
    assert "at most" in write(storage_directory, FRAME.to_csv(index=False)).reason


def test_version_that_comes_back_keeps_its_reference(storage_directory):
    version = write(storage_directory, FRAME.to_csv(index=False))
    digest = version.reference["digest"]
    (storage_directory / "m" / "train.csv").write_text("age,income\n1,2\n")
    ModelVersion.objects.update(state=State.FOUND)
    again = services.check_version(ModelVersion.objects.get(), holder="test")
    assert (again.state, again.reference["digest"]) == (State.READY, digest)


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_each_format_gives_the_same_rows(ending, tmp_path):
    frame = FRAME.assign(income=FRAME["income"].where(FRAME["age"] != 3))
    path = tmp_path / f"train.{ending}"
    {
        "csv": lambda: frame.to_csv(path, index=False),
        "parquet": lambda: write_parquet(frame, path),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
    }[ending]()
    found = reading.read_reference(path, path.name, infer_schema(MODEL, None, None).to_json())
    assert (found.total, found.predictions, found.instances[3]) == (40, None, {"age": 3.0, "income": None})


def test_types_of_features_decide_what_a_csv_means(tmp_path):
    frame = pd.DataFrame({"postcode": ["01234", "12345"]})
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(frame, [0, 1])
    path = tmp_path / "train.csv"
    frame.to_csv(path, index=False)
    schema = infer_schema(model, None, [{"postcode": "01234"}]).to_json()
    assert reading.read_reference(path, "train.csv", schema).instances == frame.to_dict("records")


def test_columns_without_names_are_taken_in_order(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("sepal,petal\n1,2\n")
    model = LogisticRegression().fit(FRAME.to_numpy(), FRAME["age"] > 20)
    schema = infer_schema(model, None, None).to_json()
    assert reading.read_reference(path, "train.csv", schema).instances == [[1, 2]]


def test_sample_of_a_long_file_spans_it(tmp_path):
    path = tmp_path / "train.csv"
    pd.DataFrame({"age": range(10_000), "income": 0}).to_csv(path, index=False)
    found = reading.read_reference(path, "train.csv", infer_schema(MODEL, None, None).to_json())
    ages = [row["age"] for row in found.instances]
    assert (found.total, len(ages), len(set(ages))) == (10_000, reading.MAX_ROWS, reading.MAX_ROWS)
    assert np.mean(ages) == pytest.approx(5_000, rel=0.05)


def test_command_stores_the_reference_beside_the_artifact(storage_directory, tmp_path):
    artifact = save(MODEL, tmp_path / "model.joblib")
    FRAME.to_csv(tmp_path / "My training.CSV", index=False)
    call_command("publish_model", "m", str(artifact), reference=tmp_path / "My training.CSV")
    (stored,) = (storage_directory / "m").glob("*/reference.csv")
    assert stored.read_text() == FRAME.to_csv(index=False)
    assert ModelVersion.objects.get().reference["rows"] == 40


def test_publishing_takes_the_reference_that_the_manifest_names(storage_directory, tmp_path):
    artifact = save(MODEL, tmp_path / "model.joblib")
    (tmp_path / "model.joblib.manifest.json").write_text('{"reference": "train.csv"}')
    with pytest.raises(ObjectMissing, match="train.csv is not there"):
        services.publish("m", artifact, by="ann")
    FRAME.to_csv(tmp_path / "train.csv", index=False)
    services.publish("m", artifact, by="ann")
    assert list((storage_directory / "m").glob("*/train.csv"))


def test_publishing_refuses_a_reference_that_leads_out(storage_directory, tmp_path):
    (tmp_path / "secret.csv").write_text("age,income\n1,2\n")
    (tmp_path / "a").mkdir()
    artifact = save(MODEL, tmp_path / "a" / "model.joblib")
    (tmp_path / "a" / "model.joblib.manifest.json").write_text('{"reference": "train.csv"}')
    (tmp_path / "a" / "train.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(ManifestError, match="leads out"):
        services.publish("m", artifact, by="ann")


@pytest.mark.parametrize(("name", "said"), [("train.txt", "not a table of rows"), ("none.csv", "is not there")])
def test_command_refuses_what_is_no_reference(name, said, storage_directory, tmp_path):
    (tmp_path / "train.txt").write_text("x")
    artifact = save(MODEL, tmp_path / "model.joblib")
    with pytest.raises(CommandError, match=said):
        call_command("publish_model", "m", str(artifact), reference=tmp_path / name)
    assert not list(storage_directory.rglob("*.joblib"))


def test_bins_are_fixed_by_the_check(storage_directory):
    ages = np.random.default_rng(0).normal(20, 5, 300)
    ages[:9] = np.nan
    version = write(storage_directory, pd.DataFrame({"age": ages, "income": 1.0}).to_csv(index=False))
    bins = FeatureBins.objects.get(version=version)
    assert (bins.source, bins.rows) == ("file", 300)
    age, income, predictions = bins.columns
    assert age["reference"] == [*np.histogram(ages, [-np.inf, *age["edges"], np.inf])[0], 9]
    assert (income["edges"][0], income["reference"]) == (1.0, [0, 300, 0, 0])
    # The model takes no missing value: those rows have no prediction.
    assert (sum(predictions["reference"]), predictions["reference"][-1]) == (300, 9)


@pytest.mark.parametrize("answer", [ValueError("no bins"), np.inf])
def test_verdict_does_not_depend_on_the_bins(answer, storage_directory, monkeypatch):
    def bins_of(*_):
        if isinstance(answer, Exception):
            raise answer
        # No database takes it as JSON.
        return VersionBins((ColumnBins("age", 0, "float", edges=(answer,)),))

    monkeypatch.setattr(feature_bins, "bins_of", bins_of)
    with capture_logs() as logs:
        version = write(storage_directory, pd.concat([FRAME] * 10).to_csv(index=False))
    assert (version.state, FeatureBins.objects.count()) == (State.READY, 0)
    (told,) = [line for line in logs if line["log_level"] == "error"]
    assert (told["event"], told["model"], told["version"]) == ("bins_not_stored", "m", 1)
