"""What a bucket that misbehaves does to the storage, and to downloads from it."""

from __future__ import annotations

import hashlib
import io
import time
import uuid
from pathlib import Path

import pytest

from models_registry.errors import StorageDenied, StorageUnavailable
from models_registry.storage import open_storage
from tests.models_registry.stored import content


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
    assert "is unreachable" in str(caught.value)
    assert ".." not in str(caught.value)


def cache_of(tmp_path: Path, **given):
    from models_registry.artifacts.cache import ArtifactCache

    return ArtifactCache(tmp_path / "cache", max_bytes=given.get("max_bytes", 10_000))


def digest(data: bytes) -> str:

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
