"""Versions of several files, or of named parts: found as one, pinned with all of them, served as one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from models_registry import conf, services
from models_registry.artifacts.cache import digest_of
from models_registry.errors import ObjectMissing
from models_registry.management.base import describe_verdict
from models_registry.models import ModelVersion, State

# Of the database, what is stored of a version is tested on PostgreSQL by the validation's tests.
pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
X = np.random.RandomState(0).rand(40, 2) * [1, 100]
Y = (X[:, 1] > 50).astype(int)
SCALER = StandardScaler().fit(X)
MODEL = LogisticRegression().fit(SCALER.transform(X), Y)
STEPS = ["scaler.pkl", "model.pkl"]
WHEN = 1_600_000_000


def write(directory: Path, files: dict[str, Any], manifest: dict[str, Any] | None, key: str = "m/a") -> None:
    folder = directory / key
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        joblib.dump(value, folder / name)
        os.utime(folder / name, (WHEN, WHEN))
    if manifest is not None:
        (folder / "model.pkl.manifest.json").write_text(json.dumps(manifest))


def checked() -> list[ModelVersion]:
    services.discover()
    for version in ModelVersion.objects.filter(state=State.FOUND):
        services.check_version(version, holder="test")
    return list(ModelVersion.objects.order_by("number"))


def sample() -> dict[str, Any]:
    return {"instances": X[:4].tolist(), "predictions": MODEL.predict(SCALER.transform(X[:4])).tolist()}


def test_files_that_a_manifest_names_are_one_version(storage_directory):
    write(storage_directory, {"scaler.pkl": SCALER, "model.pkl": MODEL}, {"steps": STEPS, "sample": sample()})
    (version,) = checked()
    assert (version.state, version.format) == (State.READY, "bundle"), version.reason
    assert version.report["parts"] == "scaler.pkl (StandardScaler) → model.pkl (LogisticRegression)."
    assert version.report["acceleration"]["kind"] == "onnx64"
    assert [part["name"] for part in version.parts["parts"]] == STEPS
    assert services.discover().found == []


def test_dict_parts_follow_the_manifests_steps(storage_directory):
    other = LogisticRegression().fit(X, Y)
    write(storage_directory, {"model.pkl": {"b": other, "scaler": SCALER, "a": MODEL}}, None)
    (version,) = checked()
    assert (version.state, "'b', 'a' are all models" in version.reason) == (State.REJECTED, True)
    first = version.digest
    (storage_directory / "m/a/model.pkl.manifest.json").write_text(json.dumps({"steps": ["scaler", "a"]}))
    services.recheck(version, by="x")
    (version,) = checked()
    assert version.state == State.READY, version.reason
    assert version.parts["digest"] == first != version.digest


def test_version_of_several_files_goes_and_returns_whole(storage_directory):
    write(storage_directory, {"scaler.pkl": SCALER, "model.pkl": MODEL}, {"steps": STEPS})
    (version,) = checked()
    digest, hidden = version.digest, storage_directory / "scaler.away"
    (storage_directory / "m/a/scaler.pkl").rename(hidden)
    assert services.discover().missing == [version]
    assert services.discover().returned == []
    hidden.rename(storage_directory / "m/a/scaler.pkl")
    assert services.discover().returned == [version]
    (version,) = checked()
    assert (version.state, version.digest) == (State.READY, digest)


def test_pinned_files_stay_when_others_take_their_place(storage_directory):
    write(storage_directory, {"scaler.pkl": SCALER, "model.pkl": MODEL}, {"steps": STEPS})
    (version,) = checked()
    joblib.dump(StandardScaler().fit(X * 9), storage_directory / "m/a/scaler.pkl")
    os.utime(storage_directory / "m/a/scaler.pkl", (WHEN + 9, WHEN + 9))
    services.discover()
    target = storage_directory / "copy"
    with target.open("wb") as file:
        services.copier(conf.storage(), version)(file)
    assert digest_of(target) == version.digest


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (["../scaler.pkl", "model.pkl"], "'../scaler.pkl'; expected the name of a file in the artifact's own folder"),
        (["/etc/scaler.pkl", "model.pkl"], "expected the name of a file in the artifact's own folder"),
        (["..\\scaler.pkl", "model.pkl"], "expected the name of a file in the artifact's own folder"),
        ([".scaler.pkl", "model.pkl"], "expected the name of a file in the artifact's own folder"),
        (["scaler.pkl", "other.pkl"], "Name that file, too."),
        (["gone.pkl", "model.pkl"], "'gone.pkl', which is not in the artifact's folder"),
        (["scaler.skops", "model.pkl"], "which is of another format than 'model.pkl'"),
        (["scaler", "model.pkl"], "Name files alone, or parts alone."),
        (["model"], "holds a single LogisticRegression"),
        (["model.pkl"], "holds a single LogisticRegression"),
        ([], "must be a list of 1 to 16 names"),
        ("model", "must be a list of 1 to 16 names"),
        (["a", "a"], "'a' twice"),
        ([["a"]], "must be a list of 1 to 16 names"),
    ],
)
def test_steps_that_lead_nowhere_reject_in_words(storage_directory, steps, words):
    (storage_directory / "scaler.pkl").write_bytes(b"outside")
    write(storage_directory, {"scaler.skops": SCALER, "model.pkl": MODEL}, {"steps": steps})
    version = next(version for version in checked() if version.storage_key.endswith("model.pkl"))
    assert version.state == State.REJECTED
    assert words in version.reason


def test_bare_transformer_says_how_to_serve_it(storage_directory):
    write(storage_directory, {"scaler.pkl": SCALER, "model.pkl": MODEL}, None)
    scaler = next(version for version in checked() if version.storage_key.endswith("scaler.pkl"))
    assert scaler.state == State.REJECTED
    assert '"steps": ["scaler.pkl", "model.pkl"] in model.pkl.manifest.json' in scaler.reason


def test_publishing_takes_along_the_files_that_the_manifest_names(storage_directory, tmp_path):
    write(tmp_path, {"scaler.pkl": SCALER, "model.pkl": MODEL}, {"steps": STEPS}, key="here")
    version = services.publish("m", tmp_path / "here/model.pkl", by="x")
    assert checked() == [version]
    version.refresh_from_db()
    assert version.state == State.READY, version.reason
    (tmp_path / "here/scaler.pkl").unlink()
    with pytest.raises(ObjectMissing, match=r"scaler\.pkl is not there"):
        services.publish("m", tmp_path / "here/model.pkl", by="x")


def test_confirmation_shows_how_parts_were_read(storage_directory, admin_client):
    write(storage_directory, {"model.pkl": {"scaler": SCALER, "model": MODEL, "threshold": 0.4}}, None)
    (version,) = checked()
    assert version.state == State.READY, version.reason
    assert "Its parts are served as: scaler (StandardScaler)" in describe_verdict(version)
    page = admin_client.get(f"/admin/models_registry/modelversion/{version.pk}/activate/").content.decode()
    assert "scaler (StandardScaler) → model (LogisticRegression); threshold: 1 from a probability of 0.4." in page
    assert "Served as" in admin_client.get(f"/admin/models_registry/modelversion/{version.pk}/change/").content.decode()
