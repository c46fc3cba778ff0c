"""What may be sent where: files go to the upload of artifacts alone, and large bodies nowhere else."""

from __future__ import annotations

import http.client
import os
import threading
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import get_resolver, reverse

from mlapi.body_limits import MAX_SMALL_BYTES, MAX_TABLE_BYTES, UPLOAD_PATH, body_limit
from tests.support.disks import needs_mount, small_disk

FORGED = {"csrftoken": "a" * 32}
PATHS = [
    "/admin/models_registry/modelversion/1/replay/live/",
    "/admin/login/",
    "/admin/",
    "/",
    "/docs",
    "/nowhere",
    "/api/models",
    "/api/models/m/activate",
    "/api/sync",
]


def part(name: str, content: bytes, file: str = "") -> bytes:
    about = f'form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
    return f"--b\r\nContent-Disposition: {about}\r\n\r\n".encode() + content + b"\r\n"


@pytest.fixture
def no_temporary_files(settings):
    """Let every attempt to write an upload to a file fail with an error that nobody catches."""
    settings.FILE_UPLOAD_TEMP_DIR = "/nowhere"


@pytest.fixture
def caller(db) -> Client:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.cookies.load(FORGED)
    return client


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.usefixtures("no_temporary_files")
def test_a_file_is_taken_nowhere_else(path, caller):
    answer = caller.post(path, {"username": "x", "file": SimpleUploadedFile("x.joblib", bytes(900_000))})
    assert 400 <= answer.status_code < 500, answer.content
    if path == "/admin/login/":
        assert (answer.status_code, answer.json()["code"]) == (415, "files_not_taken")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "application/x-www-form-urlencoded"])
def test_a_large_body_is_refused_before_it_is_read(path, content_type, caller):
    answer = caller.post(path, bytes(MAX_SMALL_BYTES + 1), content_type=content_type)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "body",
    [
        b"".join(part(f"f{number}", b"x") for number in range(2000)) + b"--b--\r\n",
        b"".join(part(f"f{number}", b"x", file="x") for number in range(200)) + b"--b--\r\n",
        part("csrfmiddlewaretoken", b"x" * 900_000) + b"--b--\r\n",
        b"--b\r\n" * 1000,
        b"",
    ],
)
@pytest.mark.usefixtures("no_temporary_files")
def test_a_form_that_no_browser_sends_is_refused(body, caller):
    answer = caller.post("/admin/login/", body, content_type="multipart/form-data; boundary=b")
    assert 400 <= answer.status_code < 500, answer.content


@pytest.mark.usefixtures("no_temporary_files")
@pytest.mark.parametrize("authorization", ["", "Token no", "Bearer no", "Basic bm8="])
def test_an_upload_without_a_valid_token_is_not_read(authorization, caller):
    headers = {"Authorization": authorization} if authorization else {}
    body = {"artifact": SimpleUploadedFile("m.joblib", bytes(3_000_000))}
    answer = caller.post("/api/models/m/versions", body, headers=headers)
    assert answer.status_code == 401
    # What was not read is all there still.
    assert len(answer.wsgi_request.read()) > 3_000_000


@pytest.mark.usefixtures("no_temporary_files")
def test_upload_without_permission_is_not_read(caller):
    caller.force_login(User.objects.create_user("ann"))
    token = "a" * 32
    body = {"artifact": SimpleUploadedFile("m.joblib", bytes(3_000_000)), "csrfmiddlewaretoken": token}
    refused = caller.post("/api/models/m/versions", body)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    named = caller.post("/api/models/m/versions", body, headers={"X-CSRFToken": token})
    assert "publish_modelversion" in named.json()["error"]


def test_a_person_with_the_permission_uploads(caller, storage_directory):
    user = User.objects.create_user("ann")
    user.user_permissions.set(Permission.objects.filter(codename="publish_modelversion"))
    caller.force_login(user)
    body = {"artifact": SimpleUploadedFile("m.joblib", b"bytes")}
    assert caller.post("/api/models/m/versions", body, headers={"X-CSRFToken": "a" * 32}).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (part("artifact", bytes(1_000_001), "m.joblib"), 413, "body_too_large"),
        (part("artifact", b"x", "m.joblib") + part("artifact", b"x", "n.joblib"), 400, "invalid_request"),
        (part("other", b"x", "m.joblib"), 400, "invalid_request"),
    ],
)
@pytest.mark.django_db
@pytest.mark.usefixtures("storage_directory")
def test_an_upload_is_one_artifact_within_the_limit(body, status, code, client, settings):
    settings.MODELS_MAX_ARTIFACT_MB = 1
    client.force_login(User.objects.create_superuser("ann"))
    answer = client.post("/api/models/m/versions", body + b"--b--\r\n", content_type="multipart/form-data; boundary=b")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.django_db
@pytest.mark.usefixtures("no_temporary_files")
def test_an_upload_that_no_disk_keeps_is_told_so(client):
    client.force_login(User.objects.create_superuser("ann"))
    answer = client.post("/api/models/m/versions", {"artifact": SimpleUploadedFile("m.joblib", b"bytes")})
    assert (answer.status_code, answer.json()["code"]) == (503, "disk_unavailable")
    assert answer.headers["Retry-After"] == "30"


def test_only_the_upload_has_another_limit(settings):
    settings.MODELS_MAX_ARTIFACT_MB = 7
    upload = reverse("api-versions", kwargs={"name": "m"})
    assert UPLOAD_PATH.fullmatch(upload)
    assert body_limit("POST", upload) == 8_000_000
    for method, path in [("PUT", upload), ("POST", upload + "/1"), ("POST", "/admin/" + upload), ("POST", "/")]:
        assert body_limit(method, path) == MAX_SMALL_BYTES
    assert get_resolver().resolve(upload).url_name == "api-versions"


def test_replay_table_has_its_own_limit():
    for path in (
        reverse("api-replays", kwargs={"name": "m"}),
        reverse("admin:models_registry_modelversion_replay", args=[3]),
    ):
        assert body_limit("POST", path) == MAX_TABLE_BYTES + MAX_SMALL_BYTES
        assert body_limit("POST", path + "1/") == MAX_SMALL_BYTES


def send(port: int, path: str, megabytes: int, headers: dict[str, str], *, chunked: bool) -> None:
    """Send a large form and read whatever is answered; that the connection ends early is an answer too."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    chunks = [part("file", bytes(1_000_000), "m.joblib")[:-2], *[bytes(1_000_000)] * (megabytes - 1), b"\r\n--b--\r\n"]
    kind = {"Content-Type": "multipart/form-data; boundary=b", **headers}
    if not chunked:
        kind["Content-Length"] = str(sum(map(len, chunks)))
    try:
        connection.request("POST", path, iter(chunks), kind, encode_chunked=chunked)
        assert 400 <= connection.getresponse().status < 500
    except OSError:
        return
    finally:
        connection.close()


@needs_mount
@pytest.mark.any_database
def test_nobody_fills_the_temporary_directory(new_service, tmp_path):
    with small_disk(tmp_path / "small", megabytes=64) as disk:
        service = new_service(TMPDIR=str(disk.path)).start()
        used: list[int] = []
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                found = os.statvfs(disk.path)
                used.append((found.f_blocks - found.f_bfree) * found.f_bsize)

        reconciler = threading.Thread(target=watch)
        reconciler.start()
        for path in ("/admin/login/", "/api/models/m/versions", "/api/models/m/activate", "/", "/predict", "/nowhere"):
            for chunked in (False, True):
                for extra in ({"Cookie": "csrftoken=" + "a" * 32}, {"Authorization": "Token " + "a" * 40}):
                    send(service.port, path, 30, extra, chunked=chunked)
        done.set()
        reconciler.join()
        # The static files' and the wheel's own small things aside.
        assert max(used) < 2_000_000
        assert not list(Path(disk.path).iterdir())
        assert service.get("/health/live")[0] == 200
