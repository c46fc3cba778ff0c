"""The reference of a version: the manifest's file of training rows, fixed by its digest at validation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings

from models_registry import conf
from models_registry.artifacts.cache import CachedArtifact
from models_registry.artifacts.reference import MAX_ROWS, ReferenceTable, read_reference
from models_registry.artifacts.replaying import run_over
from models_registry.artifacts.sandbox import SandboxLimits
from models_registry.artifacts.table_formats import MAX_TABLE_BYTES
from models_registry.errors import ManifestError
from models_registry.models import ModelVersion, ReferenceRows
from models_registry.monitoring.drift import SEED
from models_registry.services.parts import newest_beside


@dataclass(frozen=True, slots=True)
class PinnedReference:
    """The identity of a reference file; `rows` is the number of rows in it."""

    name: str
    key: str
    version_id: str
    size_bytes: int
    digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class Reference:
    """Rows to compare served values with.

    `rows` is the number of rows in the source; `instances` may be a sample of them.
    """

    source: str
    rows: int
    instances: Sequence[Any]
    predictions: Sequence[Any]


def reference_of(version: ModelVersion) -> Reference:
    """Return rows of the published reference file, else those of the sample."""
    if version.reference:
        kept = version.reference_rows
        return Reference(version.reference["name"], version.reference["rows"], kept.instances, kept.predictions)
    sample = version.sample or {}
    instances, predictions = sample.get("instances") or [], sample.get("predictions") or []
    return Reference("sample", len(instances), _bounded(instances), _bounded(predictions))


def feature_value(row: Any, index: int, name: str) -> Any:
    """Return a feature's value in a reference row of any form."""
    if isinstance(row, dict):
        return row.get(name)
    return row[index] if isinstance(row, list) else row


def examine_reference(
    version: ModelVersion, name: str, artifact: CachedArtifact, schema: dict[str, Any]
) -> tuple[PinnedReference, ReferenceTable]:
    """Read the file `name` in the artifact's directory; return its identity, its rows and their predictions.

    The predictions are those of its column `prediction`, else the artifact's own. A recorded reference never changes:
    other bytes raise DigestMismatch. Raises ManifestError if the file is missing, too large or invalid, and
    StorageError.
    """
    known = PinnedReference(**version.reference) if version.reference else None
    if known is not None:
        key, version_id, size_bytes = known.key, known.version_id, known.size_bytes
    else:
        part = newest_beside(conf.storage(), version.storage_key, name, named_by="'reference'")
        key, version_id, size_bytes = part.key, part.version_id, part.size_bytes
    require_size(name, size_bytes)
    storage = conf.storage()
    with conf.artifact_cache().fetch(
        lambda target: storage.copy_version(key, version_id, target),
        suffix=PurePosixPath(key).suffix,
        digest=known.digest if known else "",
        size_bytes=size_bytes,
        deadline_seconds=settings.MODELS_STORAGE_SECONDS,
    ) as file:
        rows = read_reference(file.path, name, schema)
        pinned = PinnedReference(name, key, version_id, size_bytes, file.digest, rows.total)
    if rows.predictions is None:
        rows = _answered(rows, version, artifact, schema)
    return pinned, rows


def store_rows(version: ModelVersion, table: ReferenceTable | None) -> None:
    """Store the rows of a version's reference; None removes earlier rows."""
    if table is None:
        ReferenceRows.objects.filter(version=version).delete()
        return
    ReferenceRows.objects.update_or_create(
        version=version, defaults={"instances": table.instances, "predictions": table.predictions or []}
    )


def require_size(name: str, size_bytes: int) -> None:
    """Raise ManifestError if a reference exceeds the size limit."""
    if size_bytes > MAX_TABLE_BYTES:
        raise ManifestError(
            f"The reference {name} has {size_bytes / 1e6:.0f} MB; at most {MAX_TABLE_BYTES / 1e6:.0f} are read. Take "
            "random rows of the training data: some thousands are enough."
        )


def _bounded(rows: Sequence[Any]) -> Sequence[Any]:
    """Return a seeded sample of at most MAX_ROWS."""
    return rows if len(rows) <= MAX_ROWS else random.Random(SEED).sample(rows, MAX_ROWS)  # noqa: S311


def _answered(
    rows: ReferenceTable, version: ModelVersion, artifact: CachedArtifact, schema: dict[str, Any]
) -> ReferenceTable:
    seconds = float(settings.MODELS_CHECK_SECONDS)
    limits = SandboxLimits(
        memory_bytes=settings.MODELS_CHECK_MEMORY_MB * 1_000_000, cpu_seconds=seconds, wall_seconds=seconds
    )
    replayed = run_over(
        artifact.path,
        version.format,
        schema,
        rows.instances,
        limits,
        trusted=conf.trusted_globals(),
        allow_any_pickle=settings.MODELS_ALLOW_ANY_PICKLE,
    )
    return ReferenceTable(rows.total, rows.instances, list(replayed.predictions))


def pin_content(pinned: PinnedReference) -> dict[str, Any]:
    """Return the form that the registry stores."""
    return asdict(pinned)
