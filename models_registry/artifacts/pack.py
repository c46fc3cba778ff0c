"""Several stored files as one artifact: the parts of a version whose manifest lists its `steps`.

A pack has a digest, a path in the cache and limits like any artifact. It is written only from files with known digests.
Its form is a line of JSON with the parts' names, sizes and order, and then the parts' bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from models_registry.errors import BrokenArtifact

FORMAT = "bundle"
# Formats of a chain's parts; an ONNX graph is a whole model.
PART_FORMATS = ("joblib", "skops")
MAX_PARTS = 16
_MAX_HEADER_BYTES = 1 << 16
_COPY_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class PinnedPart:
    """One file of a pack: its name, its key and version in the storage, and its size."""

    name: str
    key: str
    version_id: str
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the form that the registry stores."""
        return {"name": self.name, "key": self.key, "version_id": self.version_id, "size_bytes": self.size_bytes}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PinnedPart:
        """Return the part from `to_json`'s form."""
        return cls(value["name"], value["key"], value["version_id"], value["size_bytes"])


@dataclass(frozen=True, slots=True)
class Content:
    """An unpacked pack: `members` are files by name, all of one `format`; `steps` is their order."""

    format: str
    steps: tuple[str, ...]
    members: dict[str, Path]


@dataclass(frozen=True, slots=True)
class PinnedPack:
    """The parts of a version, all of one `format`, and their order in `steps`.

    `digest` is the SHA-256 of the artifact itself, without the other parts.
    """

    format: str
    steps: tuple[str, ...]
    parts: tuple[PinnedPart, ...]
    digest: str

    @property
    def size_bytes(self) -> int:
        """The size of the pack in bytes."""
        return len(self._header()) + sum(part.size_bytes for part in self.parts)

    def write(self, target: IO[bytes], copy: Callable[[PinnedPart, IO[bytes]], None]) -> None:
        """Write the pack to `target`; `copy` writes the bytes of one part. Equal parts give equal bytes."""
        target.write(self._header())
        for part in self.parts:
            copy(part, target)

    def _header(self) -> bytes:
        sizes = [[part.name, part.size_bytes] for part in self.parts]
        body = {"format": self.format, "steps": list(self.steps), "parts": sizes}
        return json.dumps(body, sort_keys=True).encode() + b"\n"

    def to_json(self) -> dict[str, Any]:
        """Return the form that the registry stores."""
        return {
            "format": self.format,
            "steps": list(self.steps),
            "parts": [part.to_json() for part in self.parts],
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PinnedPack:
        """Return the content from `to_json`'s form."""
        parts = tuple(PinnedPart.from_json(part) for part in value["parts"])
        return cls(value["format"], tuple(value["steps"]), parts, value["digest"])


@contextmanager
def unpacked(path: Path) -> Iterator[Content]:
    """Yield the parts of a pack as in-memory files, which end with the block: no writable disk is needed.

    Raises BrokenArtifact if `path` is not a whole pack.
    """
    with path.open("rb") as source, ExitStack() as stack:
        format, steps, sizes = _read_header(source)
        found = path.stat().st_size - source.tell()
        if sum(sizes.values()) != found:
            raise BrokenArtifact(f"The parts of the artifact have {found} bytes; expected {sum(sizes.values())}.")
        offset = source.tell()
        members: dict[str, Path] = {}
        for name, size in sizes.items():
            members[name] = _in_memory(stack, source.fileno(), offset, size)
            offset += size
        yield Content(format, steps, members)


def _read_header(source: IO[bytes]) -> tuple[str, tuple[str, ...], dict[str, int]]:
    try:
        body = json.loads(source.readline(_MAX_HEADER_BYTES))
        sizes = {str(name): int(size) for name, size in body["parts"]}
        header = str(body["format"]), tuple(map(str, body["steps"])), sizes
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenArtifact("The artifact's list of parts cannot be read. Publish it again.") from error
    if header[0] not in PART_FORMATS or not 0 < len(sizes) <= MAX_PARTS or min(sizes.values()) < 0:
        raise BrokenArtifact("The artifact's list of parts is damaged. Publish it again.")
    return header


def _in_memory(stack: ExitStack, source: int, offset: int, size: int) -> Path:
    descriptor = os.memfd_create("part", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    while size:
        sent = os.sendfile(descriptor, source, offset, min(size, _COPY_BYTES))
        if not sent:
            raise BrokenArtifact("The artifact ends within one of its parts. Publish it again.")
        offset, size = offset + sent, size - sent
    return Path(f"/proc/self/fd/{descriptor}")
