"""Records what is new in the storage, and marks what is gone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from models_registry import conf
from models_registry.artifacts import formats
from models_registry.artifacts.manifest import MANIFEST_SUFFIX
from models_registry.artifacts.table_formats import FORMATS as TABLE_FORMATS
from models_registry.errors import InvalidName
from models_registry.models import ModelVersion, RegisteredModel, State
from models_registry.services import parts
from models_registry.services.catalogue import check_name, register_model
from models_registry.services.mlflow_directories import find_directories
from models_registry.storage import StoredVersion, VersionedStorage

log = structlog.get_logger(__name__)

MAX_KEY = 900


@dataclass(slots=True)
class DiscoveryResult:
    """What a look into the storage brought."""

    found: list[ModelVersion] = field(default_factory=list)
    missing: list[ModelVersion] = field(default_factory=list)
    returned: list[ModelVersion] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def discover(storage: VersionedStorage | None = None, *, by: str = "", only: str = "") -> DiscoveryResult:
    """Record every version that the storage holds and the registry does not, in the order of their writing.

    One listing and one query, whatever the number of objects, and a few more for each model that has changed. Of single
    objects only manifests beside several artifacts and MLflow's descriptions are read, once each. `only` confines it to
    one model. StorageError is raised if the storage cannot be listed; nothing is then marked as missing.
    """
    storage = storage or conf.storage()
    # What others record while this listing is made is not in it, and not gone.
    began = timezone.now()
    stored = storage.list_versions(f"{only}/" if only else "")
    result = DiscoveryResult()
    there = {(item.key, item.version_id) for item in stored}
    directories = find_directories(stored, storage)
    result.ignored += directories.incomplete
    hidden = parts.companions(stored, storage) | directories.hidden
    shown = [item for item in stored if item.key not in hidden]
    recorded, gone = _look_up(there, only=only, found_before=began)
    for name, versions in _by_model(shown, directories.formats, result).items():
        if not all((item.key, item.version_id) in recorded for item in versions):
            _record(register_model(name), versions, directories.formats, result, there, by=by)
    _mark_missing(gone, result)
    for version in result.found:
        log.info("found", model=version.model.name, version=version.number, key=version.storage_key)
    return result


def _by_model(
    stored: list[StoredVersion], told: dict[str, str], result: DiscoveryResult
) -> dict[str, list[StoredVersion]]:
    """Return the artifacts by model; what is none is listed as ignored, with the reason.

    `told` has the formats of the files that an MLflow directory names, by key.
    """
    by_model: dict[str, list[StoredVersion]] = defaultdict(list)
    described = {_folder(version.key) for version in stored if version.key.endswith(MANIFEST_SUFFIX)}
    for version in stored:
        name, _, rest = version.key.partition("/")
        if version.key.endswith(MANIFEST_SUFFIX):
            continue
        if _folder(version.key) in described and PurePosixPath(version.key).suffix.lower() in TABLE_FORMATS:
            continue  # a manifest's reference
        if not rest:
            _ignore(result, f"{version.key}: lies in no model's folder; move it to <model name>/{version.key}.")
        elif len(version.key) > MAX_KEY:
            _ignore(result, f"{version.key[:80]}…: the key has {len(version.key)} characters; at most {MAX_KEY}.")
        elif version.key not in told and not formats.is_artifact(version.key):
            _ignore(result, f"{version.key}: is no artifact; those end in {', '.join(formats.FORMATS)}.")
        else:
            try:
                by_model[check_name(name)].append(version)
            except InvalidName as error:
                _ignore(result, f"{version.key}: {error}")
    return by_model


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _ignore(result: DiscoveryResult, sentence: str) -> None:
    if sentence not in result.ignored:
        result.ignored.append(sentence)


def _record(
    model: RegisteredModel,
    stored: list[StoredVersion],
    told: dict[str, str],
    result: DiscoveryResult,
    there: set[tuple[str, str]],
    *,
    by: str,
) -> None:
    known = {
        (version.storage_key, version.storage_version): version
        for version in model.versions.only(
            "pk", "storage_key", "storage_version", "parts", "state", "number", "digest", "reason"
        )
    }
    for item in stored:
        version = known.get((item.key, item.version_id))
        if version is None and model.archived_at is not None:
            _ignore(result, f"{item.key}: {model.name} is archived. Restore it to take up new versions.")
        elif version is None:
            added = _add(model, item, told.get(item.key) or formats.format_of(item.key), by=by)
            if added is not None:
                result.found.append(added)
        elif version.state == State.MISSING and _is_there(
            version.storage_key, version.storage_version, version.parts, there
        ):
            _return(version, result)


def _add(model: RegisteredModel, item: StoredVersion, format: str, *, by: str) -> ModelVersion | None:
    """Return the new version; None if another process recorded it at this moment."""
    try:
        with transaction.atomic():
            # The model's row is the queue for its numbers.
            RegisteredModel.objects.select_for_update().get(pk=model.pk)
            highest = model.versions.aggregate(highest=Max("number"))["highest"] or 0
            return ModelVersion.objects.create(
                model=model,
                number=highest + 1,
                format=format,
                storage_key=item.key,
                storage_version=item.version_id,
                size_bytes=item.size_bytes,
                published_by=by,
            )
    except IntegrityError:
        return None


def _return(version: ModelVersion, result: DiscoveryResult) -> None:
    # It is checked again: the bytes that came back are compared with the registered digest.
    ModelVersion.objects.filter(pk=version.pk, state=State.MISSING).update(state=State.FOUND, reason="")
    result.returned.append(version)


def _is_there(key: str, version_id: str, pinned: dict[str, Any] | None, there: set[tuple[str, str]]) -> bool:
    """Return whether every stored object of a version is in a listing."""
    parts = [(part["key"], part["version_id"]) for part in (pinned or {}).get("parts", ())]
    return there.issuperset([(key, version_id), *parts])


def _look_up(
    there: set[tuple[str, str]], *, only: str, found_before: datetime
) -> tuple[set[tuple[str, str]], list[int]]:
    """Return the stored versions that are recorded and not missing, and the ids of those that are gone."""
    versions = ModelVersion.objects.exclude(state=State.MISSING).order_by()
    if only:
        versions = versions.filter(model__name=only)
    recorded, gone = set(), []
    rows = versions.values_list("pk", "state", "storage_key", "storage_version", "parts", "found_at")
    for pk, state, key, version_id, pinned, found_at in rows.iterator(chunk_size=2_000):
        recorded.add((key, version_id))
        if state != State.DELETED and found_at < found_before and not _is_there(key, version_id, pinned, there):
            gone.append(pk)
    return recorded, gone


def _mark_missing(gone: list[int], result: DiscoveryResult) -> None:
    for pk in gone:
        version = ModelVersion.objects.select_related("model").get(pk=pk)
        ModelVersion.objects.filter(pk=pk).update(state=State.MISSING, reason="Its object is no longer in the storage.")
        result.missing.append(version)
        log.warning("missing", model=version.model.name, version=version.number, key=version.storage_key)
