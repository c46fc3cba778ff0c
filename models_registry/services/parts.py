"""Versions of several stored files, or of named parts of one file; validation records their digests."""

from __future__ import annotations

from pathlib import PurePosixPath

from django.conf import settings

from models_registry import conf
from models_registry.artifacts import formats, pack
from models_registry.artifacts.manifest import MANIFEST_SUFFIX, Manifest
from models_registry.errors import ManifestError
from models_registry.models import ModelVersion
from models_registry.storage import StoredVersion, VersionedStorage


def pin(version: ModelVersion, steps: tuple[str, ...]) -> pack.PinnedPack:
    """Return the parts that the manifest's `steps` name: files in the directory of `version`, or parts of its file.

    Raises ManifestError for invalid steps, DigestMismatch if the artifact's bytes are not the registered ones, and
    StorageError.
    """
    if version.format not in pack.PART_FORMATS:
        raise ManifestError(
            f"The manifest has 'steps', and the artifact is a single {version.format} file without parts. Remove "
            "the 'steps' from the manifest."
        )
    storage, own = conf.storage(), PurePosixPath(version.storage_key).name
    names = file_names(steps, own) or (own,)
    parts = tuple(
        pack.PinnedPart(own, version.storage_key, version.storage_version, version.size_bytes)
        if name == own
        else newest_beside(storage, version.storage_key, name)
        for name in names
    )
    strange = next((part.name for part in parts if formats.format_of(part.name) != version.format), None)
    if strange is not None:
        raise ManifestError(
            f"The manifest's 'steps' name {strange!r}, which is of another format than {own!r} ({version.format}). "
            "Publish the parts in one format."
        )
    return pack.PinnedPack(version.format, steps, parts, _digest_of(version))


def unpin(version: ModelVersion) -> dict[str, object]:
    """Return the column values that the version had before its parts were recorded; empty without parts."""
    if not version.parts:
        return {}
    pinned = pack.PinnedPack.from_json(version.parts)
    own = next(part for part in pinned.parts if part.key == version.storage_key)
    return {"parts": None, "format": pinned.format, "digest": pinned.digest, "size_bytes": own.size_bytes}


def file_names(steps: tuple[str, ...], own: str) -> tuple[str, ...]:
    """Return the files in `steps` if they are files in the directory of `own`; empty for parts inside.

    Raises ManifestError for a name outside of the artifact's directory, and if the artifact is not among them.
    """
    files = tuple(name for name in steps if formats.is_artifact(name))
    if not files:
        return ()
    if len(files) < len(steps):
        strange = next(name for name in steps if name not in files)
        raise ManifestError(
            f"The manifest's 'steps' name files and {strange!r}, which is none. Name files alone, or parts alone."
        )
    for name in files:
        if PurePosixPath(name).name != name or "\\" in name or name.startswith("."):
            raise ManifestError(
                f"The manifest's 'steps' name {name!r}; expected the name of a file in the artifact's own folder. "
                "Put the files into one folder."
            )
    if own not in files:
        raise ManifestError(
            f"The manifest's 'steps' name {', '.join(files)}, and the manifest belongs to {own}. Name that file, too."
        )
    return files


def beside(key: str, name: str) -> str:
    """Return the key of the file `name` in the directory of `key`."""
    return str(PurePosixPath(key).with_name(name))


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def companions(stored: list[StoredVersion], storage: VersionedStorage) -> frozenset[str]:
    """Return the keys that a manifest in their directory lists as steps of another artifact; these are no versions."""
    keys = {version.key for version in stored if formats.is_artifact(version.key)}
    by_folder: dict[str, set[str]] = {}
    for key in keys:
        by_folder.setdefault(_folder(key), set()).add(key)
    found: set[str] = set()
    for version in stored:
        key = version.key.removesuffix(MANIFEST_SUFFIX)
        # Without another artifact in its directory, a manifest is read when the version is validated.
        if key != version.key and formats.is_artifact(key) and by_folder.get(_folder(key), set()) - {key}:
            found.update(beside(key, name) for name in _steps_in(storage, version))
    return frozenset(found & keys)


_read: dict[tuple[str, StoredVersion], tuple[str, ...]] = {}
_MAX_READ = 10_000


def _steps_in(storage: VersionedStorage, manifest: StoredVersion) -> tuple[str, ...]:
    """Return the other files in a stored manifest; validation reports an invalid manifest."""
    known = (storage.location_of(manifest.key), manifest)
    if known not in _read:
        if len(_read) >= _MAX_READ:
            _read.clear()
        _read[known] = _other_files(storage, manifest.key)
    return _read[known]


def _other_files(storage: VersionedStorage, key: str) -> tuple[str, ...]:
    own = PurePosixPath(key.removesuffix(MANIFEST_SUFFIX)).name
    try:
        content = storage.read_current(key)
        steps = Manifest.parse(content).steps if content is not None else None
        return tuple(name for name in file_names(steps or (), own) if name != own)
    except ManifestError:
        return ()


def newest_beside(storage: VersionedStorage, artifact: str, name: str, *, named_by: str = "'steps'") -> pack.PinnedPart:
    """Return the newest stored version of the file `name` in the artifact's directory.

    Raises ManifestError if there is none; `named_by` is the manifest field that names it.
    """
    key = beside(artifact, name)
    versions = [version for version in storage.list_versions(key) if version.key == key]
    if not versions:
        raise ManifestError(
            f"The manifest's {named_by} names {name!r}, which is not in the artifact's folder "
            f"({storage.location_of(key)}). Copy it there, and check the version again."
        )
    return pack.PinnedPart(PurePosixPath(key).name, key, versions[-1].version_id, versions[-1].size_bytes)


def _digest_of(version: ModelVersion) -> str:
    """Return the artifact's own digest, after a comparison with the registered one, if any."""
    storage = conf.storage()
    with conf.artifact_cache().fetch(
        lambda target: storage.copy_version(version.storage_key, version.storage_version, target),
        suffix=f".{version.format}",
        digest=version.digest,
        size_bytes=version.size_bytes,
        deadline_seconds=settings.MODELS_STORAGE_SECONDS,
    ) as artifact:
        return artifact.digest
