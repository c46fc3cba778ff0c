"""A process whose storage is not the storage of the service that shares its database."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from models_registry import conf, services
from models_registry.errors import StorageError, StorageMismatch
from models_registry.models import ModelVersion, Replica, State
from models_registry.storage import StorageIdentity, open_storage
from tests.support.estimators import save

pytestmark = pytest.mark.django_db

HERE = socket.gethostname()


def live(address: str, *, host: str = "box", endpoint: str = "") -> None:
    """Record a live replica that uses the storage at `address`."""
    services.report_replica(
        f"{host}:1",
        host=host,
        pid=1,
        started_at=timezone.now(),
        reports=[],
        changed=True,
        storage=StorageIdentity(address, endpoint),
    )


def published(tmp_path: Path, name: str = "m") -> ModelVersion:
    artifact = tmp_path / f"{name}.joblib"
    artifact.write_bytes(b"x")
    return services.publish(name, artifact, by="x")


def holds_nothing(directory: Path) -> bool:
    return not [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("address", "endpoint", "step"),
    [
        ("s3://models/prod", "", "Set MODELS_STORAGE=s3://models/prod, and repeat it."),
        (
            "s3://models/prod",
            "http://minio:9000",
            "Set MODELS_STORAGE=s3://models/prod and AWS_ENDPOINT_URL_S3=http://minio:9000, and repeat it.",
        ),
        ("file:///srv/models", "", "Set MODELS_STORAGE=file:///srv/models on box, or publish in the admin"),
    ],
)
def test_publishing_names_the_storage_of_the_service(storage_directory, tmp_path, address, endpoint, step):
    live(address, endpoint=endpoint)
    (tmp_path / "m.joblib").write_bytes(b"x")
    with pytest.raises(CommandError) as refused:
        call_command("publish_model", "m", str(tmp_path / "m.joblib"))
    assert f"uses the storage {storage_directory.as_uri()}" in str(refused.value)
    assert step in str(refused.value)
    assert holds_nothing(storage_directory)
    assert not ModelVersion.objects.exists()


def test_service_here_names_a_value_for_this_shell(storage_directory, tmp_path):
    live("file:///srv/models", host=HERE)
    with pytest.raises(StorageMismatch, match="Set MODELS_STORAGE=file:///srv/models, and repeat it"):
        published(tmp_path)


def test_discovery_with_another_storage_marks_nothing_missing(storage_directory, tmp_path, settings):
    first = published(tmp_path)
    live(storage_directory.as_uri())
    settings.MODELS_STORAGE = (tmp_path / "other").as_uri()
    (tmp_path / "other").mkdir()
    with pytest.raises(CommandError, match="It holds none of the newest registered versions, e.g. m 1"):
        call_command("sync_models")
    first.refresh_from_db()
    assert first.state == State.FOUND


def test_upload_to_another_storage_has_its_own_code(storage_directory, tmp_path, admin_client):
    live("s3://models/prod")
    with (tmp_path / "m.joblib").open("wb+") as artifact:
        artifact.write(b"x")
        artifact.seek(0)
        answer = admin_client.post("/api/models/m/versions", {"artifact": artifact})
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_mismatch")
    assert "MODELS_STORAGE=s3://models/prod" in answer.json()["error"]
    assert holds_nothing(storage_directory)


def test_missing_file_of_another_storage_is_no_verdict(storage_directory, tmp_path, settings):
    first = published(tmp_path)
    live(storage_directory.as_uri())
    settings.MODELS_STORAGE = (tmp_path / "other").as_uri()
    (tmp_path / "other").mkdir()
    with pytest.raises(StorageMismatch):
        services.check_version(first, holder="x")
    assert ModelVersion.objects.get().state == State.FOUND


def test_scoring_with_another_storage_names_the_right_one(storage_directory, tmp_path, settings):
    from sklearn.linear_model import LogisticRegression

    save(LogisticRegression().fit([[0.0], [1.0]], ["a", "b"]), tmp_path / "m.joblib")
    call_command("publish_model", "m", str(tmp_path / "m.joblib"), "--activate")
    live(storage_directory.as_uri())
    settings.MODELS_STORAGE = (tmp_path / "other").as_uri()
    settings.MODELS_CACHE = tmp_path / "another cache"
    (tmp_path / "other").mkdir()
    (tmp_path / "in.csv").write_text("x0\n1\n")
    with pytest.raises(CommandError, match=f"MODELS_STORAGE={storage_directory.as_uri()} on box"):
        call_command("score_model", "m", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))


def test_activation_needs_no_storage(storage_directory, tmp_path, settings):
    version = published(tmp_path)
    ModelVersion.objects.update(state=State.READY, digest="0" * 64)
    live(storage_directory.as_uri())
    settings.MODELS_STORAGE = (tmp_path / "other").as_uri()
    call_command("activate_model", "m", "1", "--timeout", "0")
    version.model.refresh_from_db()
    assert version.model.active_version == version


@pytest.mark.parametrize("form", ["{0}/", "{0}/../storage", "file:{1}", "link"])
def test_another_form_of_the_address_is_the_same(storage_directory, tmp_path, settings, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(storage_directory)
    live(storage_directory.as_uri(), host=HERE)
    settings.MODELS_STORAGE = (
        (tmp_path / "link").as_uri() if form == "link" else form.format(storage_directory.as_uri(), "storage")
    )
    assert published(tmp_path).number == 1


@pytest.mark.parametrize(
    ("url", "variable", "identity"),
    [
        ("s3://models/prod/", "", StorageIdentity("s3://models/prod")),
        ("s3://models", "https://s3.eu-west-1.amazonaws.com", StorageIdentity("s3://models")),
        ("s3://models", "http://ann:secret@minio:9000/", StorageIdentity("s3://models", "http://minio:9000")),
    ],
)
def test_identity_of_a_bucket_has_one_form(monkeypatch, url, variable, identity):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", variable)
    assert open_storage(url).identity() == identity


def test_credentials_in_the_address_are_not_repeated():
    with pytest.raises(StorageError, match="Set AWS_ACCESS_KEY_ID") as refused:
        open_storage("s3://AKIA1:secret@models/prod")
    assert "secret" not in str(refused.value)


def test_directory_mounted_elsewhere_is_accepted_by_its_files(storage_directory, tmp_path, settings):
    published(tmp_path)
    live("file:///data/models", host="container")
    assert published(tmp_path, "second").number == 1


def test_same_path_on_another_machine_needs_the_files(storage_directory, tmp_path):
    published(tmp_path)
    live(storage_directory.as_uri(), host="other-machine")
    assert published(tmp_path, "second").number == 1
    shutil.rmtree(storage_directory)
    storage_directory.mkdir()
    with pytest.raises(StorageMismatch, match="Share that directory with other-machine"):
        published(tmp_path, "third")


def test_first_version_reaches_a_directory_that_machines_may_share(storage_directory, tmp_path):
    live(storage_directory.as_uri(), host="other-machine")
    assert published(tmp_path).number == 1


def test_storage_moves_while_no_replica_is_live(storage_directory, tmp_path, settings):
    published(tmp_path)
    live(storage_directory.as_uri())
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copytree(storage_directory / "m", moved / "m")
    os.utime(next(moved.rglob("*.joblib")), (1_600_000_000, 1_600_000_000))
    settings.MODELS_STORAGE = moved.as_uri()
    with pytest.raises(StorageMismatch):
        services.discover()
    Replica.objects.all().delete()
    with pytest.raises(CommandError, match="run sync_models first"):
        call_command("publish_model", "m", str(tmp_path / "m.joblib"))
    result = services.discover()
    assert ([item.number for item in result.found], [item.number for item in result.missing]) == ([2], [1])
    assert published(tmp_path).number == 3


def test_replica_of_an_earlier_release_refuses_nothing(storage_directory, tmp_path):
    live("")
    assert published(tmp_path).number == 1
    assert conf.storage().identity().address == storage_directory.as_uri()


def test_two_live_machines_with_one_path_need_one_directory(storage_directory, tmp_path):
    first = published(tmp_path)
    live(storage_directory.as_uri(), host=HERE)
    live(storage_directory.as_uri(), host="other-machine")
    shutil.rmtree(storage_directory)
    storage_directory.mkdir()
    with pytest.raises(StorageMismatch, match="Share that directory with other-machine"):
        services.discover()
    first.refresh_from_db()
    assert first.state == State.FOUND


def test_newest_files_may_be_deleted_in_a_shared_directory(storage_directory, tmp_path):
    numbers = [published(tmp_path, name).model.name for name in "abcd"]
    live(storage_directory.as_uri(), host="other-machine")
    for name in numbers[1:]:
        shutil.rmtree(storage_directory / name)
    assert [version.model.name for version in services.discover().missing] == numbers[1:]


def test_file_found_by_a_read_only_service_is_evidence(storage_directory, tmp_path, monkeypatch):
    (storage_directory / "m").mkdir()
    artifact = storage_directory / "m" / "model.joblib"
    artifact.write_bytes(b"x")
    os.utime(artifact, (1_600_000_000, 1_600_000_000))
    with monkeypatch.context() as read_only:
        read_only.setattr(Path, "mkdir", _refuse)
        services.discover()
    assert ModelVersion.objects.get().storage_version.startswith("digest-")
    live("file:///models", host="container")
    assert published(tmp_path, "second").number == 1


def _refuse(*_args: object, **_options: object) -> None:
    raise OSError(30, "Read-only file system")


def test_unreachable_storage_is_not_said_to_lack_versions(storage_directory, tmp_path, settings, monkeypatch):
    published(tmp_path)
    live("s3://models/prod", endpoint="http://minio:9000")
    use_bucket(settings, monkeypatch, "AWS_ENDPOINT_URL_S3")
    with pytest.raises(StorageMismatch, match="It cannot be read: s3://models/prod/m.*unreachable") as refused:
        published(tmp_path, "second")
    assert "It holds none" not in str(refused.value)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_variable_to_unset_is_the_one_that_is_set(storage_directory, tmp_path, settings, monkeypatch, variable):
    live("s3://models/other")
    use_bucket(settings, monkeypatch, variable)
    with pytest.raises(StorageMismatch, match=f"Set MODELS_STORAGE=s3://models/other and unset {variable}, and"):
        published(tmp_path)


def use_bucket(settings, monkeypatch, variable: str) -> None:
    """Use a bucket whose endpoint, in `variable`, refuses connections."""
    settings.MODELS_STORAGE = "s3://models/prod"
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
