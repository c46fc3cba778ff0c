"""Chooses the version that answers a request while a model's traffic is split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_HASH_BYTES = 8
_HASHES = 2 ** (8 * _HASH_BYTES)

# The syntax of an alias, which can replace a version's number.
ALIAS_PATTERN = r"[A-Za-z][A-Za-z0-9_-]{0,49}"


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """Sends a share of a model's requests, `percent` from 0 to 100, to the version with number `candidate`.

    Only the key, the model and the `salt` decide, so every worker chooses the same version for a key. A larger share
    keeps the candidate's keys.
    """

    model: str
    candidate: int
    percent: float
    salt: str

    def takes(self, key: str) -> bool:
        """Return whether the candidate answers requests with this routing key."""
        identity = "\0".join((self.model, self.salt, key)).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(identity, digest_size=_HASH_BYTES).digest()
        return int.from_bytes(digest) < int(self.percent / 100 * _HASHES)


def version_key(model: str, number: int) -> str:
    """Return the name under which a version that is not active is held; no model can have this name."""
    return f"{model}#{number}"


def model_of(key: str) -> str:
    """Return the model's name in a key of a version: the name itself, or the result of `version_key`."""
    return key.partition("#")[0]
