"""A database of its own for each service: an SQLite file, or one of the PostgreSQL server's."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
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
    """Return the URL of a new database that the service could start on: a copy, since migrating takes seconds."""
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        directory.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{copy_migrated(directory / 'registry.sqlite3')}"
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{copy_migrated(f'service_{uuid.uuid4().hex[:12]}')}"))


def copy_migrated(name: Path | str) -> Path | str:
    """Make a new database from the migrated one of this test run; `name` is an SQLite file, or a name in PostgreSQL."""
    folder = warm_service().folder
    written = folder / "migrated"
    with (folder / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not written.exists():
            written.write_text(_migrate(folder / "database"))
    template = written.read_text()
    if template.startswith("postgres"):
        execute(os.environ["DATABASE_URL"], f'CREATE DATABASE "{name}" TEMPLATE "{urlsplit(template).path[1:]}"')
    else:
        shutil.copy(template.removeprefix("sqlite:///"), name)
    return name


def _migrate(directory: Path) -> str:
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
