"""From a wish to a model that is opened, verified and warm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models_registry.artifacts import formats
from models_registry.artifacts.cache import ArtifactCache, CachedArtifact, Copy
from models_registry.artifacts.calling import call
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.sample import verify_sample
from models_registry.artifacts.signature import Signature
from models_registry.errors import BrokenArtifact
from models_registry.serving import memory
from models_registry.serving.coalescing import Coalescer, Direct
from models_registry.serving.runtime import LoadedModel

WARM_UP_PREDICTIONS = 3
# Beyond what the probe saw the model take: the worker itself, and what serves meanwhile.
MEMORY_RESERVE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class VersionRef:
    """A pinned version, with what is needed to open it; no row of a database."""

    model: str
    number: int
    version_id: int
    generation: int
    format: str
    size_bytes: int
    digest: str
    signature: Signature
    sample: Sample | None
    report: Mapping[str, Any]
    description: str
    acceleration: bool


@dataclass(frozen=True, slots=True)
class Preparation:
    """How versions are prepared on this machine."""

    cache: ArtifactCache
    deadline_seconds: float
    trusted: frozenset[str] = frozenset()
    allow_any_pickle: bool = False
    accelerate: bool = True
    compiled_directory: Path | None = None

    def prepare(self, version: VersionRef, copy: Copy) -> LoadedModel:
        """Return `version` opened, verified against its sample and warm.

        `copy` writes its bytes to a file, where they are not cached. Raises StorageError or ArtifactError.
        """
        artifact = self.cache.fetch(
            copy,
            suffix=f".{version.format}",
            digest=version.digest,
            size_bytes=version.size_bytes,
            deadline_seconds=self.deadline_seconds,
        )
        # Released at once where opening fails; else the model's own copy in memory is what serves.
        try:
            _require_memory(version)
            return self._open(version, artifact)
        finally:
            artifact.release()

    def _open(self, version: VersionRef, artifact: CachedArtifact) -> LoadedModel:
        model, runs = self._open_model(version, artifact)
        if version.sample is not None:
            verify_sample(model, version.signature, version.sample)
        warm_up(model, version.signature, version.sample)
        return LoadedModel(
            name=version.model,
            number=version.number,
            version_id=version.version_id,
            generation=version.generation,
            digest=version.digest,
            signature=version.signature,
            predictor=Direct(model) if runs["form"] != "native" else Coalescer(model),
            estimator=model,
            example=version.sample.instances[0] if version.sample else None,
            description=version.description,
            runs=runs,
            loaded_at=datetime.now(UTC),
            acceleration=version.acceleration,
        )

    def _open_model(self, version: VersionRef, artifact: CachedArtifact) -> tuple[Any, dict[str, Any]]:
        return self._open_native(version, artifact), {"form": "native"}

    def _open_native(self, version: VersionRef, artifact: CachedArtifact) -> Any:
        try:
            return formats.open_artifact(
                artifact.path, version.format, trusted=self.trusted, allow_any_pickle=self.allow_any_pickle
            )
        except MemoryError as error:
            raise BrokenArtifact(
                f"{version.model} {version.number}: no memory is left to load it. Give the task more memory."
            ) from error


def warm_up(model: Any, signature: Signature, sample: Sample | None) -> None:
    """Make the predictions whose one-time costs no caller should pay."""
    if sample is None:
        return
    rows = signature.parse([sample.instances[0]])
    for _ in range(WARM_UP_PREDICTIONS):
        call(model, rows)


def _require_memory(version: VersionRef) -> None:
    needed = int(version.report.get("model_memory_bytes") or version.size_bytes) + MEMORY_RESERVE_BYTES
    available = memory.available_bytes()
    if available < needed:
        raise BrokenArtifact(
            f"{version.model} {version.number}: loading it takes about {needed / 1e6:.0f} MB beside what serves now, "
            f"and {available / 1e6:.0f} MB are free. Give the task more memory, or run fewer workers."
        )
