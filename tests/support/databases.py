"""A database of its own for each service: an SQLite file, or one of the PostgreSQL server's."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg


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


def execute(url: str, statement: str) -> None:
    """Run one statement in the database at `url`, past the service."""
    if url.startswith("postgres"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as file:
        file.execute(statement)
        file.commit()
