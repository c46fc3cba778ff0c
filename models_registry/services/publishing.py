"""Publishes an artifact: stores it as a new version of a model."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models_registry import conf
from models_registry.artifacts import formats
from models_registry.artifacts.cache import digest_of
from models_registry.artifacts.manifest import MANIFEST_SUFFIX, Manifest, Sample
from models_registry.artifacts.mlflow_model import FILE_NAME, MAX_BYTES, MlflowModel, parse_mlmodel
from models_registry.artifacts.reference import stored_name
from models_registry.errors import ManifestError, ObjectMissing, StorageUnavailable
from models_registry.models import ModelVersion, RegisteredModel
from models_registry.services.activation import require_in_use
from models_registry.services.catalogue import check_name
from models_registry.services.discovery import discover
from models_registry.services.parts import beside as key_beside
from models_registry.services.parts import file_names
from models_registry.services.references import require_size
from models_registry.services.shared_storage import require_shared_storage


def publish(
    name: str,
    artifact: Path,
    *,
    by: str,
    description: str | None = None,
    metrics: dict[str, float] | None = None,
    sample: Sample | None = None,
    reference: Path | None = None,
) -> ModelVersion:
    """Copy `artifact` and its manifest into the storage; return the new version, not validated yet.

    Arguments take precedence over the manifest next to the artifact. `reference` is a file of training rows.
    """
    check_name(name)
    require_publishable(name)
    directory = _mlflow_directory(artifact)
    model = parse_mlmodel(_content(directory / FILE_NAME)) if directory else None
    if directory and model:
        artifact = directory / model.file
    if not artifact.is_file():
        raise ObjectMissing(
            f"{artifact} is not there. Give the path of a file that ends in {formats.listed_endings()}, or of an "
            "MLflow model directory."
        )
    if model is None:
        formats.format_of(artifact.name)
    manifest = _manifest_beside(artifact)
    given: dict[str, Any] = {"description": description, "metrics": metrics, "sample": sample}
    if reference is not None:
        given["reference"] = stored_name(reference.name)
    manifest = replace(manifest, **{name: value for name, value in given.items() if value is not None})
    if reference is None and manifest.reference is not None:
        _require_inside(artifact.parent, [manifest.reference])
        reference = artifact.with_name(manifest.reference)
    root = directory or artifact.parent
    files = _directory_files(root, model) if model else list(file_names(manifest.steps or (), artifact.name))
    _require_inside(root, files)
    if reference is not None:
        _require_reference(reference)
    storage = conf.storage()
    # A directory of its own: nothing is overwritten, even in a bucket without versions.
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    folder = f"{name}/{stamp}-{digest_of(artifact)[:8]}"
    # Fields that name files refer to the local files.
    own = str(artifact.relative_to(root)) if files else f"model{artifact.suffix}"
    key = f"{folder}/{own}"
    if manifest != Manifest():
        # Before the artifact: a listing in between must not find a version without its manifest.
        storage.put(key + MANIFEST_SUFFIX, io.BytesIO(json.dumps(manifest.to_json(), indent=2).encode()))
    if reference is not None and manifest.reference is not None:
        with reference.open("rb") as content:
            storage.put(key_beside(key, manifest.reference), content)
    # The artifact last, for the same reason.
    for file in [*(file for file in files if file != own), own]:
        with (artifact if file == own else root / file).open("rb") as content:
            storage.put(f"{folder}/{file}", content)
    discover(storage, by=by, only=name)
    version = ModelVersion.objects.filter(model__name=name, storage_key=key).select_related("model").first()
    if version is None:
        raise StorageUnavailable(f"{storage.location_of(key)} was written and is not listed. Run sync_models.")
    return version


def require_publishable(name: str) -> None:
    """Raise ModelArchived if `name` is an archived model, StorageMismatch if the service uses another storage."""
    model = RegisteredModel.objects.filter(name=name).first()
    if model is not None:
        require_in_use(model)
    require_shared_storage(conf.storage())


def _manifest_beside(artifact: Path) -> Manifest:
    path = artifact.with_name(artifact.name + MANIFEST_SUFFIX)
    return Manifest.parse(path.read_bytes()) if path.is_file() else Manifest()


def _mlflow_directory(artifact: Path) -> Path | None:
    """Return the MLflow model directory if `artifact` is one, or is its MLmodel; else None."""
    if artifact.name == FILE_NAME:
        return artifact.parent
    if not artifact.is_dir():
        return None
    if not (artifact / FILE_NAME).is_file():
        raise ObjectMissing(f"{artifact} is a directory without a file {FILE_NAME}. Give the path of the model's file.")
    return artifact


def _content(path: Path) -> bytes:
    """Return the content of an MLmodel, up to its size limit."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ObjectMissing(f"{path} cannot be read: {error.strerror}.") from error


def _directory_files(root: Path, model: MlflowModel) -> list[str]:
    """Return the files of a model directory that the registry reads."""
    example = [model.example_file] if model.example_file and (root / model.example_file).is_file() else []
    return [FILE_NAME, *example, model.file]


def _require_reference(path: Path) -> None:
    """Refuse a missing or too large reference."""
    if not path.is_file():
        raise ObjectMissing(f"The reference {path} is not there. Give the path of a file of training rows.")
    require_size(path.name, path.stat().st_size)


def _require_inside(root: Path, files: list[str]) -> None:
    """Refuse a missing file, and a link that leads out of `root`."""
    for file in files:
        if not (root / file).is_file():
            raise ObjectMissing(f"{root / file} is not there, and the manifest or MLmodel names it. Copy it there.")
        if not (root / file).resolve().is_relative_to(root.resolve()):
            raise ManifestError(f"{root / file} leads out of its directory. Put the file itself there.")
