"""The command and the function for other engines: a checked version of the registry, by its digest."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import boto3
import numpy as np
import pandas as pd
import pytest
from django.core.management import CommandError, call_command

from models_registry import services
from models_registry.errors import ScoringRefused
from models_registry.models import State
from models_registry.scoring import mlapi_model
from models_registry.scoring.versions import find_version
from tests.scoring.conftest import COLUMNS, model, people
from tests.support.registry import version
from tests.support.tables import read_parquet, write_parquet

# Jobs are tested on both databases; this is about files.
pytestmark = pytest.mark.any_database

ROOT = Path(__file__).parents[2]


@pytest.mark.django_db
def test_command_scores_with_the_active_version(published, tmp_path, capsys):
    write_parquet(people(300), tmp_path / "in.parquet")
    with pytest.raises(CommandError, match="churn has no active version. Name one: churn:1"):
        call_command("score_model", "churn", str(tmp_path / "in.parquet"), str(tmp_path / "out.csv"))
    services.activate(published, by="test")
    call_command("score_model", "churn", str(tmp_path / "in.parquet"), str(tmp_path / "out.csv"))
    said = capsys.readouterr().out
    assert f"churn 1 (sha256 {published.digest[:12]}…) scored 300 rows" in said
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["prediction"].tolist() == model().predict(people(300)[COLUMNS]).tolist()


@pytest.mark.django_db
def test_command_reads_and_writes_s3(published, tmp_path, s3):
    bucket = s3.bucket("scoring")
    write_parquet(people(300), tmp_path / "in.parquet", row_group_size=100)
    client = boto3.client("s3")
    client.upload_file(str(tmp_path / "in.parquet"), bucket, "in/a.parquet")
    call_command("score_model", "churn:1", f"s3://{bucket}/in", f"s3://{bucket}/out/scored.parquet", rows_per_part=128)
    client.download_file(bucket, "out/scored.parquet", str(tmp_path / "out.parquet"))
    found = read_parquet(tmp_path / "out.parquet")
    assert found["prediction"].tolist() == model().predict(people(300)[COLUMNS]).tolist()
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix="out")["Contents"]]
    assert keys == ["out/scored.parquet"]
    assert client.head_object(Bucket=bucket, Key=keys[0])["Metadata"]["mlapi-digest"] == published.digest


@pytest.mark.django_db
def test_only_a_ready_version_scores():
    version("m", 1, State.REJECTED)
    for name, reason in {"m:1": "m 1 is rejected", "m:x": "expected NAME or NAME:VERSION"}.items():
        with pytest.raises(ScoringRefused, match=reason):
            find_version(name)


BATCHES = {
    "frame": (lambda frame: frame, lambda batch: batch),
    "arrays": (lambda frame: {name: frame[name].to_numpy() for name in frame}, pd.DataFrame),
}


@pytest.mark.django_db
def test_function_for_engines_predicts_any_kind_of_batch(published):
    predict = mlapi_model("churn", 1, probabilities=True)
    for make, read in BATCHES.values():
        batch = make(people(40))
        answered = predict(batch)
        assert type(answered) is type(batch)
        found = read(answered)
        assert found["prediction"].tolist() == model().predict(people(40)[COLUMNS]).tolist()
        np.testing.assert_allclose(
            found[["probability_no", "probability_yes"]].to_numpy(),
            model().predict_proba(people(40)[COLUMNS]),
            rtol=1e-6,
        )
    # An engine sends the function to its processes.
    assert pickle.loads(pickle.dumps(predict))(people(3))["prediction"].tolist() == found["prediction"][:3].tolist()


@pytest.mark.django_db
def test_function_refuses_another_file_under_the_same_number(published):
    predict = mlapi_model("churn", 1)
    predict.digest = "0" * 64
    with pytest.raises(ScoringRefused, match="the registry is another one"):
        predict(people(1))


def test_function_is_imported_where_django_is_not_set_up():
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-c", "from models_registry.scoring import mlapi_model"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
