"""Compares this process's storage with that of the service that shares its database."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from models_registry.errors import ObjectMissing, StorageError, StorageMismatch
from models_registry.models import ModelVersion, Replica, State
from models_registry.storage import ENDPOINT_VARIABLES, StorageIdentity, VersionedStorage, same_bytes

# The newest versions: a storage without any of them is not the registry's, or an old copy of it.
EVIDENCE_VERSIONS = 3
# For the same path on another machine, which is most often the same directory: its newest files may be deleted.
EVIDENCE_AT_THE_SAME_ADDRESS = 100


def require_shared_storage(storage: VersionedStorage) -> None:
    """Raise StorageMismatch if a live replica uses another storage than `storage`.

    One storage may have several addresses: another path of a directory in a container, or another endpoint of a bucket.
    So another address is accepted if a newest registered version is there. Without any version, the same
    address is accepted: another machine or another endpoint alone proves nothing.
    """
    live = list(Replica.objects.live().exclude(storage=""))
    other = _other_replica(live, storage.identity()) if live else None
    if other is None:
        return
    own = storage.identity()
    is_same = other.storage == own.address
    newest = _newest_versions(EVIDENCE_AT_THE_SAME_ADDRESS if is_same and own.is_directory else EVIDENCE_VERSIONS)
    unread = ""
    try:
        if _holds_any(storage, newest):
            return
    except StorageError as error:
        # A storage that is not there, or not for these credentials, is not the service's.
        unread = str(error)
    if not newest and is_same:
        return
    raise StorageMismatch(_describe(own, other, newest, unread))


def require_registered_storage(storage: VersionedStorage) -> None:
    """Raise StorageMismatch if no replica is live and `storage` holds none of the newest registered versions.

    For a command that publishes from a shell, whose settings may differ. Discovery does not require it: without a live
    replica it marks the versions of a replaced storage as missing.
    """
    if Replica.objects.live().exclude(storage="").exists():
        return
    newest = _newest_versions(EVIDENCE_VERSIONS)
    if not newest or _holds_any(storage, newest):
        return
    raise StorageMismatch(
        f"{storage.identity().address} holds none of the newest registered versions, e.g. {newest[0]} "
        f"({newest[0].storage_key}). Expected: the storage of the service that shares this database. Set "
        "MODELS_STORAGE, and for S3 AWS_ENDPOINT_URL_S3, to the service's values. If the versions are gone for good, "
        "run sync_models first: it marks them as missing."
    )


@contextmanager
def explained_by_storage(storage: VersionedStorage) -> Iterator[None]:
    """Raise StorageMismatch in place of ObjectMissing if the object is missing because the storage is another one."""
    try:
        yield
    except ObjectMissing:
        require_shared_storage(storage)
        raise


def _other_replica(live: Sequence[Replica], own: StorageIdentity) -> Replica | None:
    """Return the first replica that uses another storage than `own`, or possibly another one; None if there is none."""
    for replica in live:
        if (replica.storage, replica.storage_endpoint) != (own.address, own.endpoint):
            return replica
    # The same path on another machine may be another directory, also if a replica is live on this machine.
    elsewhere = (replica for replica in live if replica.host != socket.gethostname())
    return next(elsewhere, None) if own.is_directory else None


def _newest_versions(count: int) -> list[ModelVersion]:
    stored = ModelVersion.objects.exclude(state__in=[State.MISSING, State.DELETED])
    return list(
        stored.select_related("model")
        .only("model__name", "number", "storage_key", "storage_version")
        .order_by("-pk")[:count]
    )


def _holds_any(storage: VersionedStorage, versions: Sequence[ModelVersion]) -> bool:
    """Return whether the stored object of one of the versions is there. Raises StorageError."""
    return any(
        stored.key == version.storage_key and same_bytes(stored.version_id, version.storage_version)
        for version in versions
        for stored in storage.iter_versions(version.storage_key)
    )


def _describe(own: StorageIdentity, other: Replica, newest: Sequence[ModelVersion], unread: str) -> str:
    expected = StorageIdentity(other.storage, other.storage_endpoint)
    lacks = f" It holds none of the newest registered versions, e.g. {newest[0]}." if newest else ""
    lacks = f" It cannot be read: {unread}" if unread else lacks
    found = f"This process uses the storage {_shown(own)}.{lacks}"
    wanted = f"Expected: {_shown(expected)}, which the service on {other.host} uses with the same database."
    return f"{found} {wanted} {_next_step(own, expected, other.host)}"


def _shown(identity: StorageIdentity) -> str:
    return f"{identity.address} at {identity.endpoint}" if identity.endpoint else identity.address


def _next_step(own: StorageIdentity, expected: StorageIdentity, host: str) -> str:
    if own.address == expected.address and own.is_directory:
        return f"Share that directory with {host}, or publish in the admin of the service."
    steps = [f"MODELS_STORAGE={expected.address}"] if own.address != expected.address else []
    if own.endpoint != expected.endpoint and expected.endpoint:
        steps.append(f"AWS_ENDPOINT_URL_S3={expected.endpoint}")
    told = f"Set {' and '.join(steps)}" if steps else ""
    if own.endpoint and not expected.endpoint:
        given = " and ".join(name for name in ENDPOINT_VARIABLES if os.environ.get(name)) or "the endpoint of S3"
        told = f"{told} and unset {given}" if told else f"Unset {given}"
    if expected.is_directory and host != socket.gethostname():
        return f"{told} on {host}, or publish in the admin of the service."
    return f"{told}, and repeat it. To move the storage, stop the service first."
