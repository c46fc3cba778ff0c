"""Which version of a model answers a request while its traffic is split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_HASH_BYTES = 8
_HASHES = 2 ** (8 * _HASH_BYTES)

# The name of an alias, which is in place of a version's number.
ALIAS_PATTERN = r"[A-Za-z][A-Za-z0-9_-]{0,49}"


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """A share of a model's requests, `percent` from 0 to 100, goes to the version with the number `candidate`.

    The same key gets the same version in every worker, since only the key, the model and the `salt` decide. A larger
    share keeps the keys that the candidate has.
    """

    model: str
    candidate: int
    percent: float
    salt: str

    def takes(self, key: str) -> bool:
        """Return whether the candidate answers the requests with this routing key."""
        identity = "\0".join((self.model, self.salt, key)).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(identity, digest_size=_HASH_BYTES).digest()
        return int.from_bytes(digest) < int(self.percent / 100 * _HASHES)


def version_key(model: str, number: int) -> str:
    """Return the name under which a version that is not active is held; no model can have such a name."""
    return f"{model}#{number}"


def model_of(key: str) -> str:
    """Return the model of a name under which a version is held."""
    return key.partition("#")[0]
