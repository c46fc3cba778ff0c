"""Both storages keep the same promises."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from models_registry.errors import ManifestError, ObjectMissing, StorageError, StorageUnavailable
from models_registry.storage import open_storage
from tests.models_registry.stored import content, keys


def test_every_version_of_a_key_is_kept_in_order(storage):
    storage.put("m/model.joblib", io.BytesIO(b"one"))
    first = storage.list_versions()
    time.sleep(1.1)
    storage.put("m/model.joblib", io.BytesIO(b"two!"))
    storage.put("n/model.joblib", io.BytesIO(b"other"))
    versions = storage.list_versions("m/")
    assert [version.size_bytes for version in versions] == [3, 4]
    assert versions[0] == first[0]
    assert [content(storage, version.key, version.version_id) for version in versions] == [b"one", b"two!"]
    assert storage.read_current("m/model.joblib") == b"two!"
    assert keys(storage, "n/") == ["n/model.joblib"]


def test_what_the_service_stores_need_not_settle(tmp_path, monkeypatch):
    storage = open_storage(tmp_path.as_uri())
    storage.put("m/model.joblib", io.BytesIO(b"one"))
    waits: list[float] = []
    monkeypatch.setattr("models_registry.storage.file_system.time.sleep", waits.append)
    assert keys(storage) == ["m/model.joblib"]
    assert not waits
    (tmp_path / "m/model.joblib").write_bytes(b"by another hand")
    assert len(storage.list_versions()) == 2
    assert waits


def test_listing_twice_finds_nothing_new(storage):
    storage.put("m/model.joblib", io.BytesIO(b"one"))
    assert storage.list_versions() == storage.list_versions()


def test_what_is_not_there(storage):
    assert storage.read_current("m/none.manifest.json") is None
    with pytest.raises(ObjectMissing):
        content(storage, "m/none.joblib", "none")


class FullDisk(io.RawIOBase):
    """A file on a disk without space."""

    def write(self, data) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_targets_refusal_is_not_blamed_on_the_storage(storage):
    storage.put("m/model.joblib", io.BytesIO(b"one"))
    (version,) = storage.list_versions()
    with pytest.raises(OSError, match="No space left") as caught:
        storage.copy_version(version.key, version.version_id, FullDisk())
    assert caught.value.errno == errno.ENOSPC


def test_a_manifest_of_many_bytes_is_refused_in_words(storage):
    storage.put("m/model.joblib.manifest.json", io.BytesIO(b"x" * 100))
    assert storage.read_current("m/model.joblib.manifest.json", max_bytes=100) == b"x" * 100
    with pytest.raises(ManifestError, match="The manifest has 100 bytes; at most 99 are read"):
        storage.read_current("m/model.joblib.manifest.json", max_bytes=99)


def test_deleted_key_is_no_longer_listed(storage):
    storage.put("m/model.joblib", io.BytesIO(b"one"))
    storage.list_versions()
    storage.delete("m/model.joblib")
    assert storage.list_versions() == []


def test_a_file_that_is_touched_is_no_new_version(tmp_path):
    storage = open_storage(tmp_path.as_uri())
    storage.put("m/model.joblib", io.BytesIO(b"one"))
    before = storage.list_versions()
    os.utime(tmp_path / "m/model.joblib", (1_600_000_000, 1_600_000_000))
    assert storage.list_versions() == before


def test_bytes_that_come_back_are_a_version_again(tmp_path):
    storage = open_storage(tmp_path.as_uri())
    path = tmp_path / "m/model.joblib"
    path.parent.mkdir()
    for stamp, text in enumerate(["a", "b", "a"]):
        path.write_text(text)
        os.utime(path, (1_600_000_000 + stamp, 1_600_000_000 + stamp))
        storage.list_versions()
    versions = storage.list_versions()
    assert [content(storage, version.key, version.version_id) for version in versions] == [b"a", b"b", b"a"]


def test_a_directory_that_can_keep_no_copies_says_so(tmp_path):
    storage = open_storage(tmp_path.as_uri())
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.joblib").write_bytes(b"one")
    # A file where the copies' directory would be: nothing can be kept there, whoever runs this.
    (tmp_path / ".versions").write_text("")
    with pytest.raises(StorageUnavailable):
        storage.list_versions()


@pytest.fixture
def read_only():
    """Return a directory, with an artifact, that this process may not write to, whoever runs it."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        (path / "m").mkdir()
        (path / "m/model.joblib").write_bytes(b"one")
        os.utime(path / "m/model.joblib", (1_600_000_000, 1_600_000_000))
        path.chmod(0o555)
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)  # root may write anywhere
        yield path
        os.seteuid(was)
        path.chmod(0o755)


def change(path: Path, data: bytes, stamp: int) -> None:
    """Write to the file as its owner, who is somebody else."""
    was = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    path.write_bytes(data)
    os.utime(path, (stamp, stamp))
    os.seteuid(was)


def test_touched_file_without_a_copy_is_no_new_version(read_only):
    storage = open_storage(read_only.as_uri())
    (before,) = storage.list_versions()
    assert before.version_id == f"digest-{hashlib.sha256(b'one').hexdigest()}"
    assert content(storage, before.key, before.version_id) == b"one"
    change(read_only / "m/model.joblib", b"one", 1_600_000_005)
    (after,) = storage.list_versions()
    assert (after.key, after.version_id) == (before.key, before.version_id)


def test_other_bytes_never_replace_a_lost_version(read_only):
    storage = open_storage(read_only.as_uri())
    (before,) = storage.list_versions()
    change(read_only / "m/model.joblib", b"two", 1_600_000_000)
    with pytest.raises(ObjectMissing, match="has changed, and no copy"):
        content(storage, before.key, before.version_id)


def test_storage_that_is_not_there(tmp_path, s3):
    with pytest.raises(StorageUnavailable, match="Create the directory"):
        open_storage((tmp_path / "none").as_uri()).list_versions()
    with pytest.raises(StorageUnavailable, match="Create it, or correct MODELS_STORAGE"):
        open_storage("s3://no-such-bucket-here/p").list_versions()
    for wrong in ("models", "s3://", "ftp://x/y", ""):
        with pytest.raises(StorageError, match="expected file:///"):
            open_storage(wrong)


def test_unversioned_bucket_is_held_by_its_etag(s3):
    bucket = s3.bucket(f"plain-{uuid.uuid4().hex[:8]}", versioned=False)
    storage = open_storage(f"s3://{bucket}")
    storage.put("m/model.joblib", io.BytesIO(b"one"))
    (version,) = storage.list_versions()
    assert version.version_id.startswith("etag:")
    assert content(storage, version.key, version.version_id) == b"one"
    storage.put("m/model.joblib", io.BytesIO(b"two"))
    with pytest.raises(ObjectMissing):
        content(storage, version.key, version.version_id)


def test_object_from_before_versioning_survives_overwriting(s3):
    bucket = s3.bucket(f"late-{uuid.uuid4().hex[:8]}", versioned=False)
    storage = open_storage(f"s3://{bucket}")
    storage.put("m/model.joblib", io.BytesIO(b"one"))
    (first,) = storage.list_versions()
    s3.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    storage.put("m/model.joblib", io.BytesIO(b"two"))
    assert first.version_id in [version.version_id for version in storage.list_versions()]
    assert content(storage, first.key, first.version_id) == b"one"
