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

from models_registry.errors import ManifestError, ObjectMissing, StorageDenied, StorageError, StorageUnavailable
from models_registry.storage import VersionedStorage, open_storage


@pytest.fixture(params=["file", "s3"])
def storage(request, tmp_path) -> VersionedStorage:
    if request.param == "file":
        (tmp_path / "models").mkdir()
        return open_storage((tmp_path / "models").as_uri())
    bucket = request.getfixturevalue("s3").bucket(f"models-{uuid.uuid4().hex[:8]}")
    return open_storage(f"s3://{bucket}/some/prefix")


def keys(storage: VersionedStorage, prefix: str = "") -> list[str]:
    return [version.key for version in storage.list_versions(prefix)]


def content(storage: VersionedStorage, key: str, version_id: str) -> bytes:
    target = io.BytesIO()
    storage.copy_version(key, version_id, target)
    return target.getvalue()


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
    with pytest.raises(ObjectMissing, match="other bytes by now"):
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


class Misbehaving:
    """An HTTP server that answers as a broken S3 does."""

    def __init__(self, answer) -> None:
        import threading
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                answer(self, outer.requests)

            def log_message(self, *_: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def misbehaving(monkeypatch):
    servers = []

    def make(answer):
        server = Misbehaving(answer)
        servers.append(server)
        for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        # Another bucket each time: storages are kept by URL.
        return server, open_storage(f"s3://b{uuid.uuid4().hex[:10]}/p")

    yield make
    for server in servers:
        server.server.shutdown()


def error_page(status: int, code: str):
    def answer(handler, count):
        body = f"<Error><Code>{code}</Code></Error>".encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def listing(*versions: tuple[str, str, str]):
    """Answer with a listing of (key, version id, when), in the order that S3 would list them."""
    entries = "".join(
        f"<Version><Key>p/{key}</Key><VersionId>{version_id}</VersionId><IsLatest>false</IsLatest>"
        f"<LastModified>{when}</LastModified><ETag>x</ETag><Size>1</Size></Version>"
        for key, version_id, when in versions
    )

    def answer(handler, count):
        body = f"<ListVersionsResult><IsTruncated>false</IsTruncated>{entries}</ListVersionsResult>".encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_versions_of_one_second_are_listed_oldest_first(misbehaving):
    second, later = "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z"
    _, storage = misbehaving(
        listing(
            ("a/m.joblib", "a3", later),
            ("a/m.joblib", "a2", second),
            ("a/m.joblib", "a1", second),
            ("b/m.joblib", "b2", second),
            ("b/m.joblib", "b1", second),
        )
    )
    assert [version.version_id for version in storage.list_versions()] == ["a1", "a2", "b1", "b2", "a3"]


def test_deleted_key_has_no_versions_wherever_pages_are_cut(misbehaving):
    """The marker that deletes a key may be the last item of a page, and its versions on the next two."""

    def entry(kind: str, key: str, version_id: str, is_latest: bool) -> str:
        return (
            f"<{kind}><Key>{key}</Key><VersionId>{version_id}</VersionId><IsLatest>{str(is_latest).lower()}</IsLatest>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag><Size>1</Size></{kind}>"
        )

    pages = [
        entry("Version", "a/m", "a1", True) + entry("DeleteMarker", "b/m", "b3", True),
        entry("Version", "b/m", "b2", False),
        entry("Version", "b/m", "b1", False) + entry("Version", "c/m", "c3", True),
        entry("DeleteMarker", "c/m", "c2", False) + entry("Version", "c/m", "c1", False),
    ]

    def answer(handler, count):
        following = f"<NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>{count}</NextVersionIdMarker>"
        has_more = count < len(pages)
        end = f"<IsTruncated>{str(has_more).lower()}</IsTruncated>{following if has_more else ''}"
        body = f"<ListVersionsResult>{end}{pages[count - 1]}</ListVersionsResult>".encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    _, storage = misbehaving(answer)
    assert [version.version_id for version in storage.iter_versions()] == ["a1", "c1", "c3"]


def test_files_are_listed_in_the_order_of_their_keys(tmp_path):
    storage = open_storage(tmp_path.as_uri())
    keys = ["a-b/m.joblib", "a.b/m.joblib", "a/b/m.joblib", "a/m.joblib", "a0/m.joblib"]
    for key in reversed(keys):
        storage.put(key, io.BytesIO(key.encode()))
    assert [version.key for version in storage.iter_versions()] == keys == sorted(keys)
    assert [version.key for version in storage.iter_versions("a/b")] == ["a/b/m.joblib"]


def test_403_is_refused_at_once_with_what_to_grant(misbehaving):
    server, storage = misbehaving(error_page(403, "AccessDenied"))
    with pytest.raises(StorageDenied, match="s3:GetObjectVersion"):
        storage.list_versions()
    assert server.requests == 1


def test_503_once_succeeds_and_for_ever_is_unavailable(misbehaving):
    def once(handler, count):
        if count == 1:
            error_page(503, "SlowDown")(handler, count)
        else:
            handler.send_response(200)
            handler.send_header("Content-Length", "4")
            handler.end_headers()
            handler.wfile.write(b"good")

    _, storage = misbehaving(once)
    assert content(storage, "m/model.joblib", "1") == b"good"
    server, storage = misbehaving(error_page(503, "SlowDown"))
    with pytest.raises(StorageUnavailable, match="503|SlowDown"):
        content(storage, "m/model.joblib", "1")
    assert server.requests == 3


def test_a_sentence_ends_in_one_full_stop(misbehaving):
    def hang_up(handler, count):
        handler.close_connection = True

    _, storage = misbehaving(hang_up)
    with pytest.raises(StorageUnavailable) as caught:
        storage.list_versions()
    assert "is not reached" in str(caught.value)
    assert ".." not in str(caught.value)


def cache_of(tmp_path: Path, **given):
    from models_registry.artifacts.cache import ArtifactCache

    return ArtifactCache(tmp_path / "cache", max_bytes=given.get("max_bytes", 10_000))


def digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def fetch(cache, storage, key="m/model.joblib", version="1", **given):
    return cache.fetch(
        lambda target: storage.copy_version(key, version, target), suffix=".joblib", deadline_seconds=30, **given
    )


def test_truncated_body_is_retried_then_failed_and_leaves_nothing(misbehaving, tmp_path):
    def truncated(handler, count):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"x" * 500)
        handler.close_connection = True

    server, storage = misbehaving(truncated)
    cache = cache_of(tmp_path)
    with pytest.raises(StorageUnavailable):
        fetch(cache, storage, digest=digest(b"x" * 1000), size_bytes=1000)
    assert server.requests >= 3
    assert [path.suffix for path in cache.directory.iterdir()] == [".lock"]


def test_trickling_body_ends_at_the_deadline(misbehaving, tmp_path):
    def trickle(handler, count):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.2)

    _, storage = misbehaving(trickle)
    with pytest.raises(StorageUnavailable, match="within the deadline"):
        cache_of(tmp_path).fetch(
            lambda target: storage.copy_version("m/model.joblib", "1", target),
            suffix=".joblib",
            digest=digest(b""),
            deadline_seconds=1.5,
        )


def test_error_page_for_a_body_is_no_artifact(misbehaving, tmp_path):
    def page(handler, count):
        body = b"<html>Sorry</html>"
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    from models_registry.errors import DigestMismatch

    _, storage = misbehaving(page)
    with pytest.raises(DigestMismatch, match="registered as"):
        fetch(cache_of(tmp_path), storage, digest=digest(b"good"))


def test_unlisted_key_with_a_403_is_absent(misbehaving):
    def narrow(handler, count):
        if "versions" in handler.path:
            body = b"<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"
            handler.send_response(200)
            handler.send_header("Content-Type", "application/xml")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        else:
            error_page(403, "AccessDenied")(handler, count)

    _, storage = misbehaving(narrow)
    assert storage.read_current("m/model.joblib.manifest.json") is None
    _, storage = misbehaving(error_page(403, "AccessDenied"))
    with pytest.raises(StorageDenied):
        storage.read_current("m/model.joblib.manifest.json")
