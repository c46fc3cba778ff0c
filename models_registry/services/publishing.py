"""Puts an artifact into the storage as a new version of a model."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from models_registry import conf
from models_registry.artifacts import formats
from models_registry.artifacts.cache import digest_of
from models_registry.artifacts.manifest import MANIFEST_SUFFIX, Manifest, Sample
from models_registry.errors import ObjectMissing, StorageUnavailable
from models_registry.models import ModelVersion
from models_registry.services.catalogue import check_name
from models_registry.services.discovery import discover
from models_registry.services.parts import file_names


def publish(
    name: str,
    artifact: Path,
    *,
    by: str,
    description: str | None = None,
    metrics: dict[str, float] | None = None,
    sample: Sample | None = None,
) -> ModelVersion:
    """Copy `artifact` and its manifest into the storage and return the version that it became, not yet checked.

    What is given here goes before what the manifest beside the artifact says.
    """
    check_name(name)
    if not artifact.is_file():
        raise ObjectMissing(
            f"{artifact} is not there. Give the path of a file that ends in {formats.listed_endings()}."
        )
    formats.format_of(artifact.name)
    beside = artifact.with_name(artifact.name + MANIFEST_SUFFIX)
    manifest = Manifest.parse(beside.read_bytes()) if beside.is_file() else Manifest()
    if description is not None:
        manifest = replace(manifest, description=description)
    if metrics is not None:
        manifest = replace(manifest, metrics=metrics)
    if sample is not None:
        manifest = replace(manifest, sample=sample)
    missing = [
        item for item in file_names(manifest.steps or (), artifact.name) if not artifact.with_name(item).is_file()
    ]
    if missing:
        raise ObjectMissing(f"The manifest's 'steps' name {missing[0]}, which is not beside {artifact}. Copy it there.")
    storage = conf.storage()
    # A folder of its own: nothing is overwritten, even where a bucket keeps no versions.
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    folder = f"{name}/{stamp}-{digest_of(artifact)[:8]}"
    beside_it = file_names(manifest.steps or (), artifact.name)
    # Steps name the files as they lie here.
    key = f"{folder}/{artifact.name}" if beside_it else f"{folder}/model{artifact.suffix}"
    if manifest != Manifest():
        # Before the artifact: whoever lists in between finds no version without its manifest.
        storage.put(key + MANIFEST_SUFFIX, io.BytesIO(json.dumps(manifest.to_json(), indent=2).encode()))
    # The artifact last, for the same reason.
    for part in [item for item in beside_it if item != artifact.name] + [artifact.name]:
        with artifact.with_name(part).open("rb") as content:
            storage.put(key if part == artifact.name else f"{folder}/{part}", content)
    discover(storage, by=by, only=name)
    version = ModelVersion.objects.filter(model__name=name, storage_key=key).select_related("model").first()
    if version is None:
        raise StorageUnavailable(f"{storage.location_of(key)} was written and is not listed. Run sync_models.")
    return version
