"""Reads the bytes of a version: one stored object, or the several objects of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, Protocol

from models_registry.artifacts.cache import Copy
from models_registry.artifacts.pack import PinnedPack, PinnedPart
from models_registry.storage import VersionedStorage


class Stored(Protocol):
    """The location of a version's bytes."""

    @property
    def storage_key(self) -> str: ...
    @property
    def storage_version(self) -> str: ...
    @property
    def parts(self) -> Mapping[str, Any] | None: ...


def copier(storage: VersionedStorage, version: Stored) -> Copy:
    """Return a function that writes the version's bytes to a file."""
    if not version.parts:
        return lambda target: storage.copy_version(version.storage_key, version.storage_version, target)
    pack = PinnedPack.from_json(version.parts)

    def copy_part(part: PinnedPart, target: IO[bytes]) -> None:
        storage.copy_version(part.key, part.version_id, target)

    return lambda target: pack.write(target, copy_part)
