"""The check of a version: fetched, hashed, inspected, judged, load-tested."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
import sklearn
from django.utils import timezone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from models_registry import compilation, services
from models_registry.agent.maintenance import MaintenanceLoop
from models_registry.artifacts import inspection, load_test
from models_registry.errors import DiskUnavailable, NotActivatable, StorageUnavailable
from models_registry.models import POSTPONED_SECONDS, ModelVersion, State, interrupted_checks_began_before
from models_registry.services import examination
from tests.support.estimators import constant, constant_tree, forest, save
from tests.support.registry import check

pytestmark = pytest.mark.django_db

SERVED = sklearn.__version__


def test_honest_artifact_is_ready_with_its_report(storage_directory):
    save(forest(seed=1), storage_directory / "m/model.joblib", rows=[[0.0, 1.0, 2.0, 3.0]])
    version = check(storage_directory)
    assert version.state == State.READY
    assert len(version.digest) == 64
    assert version.schema["classes"] == [False, True] or version.schema["classes"] == [0, 1]
    assert version.report["load_seconds"] > 0
    assert "sklearn.ensemble._forest.RandomForestClassifier" in version.inspection["globals"]
    assert version.report["acceleration"]["kind"] == "onnx64"
    # The publisher gave no expected predictions: those of this validation become the expected ones.
    assert version.sample_is_own
    assert len(version.sample["predictions"]) == 1
    assert services.activate(version, by="x") is not None


def written_by(version: str, model, path: Path) -> None:
    content = save(model, path).read_bytes()
    path.write_bytes(content.replace(SERVED.encode(), version.encode()))


def test_proven_version_of_another_scikit_learn_needs_no_override(storage_directory):
    written_by("1.4.2", LogisticRegression().fit([[0.0], [1.0]], [0, 1]), storage_directory / "m/model.pkl")
    version = check(storage_directory, "m/model.pkl")
    assert (version.state, version.override_reason) == (State.READY, "")
    assert version.reason == f"Written by scikit-learn 1.4.2, verified for {SERVED}."
    assert version.inspection["version_verdict"] == version.reason
    assert services.activate(version, by="x") is not None


def test_unproven_version_of_another_scikit_learn_needs_an_override(storage_directory):
    written_by("0.1.2", LogisticRegression().fit([[0.0], [1.0]], [0, 1]), storage_directory / "m/model.pkl")
    version = check(storage_directory, "m/model.pkl")
    assert (version.state, version.reason) == (State.READY, "")
    assert "Trained with scikit-learn 0.1.2" in version.override_reason
    assert "Not verified for these versions: LogisticRegression." in version.override_reason
    with pytest.raises(NotActivatable):
        services.activate(version, by="x")


def test_what_is_no_model_is_rejected_in_words(storage_directory):
    whole = save(forest(seed=1), storage_directory / "whole/model.joblib").read_bytes()
    cases = {
        "a": (b"no pickle", ""),
        "b": (b"", "is an empty file. Copy it again."),
        "c": (whole[:300], "not a complete joblib file"),
        "d": (whole[:-300], "copy it again."),
        "e": (zlib.compress(whole)[:-300], "Its compressed data ends early. It was probably truncated"),
    }
    for name, (content, words) in cases.items():
        path = storage_directory / name / "model.joblib"
        path.parent.mkdir()
        path.write_bytes(content)
        version = check(storage_directory, f"{name}/model.joblib")
        assert version.state == State.REJECTED
        assert len(version.reason) > 30
        assert words in version.reason
        with pytest.raises(NotActivatable):
            services.activate(version, by="x")


def test_disagreeing_sample_rejects_with_the_first_differing_row(storage_directory):
    save(constant(5), storage_directory / "m/model.joblib", rows=[[0, 0], [1, 1]], predictions=[5.0, 6.0])
    version = check(storage_directory)
    assert version.state == State.REJECTED
    assert "Row 1" in version.reason
    assert "5.0" in version.reason
    assert "6.0" in version.reason


def test_a_broken_manifest_rejects_and_names_what_is_wrong(storage_directory):
    path = save(constant(5), storage_directory / "m/model.joblib")
    path.with_name(path.name + ".manifest.json").write_text('{"sampel": {}}')
    version = check(storage_directory)
    assert (version.state, "'sampel'" in version.reason) == (State.REJECTED, True)


def test_columns_with_categories_need_no_manifest(storage_directory):
    frame = pd.DataFrame({"age": [20.0, 30, 40, 50] * 10, "city": pd.Categorical(["Oslo", "Rome"] * 20)})
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=3).fit(frame, [0, 1] * 20)
    save(model, storage_directory / "m/model.joblib")
    version = check(storage_directory)
    assert (version.state, version.report["warnings"]) == (State.READY, [])
    assert [item["type"] for item in version.schema["inputs"]] == ["float", "string"]


def test_package_in_place_of_a_trusted_name_rejects(storage_directory, settings):
    settings.MODELS_TRUSTED_GLOBALS = ["shop"]
    save(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), storage_directory / "m/model.joblib")
    version = check(storage_directory)
    assert version.state == State.REJECTED
    assert version.reason.startswith("MODELS_TRUSTED_GLOBALS holds 'shop'; expected exact names")


def test_character_no_database_stores_rejects_everywhere(storage_directory):
    path = save(constant(5), storage_directory / "a/model.joblib")
    path.with_name(path.name + ".manifest.json").write_text(json.dumps({"description": "a\0b"}))
    save(LogisticRegression().fit([[0.0], [1.0]], ["x\0z", "y"]), storage_directory / "b/model.joblib")
    for key in ("a/model.joblib", "b/model.joblib"):
        version = check(storage_directory, key)
        assert version.state == State.REJECTED
        assert "NUL" in version.reason


def test_unavailable_artifact_waits_for_another_check(storage_directory):
    path = save(constant(5), storage_directory / "m/model.joblib")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    services.discover()
    version = ModelVersion.objects.get()
    (kept,) = (item for item in (storage_directory / ".versions").rglob("*-*") if item.is_file())
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(StorageUnavailable):
        services.check_version(version, holder="test")
    version.refresh_from_db()
    assert (version.state, version.claimed_by) == (State.FOUND, "")
    assert "bytes" in version.reason


def test_uncheckable_version_keeps_no_other_waiting(storage_directory):
    for name in ("a", "b"):
        path = save(constant(1), storage_directory / name / "model.joblib")
        os.utime(path, (1_600_000_000, 1_600_000_000))
    services.discover()
    (kept,) = (item for item in (storage_directory / ".versions" / "a").rglob("*-*") if item.is_file())
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    MaintenanceLoop(holder="x", discovery_seconds=60, look_seconds=60).tend()
    first, second = ModelVersion.objects.order_by("model__name")
    assert (first.state, second.state) == (State.FOUND, State.READY)
    assert services.check_next("x") is None, "it was tried a moment ago"
    with pytest.raises(NotActivatable, match="its validation is postponed"):
        services.activate(first, by="x")
    kept.write_bytes(whole)
    ModelVersion.objects.update(claimed_at=timezone.now() - timedelta(seconds=POSTPONED_SECONDS))
    assert services.check_next("x") == first
    first.refresh_from_db()
    assert (first.state, first.reason) == (State.READY, "")


def test_many_checks_keep_nothing_from_being_found(storage_directory, monkeypatch):
    """Whatever a round of checks takes, discovery has its turn when it is due."""
    path = save(constant(1), storage_directory / "a" / "model.joblib")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    maintenance = MaintenanceLoop(holder="x", discovery_seconds=0, look_seconds=60)
    later = save(constant(2), storage_directory / "later.joblib")
    os.utime(later, (1_600_000_000, 1_600_000_000))

    def check_and_upload(holder: str) -> ModelVersion | None:
        if later.exists():
            (storage_directory / "b").mkdir()
            later.rename(storage_directory / "b" / "model.joblib")
        return services.validation.check_next(holder)

    monkeypatch.setattr(services, "check_next", check_and_upload)
    maintenance.tend()
    assert set(ModelVersion.objects.values_list("model__name", "state")) == {("a", "ready"), ("b", "ready")}


def test_latest_activates_what_passes_and_never_an_older_one(storage_directory, settings):
    settings.MODELS_POLICY = "latest"
    save(constant(1), storage_directory / "m/a.joblib")
    save(constant(2), storage_directory / "m/b.joblib")
    services.discover()
    first, second = ModelVersion.objects.order_by("number")
    services.check_version(second, holder="test")
    services.check_version(first, holder="test")
    model = services.get_model("m")
    assert (model.active_version.number, model.generation) == (2, 1)
    assert model.activations.get().kind == "policy"


def test_latest_replaces_no_model_with_a_transformer(storage_directory, settings):
    settings.MODELS_POLICY = "latest"
    save(constant(1), storage_directory / "m/1/model.joblib")
    save(StandardScaler().fit([[1.0, 2.0], [3.0, 4.0]]), storage_directory / "m/2/model.joblib")
    services.discover()
    for version in ModelVersion.objects.order_by("number"):
        services.check_version(version, holder="test")
    assert [version.state for version in ModelVersion.objects.all()] == [State.READY, State.READY]
    assert services.get_model("m").active_version.number == 1


def test_latest_may_begin_with_a_canary(storage_directory, settings):
    settings.MODELS_POLICY = "latest"
    for number in (1, 2, 3):
        save(constant(number), storage_directory / f"m/{number}.joblib")
    save(constant(4, features=3), storage_directory / "m/4.joblib")
    services.discover()
    first, second, third, other = ModelVersion.objects.order_by("number")
    services.check_version(first, holder="test")
    services.set_latest_canary(services.get_model("m"), percent=5, bake_minutes=15, by="anna")
    services.check_version(third, holder="test")
    services.check_version(second, holder="test")
    services.check_version(other, holder="test")
    # The first has nothing to stand beside; an older one comes too late; callers cannot call the last.
    assert services.get_model("m").active_version == first
    (canary,) = services.get_model("m").canaries.all()
    assert (canary.version, canary.percent, canary.bake_minutes, canary.started_by) == (third, 5, 15, "policy latest")


def test_latest_does_not_retry_an_ended_canary(storage_directory, settings):
    settings.MODELS_POLICY = "latest"
    save(constant(1), storage_directory / "m/1.joblib")
    save(constant(2), storage_directory / "m/2.joblib")
    services.discover()
    first, second = ModelVersion.objects.order_by("number")
    services.check_version(first, holder="test")
    services.set_latest_canary(services.get_model("m"), percent=5, bake_minutes=15, by="anna")
    services.check_version(second, holder="test")
    services.end_canary(services.get_model("m"), by="anna")
    services.recheck(_rejected(second), by="anna")
    services.check_version(ModelVersion.objects.get(pk=second.pk), holder="test")
    assert services.current_canary(services.get_model("m")) is None


def test_one_checker_at_a_time(storage_directory):
    save(constant(1), storage_directory / "m/a.joblib")
    services.discover()
    version = ModelVersion.objects.get()
    ModelVersion.objects.update(state=State.CHECKING, claimed_by="other", claimed_at=version.found_at)
    ModelVersion.objects.update(claimed_at=timezone.now())
    assert services.check_next("me") is None


STEPS = {
    "fetch_artifact": examination,
    "inspect_in_sandbox": inspection,
    "run_load_test": load_test,
    "examine_reference": examination,
    "accelerate": compilation,
}


def test_each_step_renews_the_claim(storage_directory, monkeypatch):
    artifact = save(constant_tree(1), storage_directory / "m/a.joblib")
    (storage_directory / "m/rows.csv").write_text("x0,x1\n1,2\n3,4\n")
    artifact.with_name("a.joblib.manifest.json").write_text('{"reference": "rows.csv"}')
    services.discover()
    taken = {}

    def end_the_claim() -> None:
        ModelVersion.objects.update(state=State.CHECKING, claimed_at=timezone.now() - timedelta(hours=1))

    def watched(name: str, run):
        def step(*args, **given):
            taken[name] = services.has_version_to_check()
            end_the_claim()
            return run(*args, **given)

        return step

    for name, module in STEPS.items():
        monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
    version = ModelVersion.objects.get()
    end_the_claim()
    assert services.check_version(version).state == State.READY
    assert taken == dict.fromkeys(STEPS, False)


def test_lost_claim_is_not_renewed(storage_directory, monkeypatch):
    save(constant_tree(1), storage_directory / "m/a.joblib")
    services.discover()
    began_at, seen = timezone.now() - timedelta(minutes=1), []
    inspect, run = inspection.inspect_in_sandbox, load_test.run_load_test

    def lose_the_claim(*args, **given):
        ModelVersion.objects.update(claimed_by="another", claimed_at=began_at)
        return inspect(*args, **given)

    def look(*args, **given):
        seen.append(ModelVersion.objects.get().claimed_at)
        return run(*args, **given)

    monkeypatch.setattr(inspection, "inspect_in_sandbox", lose_the_claim)
    monkeypatch.setattr(load_test, "run_load_test", look)
    services.check_next("me")
    assert seen == [began_at]


def test_check_now_waits_for_an_interrupted_validation(storage_directory, settings):
    settings.MODELS_CHECK_SECONDS = 1
    save(constant(1), storage_directory / "m/a.joblib")
    services.discover()
    claimed_at = interrupted_checks_began_before() + timedelta(seconds=2.5)
    ModelVersion.objects.update(state=State.CHECKING, claimed_by="other", claimed_at=claimed_at)
    # A busy machine may need more than the second.
    assert services.check_now(ModelVersion.objects.get(), holder="me").state in {State.READY, State.REJECTED}


def test_latest_does_not_undo_what_a_person_decided(storage_directory, settings):
    settings.MODELS_POLICY = "latest"
    save(constant(1), storage_directory / "m/a.joblib")
    save(constant(2), storage_directory / "m/b.joblib")
    services.discover()
    first, second = ModelVersion.objects.order_by("number")
    services.check_version(first, holder="test")
    services.check_version(second, holder="test")
    services.roll_back(services.get_model("m"), by="anna")
    services.recheck(_rejected(second), by="anna")
    second.refresh_from_db()
    services.check_version(second, holder="test")
    assert services.get_model("m").active_version.number == 1


def test_latest_does_not_bring_back_what_a_person_deactivated(storage_directory, settings):
    settings.MODELS_POLICY = "latest"
    save(constant(1), storage_directory / "m/a.joblib")
    save(constant(2), storage_directory / "m/b.joblib")
    services.discover()
    first, second = ModelVersion.objects.order_by("number")
    services.check_version(first, holder="test")
    services.deactivate(services.get_model("m"), by="anna")
    services.check_version(second, holder="test")
    second.refresh_from_db()
    assert second.state == State.READY
    assert services.get_model("m").active_version is None


def _rejected(version: ModelVersion) -> ModelVersion:
    ModelVersion.objects.filter(pk=version.pk).update(state=State.REJECTED, reason="for a while")
    version.refresh_from_db()
    return version


def test_whatever_a_check_meets_it_ends_with_a_verdict(storage_directory):
    # A lone surrogate: JSON writes it, no database reads it.
    save(LogisticRegression().fit([[0.0], [1.0]], ["x\ud800z", "y"]), storage_directory / "m/model.joblib")
    version = check(storage_directory)
    assert version.state in {State.REJECTED, State.READY}
    version.refresh_from_db()
    assert version.state != State.CHECKING


def test_a_model_is_checked_after_the_cache_was_removed(storage_directory, settings):
    save(constant(1), storage_directory / "a/model.joblib")
    assert check(storage_directory, "a/model.joblib").state == State.READY
    shutil.rmtree(settings.MODELS_CACHE)
    save(constant(2), storage_directory / "b/model.joblib")
    assert check(storage_directory, "b/model.joblib").state == State.READY


def _is_postponed(directory) -> str:
    """Check what lies there, see that it waits for another check, and return why."""
    with pytest.raises(DiskUnavailable) as caught:
        check(directory)
    version = ModelVersion.objects.get()
    assert (version.state, version.reason, version.claimed_by) == (State.FOUND, str(caught.value), "")
    return version.reason


@pytest.mark.parametrize("blocked", ["cache", "cache/artifacts", "cache/compiled"])
def test_a_cache_that_cannot_be_written_to_rejects_nothing(storage_directory, tmp_path, blocked):
    save(constant(1), storage_directory / "m/model.joblib", rows=[[0, 0]])
    # A file where the directory would be: nobody can write there, whoever runs this.
    file = tmp_path / blocked
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    assert str(file) in _is_postponed(storage_directory)
    file.unlink()
    assert check(storage_directory).state == State.READY


def test_check_without_scratch_space_rejects_nothing(storage_directory, tmp_path, monkeypatch):
    save(constant(1), storage_directory / "m/model.joblib")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert "Make sure that there is space" in _is_postponed(storage_directory)


def test_artifact_evicted_during_its_check_is_not_rejected(storage_directory, settings, monkeypatch):
    save(constant(1), storage_directory / "m/model.joblib")
    run_load_test = load_test.run_load_test

    def remove_and_run(*given):
        """Remove the cache as soon as the load test runs."""
        shutil.rmtree(settings.MODELS_CACHE)
        return run_load_test(*given)

    with monkeypatch.context() as patched:
        patched.setattr(load_test, "run_load_test", remove_and_run)
        assert "The validation is retried." in _is_postponed(storage_directory)
    assert check(storage_directory).state == State.READY
