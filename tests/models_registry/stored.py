"""What a storage holds."""

from __future__ import annotations

import io

from models_registry.storage import VersionedStorage


def keys(storage: VersionedStorage, prefix: str = "") -> list[str]:
    return [version.key for version in storage.list_versions(prefix)]


def content(storage: VersionedStorage, key: str, version_id: str) -> bytes:
    target = io.BytesIO()
    storage.copy_version(key, version_id, target)
    return target.getvalue()
