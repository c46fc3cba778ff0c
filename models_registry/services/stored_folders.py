"""Compares the storage with the registered versions: both sorted by key, one model at a time."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import F
from django.db.models.functions import Collate
from django.utils import timezone

from models_registry.artifacts import formats
from models_registry.artifacts.manifest import MANIFEST_SUFFIX
from models_registry.artifacts.table_formats import FORMATS as TABLE_FORMATS
from models_registry.errors import InvalidName, StorageUnavailable
from models_registry.models import ModelVersion, State
from models_registry.services import parts
from models_registry.services.catalogue import check_name
from models_registry.services.mlflow_directories import find_directories
from models_registry.storage import StoredVersion, VersionedStorage, oldest_first

# The length of the column with the key, in characters.
MAX_KEY = 900
# Sentences about ignored files. Above this number they are only counted.
MAX_IGNORED = 1_000
# Versions of changed models that are kept during the comparison. Above this number, a changed model is listed again.
MAX_KEPT = 20_000
# Rows of the database that are read at once.
ROWS = 2_000
# Databases sort text by their own collation; keys are sorted by bytes.
BYTE_ORDER = {"sqlite": "BINARY", "postgresql": "C"}


class Recorded(NamedTuple):
    """The registry's data of a stored version."""

    key: str
    version_id: str
    pk: int
    state: str
    parts: dict[str, Any] | None
    found_at: Any


@dataclass(slots=True)
class FolderContent:
    """The versions in a model's directory, oldest first.

    `formats` has the formats of MLflow directories' model files, by key, and `there` every stored version.
    """

    versions: list[StoredVersion]
    formats: dict[str, str]
    there: set[tuple[str, str]]

    def has(self, key: str, version_id: str, pinned: dict[str, Any] | None) -> bool:
        """Return whether every stored object of a version exists."""
        of_parts = [(part["key"], part["version_id"]) for part in (pinned or {}).get("parts", ())]
        return self.there.issuperset([(key, version_id), *of_parts])


@dataclass(frozen=True, slots=True)
class Change:
    """A model with unregistered versions; `content` is None if it must be listed again."""

    name: str
    first_at: tuple[float, str]
    content: FolderContent | None


@dataclass(slots=True)
class StorageDifferences:
    """The differences: the models with new versions, and the ids of the missing versions."""

    changes: list[Change] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    ignored: Collection[str] = ()

    def in_order_of_writing(self) -> list[Change]:
        """Return the changed models, sorted by the time of their first version."""
        return sorted(self.changes, key=lambda change: change.first_at)


class Ignored:
    """Sentences about files that are not versions, each once, and at most MAX_IGNORED."""

    def __init__(self) -> None:
        """Start empty."""
        self._sentences: dict[str, None] = {}
        self._more = 0

    def add(self, sentence: str) -> None:
        """Add a sentence, or only count it."""
        if sentence in self._sentences:
            return
        if len(self._sentences) < MAX_IGNORED:
            self._sentences[sentence] = None
        else:
            self._more += 1

    def sentences(self) -> list[str]:
        """Return the sentences, and the number of other ignored files."""
        more = [f"{self._more} more stored versions are ignored, too."] if self._more else []
        return [*self._sentences, *more]


def compare(storage: VersionedStorage, *, only: str = "") -> StorageDifferences:
    """Return the differences between the storage and the registry, for all models or `only` one.

    Raises StorageError.
    """
    found, ignored = StorageDifferences(), Ignored()
    # Versions that others register during the listing are not in it, but not missing.
    began = timezone.now()
    loose: list[StoredVersion] = []
    kept = 0
    for name, stored, recorded in _side_by_side(storage, only):
        if not name:
            loose += stored[: MAX_IGNORED - len(loose)]
            continue
        content = _content(stored, storage, ignored)
        found.gone += [
            row.pk
            for row in recorded
            if row.state != State.DELETED
            and row.found_at < began
            and not content.has(row.key, row.version_id, row.parts)
        ]
        known = {(row.key, row.version_id) for row in recorded}
        if any((item.key, item.version_id) not in known for item in content.versions):
            kept += len(content.there)
            first = content.versions[0]
            found.changes.append(Change(name, (first.modified_at, first.key), content if kept <= MAX_KEPT else None))
    _content(oldest_first(loose), storage, ignored)
    found.ignored = ignored.sentences()
    return found


def read_folder(storage: VersionedStorage, name: str) -> FolderContent:
    """Return the current content of a model's directory."""
    return _content(storage.list_versions(f"{name}/"), storage, Ignored())


def _side_by_side(storage: VersionedStorage, only: str) -> Iterator[tuple[str, list[StoredVersion], list[Recorded]]]:
    """Yield the stored and the registered versions of each model; stored ones are oldest first.

    Files outside of any directory have the empty name.
    """
    stored = ((_folder_key(item.key), 0, item) for item in _ordered(storage.iter_versions(f"{only}/" if only else "")))
    # After a failure too: with an unfinished query, SQLite refuses to write once others have written.
    with closing(_recorded(only)) as rows:
        recorded = ((_folder_key(row.key), 1, row) for row in rows)
        for folder, items in groupby(heapq.merge(stored, recorded, key=itemgetter(0)), key=itemgetter(0)):
            found: tuple[list[Any], list[Any]] = ([], [])
            for _, side, item in items:
                found[side].append(item)
            name = folder[:-1] if folder.endswith("/") else ""
            yield name, oldest_first(found[0]), found[1]


def _folder_key(key: str) -> str:
    """Return the key of a model's directory with its slash, or of a file outside of any directory."""
    name, slash, _ = key.partition("/")
    return name + slash


def _ordered(versions: Iterable[StoredVersion]) -> Iterator[StoredVersion]:
    """Yield the versions of a listing; StorageUnavailable if it is not sorted, since models would seem missing."""
    before = ""
    for version in versions:
        if version.key < before:
            raise StorageUnavailable(
                f"The storage lists {version.key} after {before}; expected the order of keys, as S3 lists them. "
                "Use a storage that does."
            )
        before = version.key
        yield version


def _recorded(only: str) -> Generator[Recorded]:
    versions = ModelVersion.objects.exclude(state=State.MISSING)
    if only:
        versions = versions.filter(model__name=only)
    byte_order = Collate(F("storage_key"), BYTE_ORDER[connection.vendor])
    rows = versions.order_by(byte_order).values_list(
        "storage_key", "storage_version", "pk", "state", "parts", "found_at"
    )
    yield from map(Recorded._make, rows.iterator(chunk_size=ROWS))


def _content(stored: list[StoredVersion], storage: VersionedStorage, ignored: Ignored) -> FolderContent:
    """Return the versions among the stored objects of a directory, given oldest first."""
    directories = find_directories(stored, storage)
    for sentence in directories.incomplete:
        ignored.add(sentence)
    hidden = parts.companions(stored, storage) | directories.hidden
    described = {_folder(item.key) for item in stored if item.key.endswith(MANIFEST_SUFFIX)}
    reasons: dict[str, str | None] = {}
    versions = []
    for item in stored:
        if item.key not in reasons:
            is_hidden = item.key in hidden or _is_beside(item.key, described)
            reasons[item.key] = "" if is_hidden else _reason_to_ignore(item.key, directories.formats)
            if reasons[item.key]:
                ignored.add(f"{_shown(item.key)}: {reasons[item.key]}")
        if reasons[item.key] is None:
            versions.append(item)
    return FolderContent(versions, directories.formats, {(item.key, item.version_id) for item in stored})


def _is_beside(key: str, described: set[str]) -> bool:
    """Return whether a file belongs to a version: a manifest, or a manifest's reference."""
    if key.endswith(MANIFEST_SUFFIX):
        return True
    return _folder(key) in described and PurePosixPath(key).suffix.lower() in TABLE_FORMATS


def _reason_to_ignore(key: str, of_mlflow: dict[str, str]) -> str | None:
    """Return why a file is not a version; None if it is one. `of_mlflow` has the model files of MLflow directories."""
    name, _, rest = key.partition("/")
    if key != _valid_text(key):
        return "the name is not valid UTF-8; rename the file."
    if not rest:
        return f"lies in no model's folder; move it to <model name>/{key}."
    if len(key) > MAX_KEY:
        return f"the key has {len(key)} characters; at most {MAX_KEY}."
    if key not in of_mlflow and not formats.is_artifact(key):
        return f"is not an artifact; those end in {', '.join(formats.FORMATS)}."
    try:
        check_name(name)
    except InvalidName as error:
        return str(error)
    return None


def _valid_text(key: str) -> str:
    """Return a key as valid UTF-8, which the database can store: names in a directory may be other bytes."""
    return key.encode(errors="replace").decode()


def _shown(key: str) -> str:
    """Return a key for a sentence: its start if it is long, with question marks for invalid bytes."""
    text = _valid_text(key)
    return f"{text[:80]}…" if len(text) > MAX_KEY else text


def _folder(key: str) -> str:
    return key.rpartition("/")[0]
