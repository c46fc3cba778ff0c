"""A database of its own for each service: an SQLite file, or one of the PostgreSQL server's."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sqlite3
import subprocess
import tempfile
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.support.warm import warm_service

ROOT = Path(__file__).resolve().parents[2]


def new_database(directory: Path) -> str:
    """Return the URL of a new, empty database of the kind that the suite runs on."""
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        directory.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{directory / 'registry.sqlite3'}"
    name = f"service_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


def migrated_database(directory: Path) -> str:
    """Return the URL of a new database that the service could start on: a copy, since migrating takes a second."""
    template = _migrated_once()
    if not template.startswith("postgres"):
        directory.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{shutil.copy(template.removeprefix('sqlite:///'), directory / 'registry.sqlite3')}"
    name = f"service_{uuid.uuid4().hex[:12]}"
    parts = urlsplit(template)
    execute(os.environ["DATABASE_URL"], f'CREATE DATABASE "{name}" TEMPLATE "{parts.path[1:]}"')
    return urlunsplit(parts._replace(path=f"/{name}"))


@functools.cache
def _migrated_once() -> str:
    """Migrate a database, once a process."""
    directory = Path(tempfile.mkdtemp(prefix="mlapi-tests-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    url = new_database(directory)
    environment = {**os.environ, "DATABASE_URL": url, "MLAPI_VAR": str(directory / "var")}
    command = warm_service().command("manage.py", "migrate", "--verbosity", "0")
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    if not url.startswith("postgres"):
        # One file holds all of it, so that copying it copies all.
        execute(url, "PRAGMA wal_checkpoint(TRUNCATE)")
    return url


def execute(url: str, statement: str) -> None:
    """Run one statement in the database at `url`, past the service."""
    if url.startswith("postgres"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as file:
        file.execute(statement)
        file.commit()
