"""What the environment says, as the settings understand it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql.base import DatabaseWrapper

from mlapi import environment
from tests.support.postgresql import postgresql_server
from tests.support.warm import warm_service

ROOT = Path(__file__).parents[2]
TELL = (
    "import mlapi.settings as s; from models_registry.storage import open_storage;"
    "print(s.DATABASES['default']['NAME'], open_storage(s.MODELS_STORAGE).location, s.SECRET_KEY, sep='|')"
)


def settings_of(cwd: Path, variable_directory: str) -> tuple[str, str, str]:
    """Return the database, the storage and the secret under MLAPI_VAR, in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    done = subprocess.run(
        [sys.executable, "-c", TELL],
        cwd=cwd,
        env={
            **kept,
            "MLAPI_VAR": variable_directory,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "mlapi.settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    database, storage, secret = done.stdout.strip().split("|")
    return database, storage, secret


@pytest.mark.parametrize("name", ["plain", "c#x y", "a?b", "a+b%20"])
def test_data_may_be_in_any_relative_folder(tmp_path, name):
    database, storage, _ = settings_of(tmp_path, name)
    assert database == str(tmp_path / name / "registry.sqlite3")
    assert storage == str(tmp_path / name / "models")


@pytest.mark.parametrize("port", ["0", "65536", "99999", "http"])
def test_a_port_that_there_is_not_is_a_sentence(port):
    environment = {**os.environ, "PORT": port, "DJANGO_SETTINGS_MODULE": "mlapi.settings"}
    command = warm_service().command("-c", "import django; django.setup()")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"PORT is {port!r}; expected a number" in done.stderr


@pytest.mark.parametrize("given", ["-1", "11", "nan", "inf", "1e999", "soon"])
def test_number_out_of_bounds_is_refused_with_reason(monkeypatch, given):
    monkeypatch.setenv("PATIENCE", given)
    with pytest.raises(ImproperlyConfigured, match=f"PATIENCE is '{given}'; expected a number"):
        environment.number("PATIENCE", 1, maximum=10)
    monkeypatch.setenv("PATIENCE", "10")
    assert environment.number("PATIENCE", 1, maximum=10) == 10


def test_integer_out_of_bounds_is_refused_with_reason(monkeypatch):
    monkeypatch.setenv("DOOR", "99999")
    with pytest.raises(
        ImproperlyConfigured, match="DOOR is '99999'; expected a number of at least 1 and at most 65535"
    ):
        environment.whole("DOOR", 8000, minimum=1, maximum=65_535)
    monkeypatch.setenv("DOOR", "65535")
    assert environment.whole("DOOR", 8000, minimum=1, maximum=65_535) == 65_535


@pytest.mark.parametrize(
    "url", ["foo", "://", "postgres//mlapi:word@host/registry", "foo:bar", "mysql://host/registry"]
)
def test_a_database_of_another_kind_is_refused_in_words(monkeypatch, recwarn, url):
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match="names neither PostgreSQL nor SQLite; expected postgres://"):
        environment.database(Path("unused"))
    # A warning would show the password.
    assert not recwarn.list


def test_an_empty_secret_file_counts_as_none(tmp_path):
    (tmp_path / "secret-key").touch(mode=0o600)
    _, _, secret = settings_of(tmp_path, str(tmp_path))
    assert len(secret) > 40
    assert settings_of(tmp_path, str(tmp_path))[2] == secret
    assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"]


@pytest.mark.parametrize("is_empty", [False, True], ids=["missing", "empty"])
def test_who_starts_at_once_has_one_secret(tmp_path, is_empty):
    with ThreadPoolExecutor(8) as threads:
        for number in range(20):
            path = tmp_path / str(number) / "secret-key"
            path.parent.mkdir()
            if is_empty:
                path.touch()
            together = threading.Barrier(8)

            def ask(_: int, path: Path = path, together: threading.Barrier = together) -> str:
                together.wait()
                return environment.kept_secret(path)

            assert set(threads.map(ask, range(8))) == {path.read_text()}


def test_run_local_makes_the_storage_the_service_reads(tmp_path):
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    # A database that nobody answers for: it ends right after the storage is made.
    done = subprocess.run(
        warm_service().command("manage.py", "run_local"),
        cwd=ROOT,
        env={**kept, "MLAPI_VAR": str(tmp_path / "a b#c"), "DATABASE_URL": "postgres://nobody:x@127.0.0.1:1/none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "database cannot be used" in done.stderr
    assert (tmp_path / "a b#c" / "models").is_dir()


@pytest.fixture(scope="module")
def server():
    """Return the address of a PostgreSQL server."""
    with postgresql_server() as held:
        yield held.get_uri()


@pytest.fixture
def address(server):
    """Return a TCP port that leads to the server's socket."""
    with psycopg.connect(server) as connection:
        path = f"{connection.info.host}/.s.PGSQL.{connection.info.port}"
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with source.makefile("rb", 0) as reading, target.makefile("wb", 0) as writing:
            shutil.copyfileobj(reading, writing, 65536)
        target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        near, _ = listening.accept()
        far = socket.socket(socket.AF_UNIX)
        far.connect(path)
        for pair in ((near, far), (far, near)):
            threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.close()


@pytest.fixture
def connect(monkeypatch):
    """Return a function that connects as Django does with a DATABASE_URL."""
    opened = []

    def connect(url: str) -> psycopg.Connection:
        monkeypatch.setenv("DATABASE_URL", url)
        config = {"HOST": "", "PORT": "", "TIME_ZONE": None} | environment.database(Path("unused"))
        connection = psycopg.connect(**DatabaseWrapper(config, alias="other").get_connection_params())
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def shown(connection: psycopg.Connection, name: str) -> str:
    return connection.execute(f"SHOW {name}").fetchone()[0]


def test_a_silent_network_is_noticed_within_seconds(connect, address):
    connection = connect(f"postgres://postgres:@127.0.0.1:{address}/postgres")
    assert shown(connection, "statement_timeout") == "30s"
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as kernel:
        told = {
            name: kernel.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        }
    assert told == {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}


def test_the_options_of_the_url_go_before(connect, server, address):
    given = quote("-c statement_timeout=5000 -c application_name=mine")
    connection = connect(
        f"postgres://postgres:@127.0.0.1:{address}/postgres?options={given}&connect_timeout=9&keepalives_idle=60"
    )
    assert shown(connection, "statement_timeout") == "5s"
    assert shown(connection, "application_name") == "mine"
    assert connection.info.get_parameters()["connect_timeout"] == "9"
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as kernel:
        assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_a_unix_socket_is_reached(connect, server):
    assert shown(connect(server), "statement_timeout") == "30s"


def modules_after(code: str) -> set[str]:
    """Return what a process has imported that ran `code` with Django's apps ready."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, django; django.setup(); {code}; print(*sys.modules)"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "mlapi.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_worker_start_imports_only_what_predictions_need():
    imported = modules_after("import mlapi.http.application, mlapi.http.process")
    assert {"mlapi.observability.tracing", "models_registry.agent.reconciler"} < imported
    assert (
        not {"opentelemetry", "models_registry.admin", "unfold.admin", "rest_framework.views", "sklearn", "duckdb"}
        & imported
    )


def test_admin_pages_are_imported_with_checks_and_routes():
    assert "models_registry.admin" in modules_after(
        "from django.core.checks import run_checks; run_checks(tags=['admin'])"
    )
    assert "models_registry.admin" in modules_after("import mlapi.urls")


def test_public_key_in_base64_becomes_a_pem_file(tmp_path: Path) -> None:
    from base64 import b64encode

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    path = environment.public_key_file(b64encode(der).decode(), tmp_path / "var")
    assert serialization.load_pem_public_key(Path(path).read_bytes()) == key


def test_no_public_key_is_no_file(tmp_path: Path) -> None:
    assert environment.public_key_file("", tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["not a key!", "QUJD\nQUJD"])
def test_public_key_that_is_no_base64_is_said(tmp_path: Path, text: str) -> None:
    expected = "MODELS_SIGNATURE_KEY_BASE64 is not valid base64.* joined without line breaks"
    with pytest.raises(ImproperlyConfigured, match=expected):
        environment.public_key_file(text, tmp_path)


def test_networks_are_read_and_a_wrong_one_is_named():
    found = environment.networks(["10.0.0.7/8", "2001:db8::/32", "192.0.2.1"], name="MLAPI_ADMIN_CIDR")
    assert [str(network) for network in found] == ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"]
    with pytest.raises(ImproperlyConfigured, match="MLAPI_ADMIN_CIDR cannot be read"):
        environment.networks(["10.0.0.0/99"], name="MLAPI_ADMIN_CIDR")


def test_beginning_of_a_header_is_as_given(monkeypatch):
    monkeypatch.setenv("MLAPI_PROXY_HEADERS", " X-Mlapi ")
    assert environment.header_prefix("MLAPI_PROXY_HEADERS", "X-Forwarded") == "X-Mlapi"


@pytest.mark.parametrize("value", ["X-Forwarded-", "X_Forwarded", "-For", "a b", "X:"])
def test_what_no_header_begins_with_is_refused(monkeypatch, value):
    monkeypatch.setenv("MLAPI_PROXY_HEADERS", value)
    with pytest.raises(ImproperlyConfigured, match="MLAPI_PROXY_HEADERS is"):
        environment.header_prefix("MLAPI_PROXY_HEADERS", "X-Forwarded")
