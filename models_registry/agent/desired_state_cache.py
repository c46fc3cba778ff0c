"""A local copy of the desired state: a worker that starts while the database is unavailable serves it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from models_registry.inference.desired_version import DesiredVersion, VersionDetails
from models_registry.inference.routing import TrafficSplit
from models_registry.services.desired_state import DesiredModel, DesiredState

log = structlog.get_logger(__name__)

LOCK_SECONDS = 5.0
# No fsync: if a crash of the machine loses the file, only a start without the database is affected.
SCHEMA = """
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS desired (model TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS details (
    model TEXT NOT NULL, is_active INTEGER NOT NULL, build TEXT NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (model, is_active)
);
CREATE TABLE IF NOT EXISTS first (only_row INTEGER PRIMARY KEY, model TEXT);
"""
TIMES = ("activated_at", "checked_at")


class DesiredStateCache:
    """A file that the workers of a machine share: a row for each model, written when that model changes.

    A full disk or a damaged file is logged, but not an error.
    """

    def __init__(self, path: Path) -> None:
        """Keep it at `path`."""
        self._path = path

    def keep(self, models: Mapping[str, DesiredModel], *, first: str | None) -> None:
        """Store the desired state of these models; models without one are removed."""
        rows = [(name, json.dumps(_to_json(desired))) for name, desired in models.items() if desired.versions()]
        gone = [(name,) for name, desired in models.items() if not desired.versions()]
        self._write(
            ("INSERT OR REPLACE INTO desired VALUES (?, ?)", rows),
            ("DELETE FROM desired WHERE model = ?", gone),
            ("DELETE FROM details WHERE model = ?", gone),
            ("INSERT OR REPLACE INTO first VALUES (1, ?)", [(first,)]),
        )

    def keep_all(self, state: DesiredState) -> None:
        """Replace the stored desired state by `state`; details of its models stay."""
        kept = self.recall() or DesiredState()
        self.keep({name: state.of(name) for name in kept.names() | state.names()}, first=state.first)

    def keep_details(self, desired: DesiredVersion, details: VersionDetails) -> None:
        """Store the data to load a version."""
        row = (desired.model, desired.is_active, desired.build, json.dumps(asdict(details)))
        self._write(("INSERT OR REPLACE INTO details VALUES (?, ?, ?, ?)", [row]))

    def recall(self) -> DesiredState | None:
        """Return the stored desired state; None if there is none, or it is not readable."""
        found = self._read("SELECT model, content FROM desired", "SELECT model FROM first")
        if found is None or not found[1]:
            return None
        rows, first = found
        try:
            return DesiredState({name: _from_json(json.loads(content)) for name, content in rows}, first=first[0][0])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._note_unreadable(error)
            return None

    def recall_details(self, desired: DesiredVersion) -> VersionDetails | None:
        """Return the data to load a version; None if it is not stored."""
        query = "SELECT content FROM details WHERE model = ? AND build = ?"
        found = self._read(query, parameters=(desired.model, desired.build))
        try:
            return VersionDetails(**json.loads(found[0][0][0])) if found and found[0] else None
        except (ValueError, TypeError) as error:
            self._note_unreadable(error)
            return None

    def _read(self, *queries: str, parameters: tuple[str, ...] = ()) -> list[list[Any]] | None:
        if not self._path.is_file():
            return None
        try:
            with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=LOCK_SECONDS)) as file:
                return [file.execute(query, parameters).fetchall() for query in queries]
        except sqlite3.Error as error:
            self._note_unreadable(error)
            return None

    def _write(self, *statements: tuple[str, Sequence[tuple[str | bool | None, ...]]]) -> None:
        """Run each statement for each of its rows, all in one transaction."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as file, file:
                for statement, rows in statements:
                    file.executemany(statement, rows)
        except (OSError, sqlite3.Error) as error:
            log.warning("desired_state_not_cached", path=str(self._path), reason=str(error))

    def _open(self) -> sqlite3.Connection:
        file = sqlite3.connect(self._path, timeout=LOCK_SECONDS)
        try:
            file.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            file.close()
            if isinstance(error, sqlite3.OperationalError):
                raise  # full, read-only or locked
            # Damaged, or in another release's form.
            self._path.unlink(missing_ok=True)
            file = sqlite3.connect(self._path, timeout=LOCK_SECONDS)
            file.executescript(SCHEMA)
        return file

    def _note_unreadable(self, error: Exception) -> None:
        log.warning("desired_state_not_restored", path=str(self._path), reason=str(error))


def _to_json(desired: DesiredModel) -> dict[str, object]:
    return {
        "versions": [_version_to_json(version) for version in desired.versions()],
        "split": asdict(desired.split) if desired.split else None,
        "aliases": dict(desired.aliases),
    }


def _version_to_json(version: DesiredVersion) -> dict[str, object]:
    values = asdict(version)
    return values | {name: values[name].isoformat() for name in TIMES if values[name]}


def _from_json(item: dict[str, Any]) -> DesiredModel:
    versions = {version.is_active: version for version in map(_version_from_json, item["versions"])}
    split = TrafficSplit(**item["split"]) if item["split"] else None
    return DesiredModel(versions.get(True), versions.get(False), split, item.get("aliases", {}))


def _version_from_json(item: dict[str, Any]) -> DesiredVersion:
    times = {name: datetime.fromisoformat(item[name]) for name in TIMES if item[name]}
    return DesiredVersion(**(item | times))
