"""MLflow model directories in the storage: each is one version, made of the model's file and MLmodel."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from models_registry.artifacts.manifest import Manifest
from models_registry.artifacts.mlflow_model import (
    FILE_NAME,
    FORMAT,
    MAX_BYTES,
    MAX_EXAMPLE_BYTES,
    OWN_FOLDERS,
    MlflowModel,
    parse_mlmodel,
)
from models_registry.errors import ManifestError, ObjectMissing
from models_registry.storage import StoredVersion, VersionedStorage

# A model's files are in its directory, or one directory below.
_MAX_DEPTH = 2
_MAX_PARSED = 10_000


@dataclass(slots=True)
class Directories:
    """The model directories of a listing.

    `formats` has the keys of their artifacts; `hidden` those of files that are not versions themselves; `incomplete` a
    sentence for each directory without its model's file.
    """

    formats: dict[str, str]
    hidden: set[str]
    incomplete: list[str]


def find_directories(stored: Iterable[StoredVersion], storage: VersionedStorage) -> Directories:
    """Return the MLflow model directories in a listing."""
    stored = list(stored)
    keys = {version.key for version in stored}
    found = Directories({}, set(), [])
    # The newest version of each file counts; the listing is ordered by time.
    described = {item.key: item for item in stored if _is_mlmodel(item.key)}
    folders = {key.rpartition("/")[0] for key in described}
    if folders:
        found.hidden.update(key for key in keys if _belongs_to_one(key, folders))
    for key, version in described.items():
        folder = PurePosixPath(key).parent
        model = _parsed(storage, version)
        if model is None:
            # The directory's validation reports the problem.
            found.formats[key] = FORMAT
        elif (file := str(folder / model.file)) in keys:
            found.formats[file] = model.format
        else:
            found.incomplete.append(f"{key}: names {model.file}, which is not there yet.")
    found.hidden -= found.formats.keys()
    return found


def _is_mlmodel(key: str) -> bool:
    # Below the directory with the model's name.
    return key.endswith(f"/{FILE_NAME}")


def _belongs_to_one(key: str, folders: set[str]) -> bool:
    """Return whether a file belongs to a model directory: in it, or in a subdirectory that MLflow creates."""
    folder = key.rpartition("/")[0]
    if folder in folders:
        return True
    while folder:
        folder, _, last = folder.rpartition("/")
        if last in OWN_FOLDERS and folder in folders:
            return True
    return False


_known: dict[tuple[str, StoredVersion], MlflowModel | None] = {}


def _parsed(storage: VersionedStorage, version: StoredVersion) -> MlflowModel | None:
    """Return the content of a stored MLmodel, read once per process; None if no flavor is supported."""
    place = (storage.location_of(version.key), version)
    if place not in _known:
        if len(_known) >= _MAX_PARSED:
            _known.clear()
        try:
            _known[place] = _read(storage, version)
        except ManifestError:
            _known[place] = None
    return _known[place]


def _read(storage: VersionedStorage, version: StoredVersion) -> MlflowModel:
    if version.size_bytes > MAX_BYTES:
        return parse_mlmodel(b" " * (MAX_BYTES + 1))  # raises with the limit
    content = io.BytesIO()
    storage.copy_version(version.key, version.version_id, content)
    return parse_mlmodel(content.getvalue())


def directory_manifest(storage: VersionedStorage, key: str) -> Manifest | None:
    """Return the description of the MLflow directory of the artifact `key`; None if there is none.

    Raises ManifestError if the directory cannot be served.
    """
    path = PurePosixPath(key)
    if path.name == FILE_NAME:
        content = storage.read_current(key, max_bytes=MAX_BYTES)
        if content is None:
            raise ObjectMissing(f"{key} is not there. Copy it there again.")
        file = parse_mlmodel(content).file
        raise ManifestError(f"The MLmodel names {file}, which is already a version itself. Look for new versions.")
    for folder in list(path.parents)[:_MAX_DEPTH]:
        if str(folder) == ".":
            return None
        content = storage.read_current(str(folder / FILE_NAME), max_bytes=MAX_BYTES)
        if content is None:
            continue
        model = parse_mlmodel(content)
        if folder / model.file != path:
            return None
        example = None
        if model.example_file:
            example = storage.read_current(str(folder / model.example_file), max_bytes=MAX_EXAMPLE_BYTES)
        return model.manifest(example)
    return None


def merged(directory: Manifest | None, own: Manifest) -> Manifest:
    """Return the manifest of an MLflow directory; fields of the artifact's own manifest take precedence."""
    if directory is None:
        return own
    return replace(
        directory,
        description=own.description or directory.description,
        metrics=own.metrics or directory.metrics,
        inputs=directory.inputs if own.inputs is None else own.inputs,
        sample=directory.sample if own.sample is None else own.sample,
        run_id=own.run_id or directory.run_id,
        reference=own.reference,
        steps=own.steps,
    )
