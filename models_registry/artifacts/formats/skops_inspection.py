"""Inspects a skops file's description of its object; none of its types is imported."""

import ast
import json
import math
import zipfile
from pathlib import Path
from typing import Any

from models_registry.artifacts.formats import skops_format
from models_registry.artifacts.formats.trusted import TrustedGlobals
from models_registry.artifacts.inspection_notes import InspectionNotes, claim
from models_registry.artifacts.object_tree import Inert, object_tree_of

_MAX_HEADER_LENGTH = 1 << 16
_DEEPEST = 40
_NOTHING_TRUSTED = TrustedGlobals(frozenset(), frozenset(), frozenset())


def inspect_skops(path: Path, notes: InspectionNotes, *, limit: int) -> None:
    """Note the names, contents and problems of a skops file."""
    with zipfile.ZipFile(path) as archive:
        claim(notes, archive.getinfo("schema.json").file_size, limit)
        schema = skops_format.read_schema(archive)
        notes.note_version("skops", str(schema.get("_skops_version")))
        sizes: dict[str, int] = {}
        for node in skops_format.nodes(schema):
            _note(node, notes)
            member = node.get("file")
            if isinstance(member, str):
                if member not in sizes:
                    sizes[member] = _array_bytes(archive, member)
                # Each reference is read again, so each one counts.
                claim(notes, sizes[member], limit)
    notes.outline.extend(object_tree_of(_inert(schema, 0)))


def _note(node: dict[str, Any], notes: InspectionNotes) -> None:
    refused = skops_format.refusal_of(node, _NOTHING_TRUSTED)
    if refused is not None:
        notes.globals.add(refused)
        if skops_format.is_constructed(node):
            notes.called.add(refused)
    version = _content(node).get("_sklearn_version")
    if isinstance(version, dict) and version.get("__loader__") == "JsonNode":
        notes.note_version("scikit-learn", str(version.get("content")).strip('"'))


def _content(node: dict[str, Any]) -> dict[str, Any]:
    content = node.get("content")
    return content if isinstance(content, dict) and node.get("__loader__") == "DictNode" else {}


def _array_bytes(archive: zipfile.ZipFile, name: str) -> int:
    """Return the larger of a member's size and the size that its numpy header declares."""
    member = archive.getinfo(name)
    with archive.open(member) as stream:
        start = stream.read(_MAX_HEADER_LENGTH)
    return max(member.file_size, _npy_bytes(start))


def _npy_bytes(start: bytes) -> int:
    import numpy as np

    if not start.startswith(b"\x93NUMPY"):
        return 0
    wide = start[6] > 1
    begin = 12 if wide else 10
    length = int.from_bytes(start[8:begin], "little")
    header = ast.literal_eval(start[begin : begin + length].decode("latin1"))
    count = math.prod(int(size) for size in header["shape"])
    return count * int(np.dtype(header["descr"]).itemsize)


def _inert(node: Any, depth: int) -> Any:
    """Return stand-ins for the parts of a description that the outline shows."""
    if not isinstance(node, dict) or depth > _DEEPEST:
        return None
    loader, content = node.get("__loader__"), node.get("content")
    if loader == "JsonNode":
        return _json(content)
    if loader in {"ListNode", "TupleNode", "NdArrayNode"}:
        return [_inert(item, depth + 1) for item in content] if isinstance(content, list) else []
    if loader == "DictNode":
        return {key: _inert(value, depth + 1) for key, value in _content(node).items()}
    state = _inert(content, depth + 1) if isinstance(content, dict) else None
    return Inert(skops_format.name_of(node), state if isinstance(state, dict) else {})


def _json(content: Any) -> Any:
    try:
        value = json.loads(content)
    except (TypeError, ValueError):
        return None
    return value if isinstance(value, str | int | float) else None
