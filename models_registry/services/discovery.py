"""Registers new versions in the storage, and marks missing ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Max

from models_registry import conf
from models_registry.artifacts import formats
from models_registry.models import ModelVersion, RegisteredModel, State
from models_registry.services.catalogue import register_model
from models_registry.services.shared_storage import require_shared_storage
from models_registry.services.stored_folders import FolderContent, compare, read_folder
from models_registry.storage import StoredVersion, VersionedStorage

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class DiscoveryResult:
    """The result of a scan of the storage."""

    found: list[ModelVersion] = field(default_factory=list)
    missing: list[ModelVersion] = field(default_factory=list)
    returned: list[ModelVersion] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def discover(storage: VersionedStorage | None = None, *, by: str = "", only: str = "") -> DiscoveryResult:
    """Register every unregistered version in the storage, in the order of their creation.

    One listing and one query for any number of objects, and a few queries for each changed model. Both are read model
    by model, so the memory depends on the largest model. Of single objects, only manifests next to several artifacts
    and MLflow's descriptions are read, once each. `only` limits the scan to one model. Raises StorageError if the
    listing fails, and StorageMismatch if the service uses another storage. No version is then marked as missing.
    """
    storage = storage or conf.storage()
    result = DiscoveryResult()
    differences = compare(storage, only=only)
    if differences.changes or differences.gone:
        require_shared_storage(storage)
    result.ignored += differences.ignored
    for change in differences.in_order_of_writing():
        content = change.content or read_folder(storage, change.name)
        _record(register_model(change.name), content, result, by=by)
    _mark_missing(differences.gone, result)
    for version in result.found:
        log.info("found", model=version.model.name, version=version.number, key=version.storage_key)
    return result


def _record(model: RegisteredModel, content: FolderContent, result: DiscoveryResult, *, by: str) -> None:
    known = {
        (version.storage_key, version.storage_version): version
        for version in model.versions.only(
            "pk", "storage_key", "storage_version", "parts", "state", "number", "digest", "reason"
        )
    }
    ignored: dict[str, None] = {}
    for item in content.versions:
        version = known.get((item.key, item.version_id))
        if version is None and model.archived_at is not None:
            ignored[f"{item.key}: {model.name} is archived. Restore it to register new versions."] = None
        elif version is None:
            added = _add(model, item, content.formats.get(item.key) or formats.format_of(item.key), by=by)
            if added is not None:
                result.found.append(added)
        elif version.state == State.MISSING and content.has(
            version.storage_key, version.storage_version, version.parts
        ):
            _return(version, result)
    result.ignored += ignored


def _add(model: RegisteredModel, item: StoredVersion, format: str, *, by: str) -> ModelVersion | None:
    """Return the new version; None if another process registered it at the same time."""
    try:
        with transaction.atomic():
            # The lock on the model's row serializes the assignment of numbers.
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
    # Validated again: its bytes are compared with the registered digest.
    ModelVersion.objects.filter(pk=version.pk, state=State.MISSING).update(state=State.FOUND, reason="")
    result.returned.append(version)


def _mark_missing(gone: list[int], result: DiscoveryResult) -> None:
    for pk in gone:
        # A listing can take minutes: another process may have deleted the version meanwhile, or marked it as missing.
        current = ModelVersion.objects.filter(pk=pk).exclude(state__in=[State.DELETED, State.MISSING])
        if not current.update(state=State.MISSING, reason="Its object is no longer in the storage."):
            continue
        version = ModelVersion.objects.select_related("model").get(pk=pk)
        result.missing.append(version)
        log.warning("missing", model=version.model.name, version=version.number, key=version.storage_key)
