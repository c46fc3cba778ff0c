"""skops artifacts: a zip of JSON and arrays, opened only where every type in it is on the list."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models_registry.artifacts.formats.joblib_format import untrusted_name
from models_registry.artifacts.formats.trusted import TrustedGlobals, builtin_trust
from models_registry.errors import ArtifactError, BrokenArtifact, UntrustedArtifact

LARGEST_SCHEMA_BYTES = 64 << 20
MOST_NODES = 5_000_000
_PROTOCOLS = (1, 2)

_ARRAYS = frozenset(
    {
        "numpy.ndarray",
        "numpy.matrix",
        *(f"numpy.{one.__name__}" for one in np.sctypeDict.values() if one.__module__ == "numpy"),
    }
)

# skops calls the class that such a node names, so each kind of node may name only classes of its kind.
_CONTAINERS: dict[str, frozenset[str]] = {
    "DictNode": frozenset({"builtins.dict", "collections.OrderedDict", "sklearn.utils._bunch.Bunch"}),
    "DefaultDictNode": frozenset({"collections.defaultdict"}),
    "ListNode": frozenset({"builtins.list"}),
    "SetNode": frozenset({"builtins.set", "builtins.frozenset"}),
    "BytesNode": frozenset({"builtins.bytes"}),
    "BytearrayNode": frozenset({"builtins.bytearray"}),
    "SliceNode": frozenset({"builtins.slice"}),
    "JsonNode": frozenset({"builtins.str"}),
    "MaskedArrayNode": frozenset({"numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray"}),
    "RandomStateNode": frozenset({"numpy.random.mtrand.RandomState", "numpy.random.RandomState"}),
    "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator", "numpy.random.Generator"}),
    "DTypeNode": frozenset({"numpy.dtype"}),
    "NdArrayNode": _ARRAYS,
}
_CONSTRUCTING = frozenset(
    {"ObjectNode", "ConstructorFromReduceNode", "LossNode", "TreeNode", "TupleNode", "PartialNode", "ReduceNode",
     "SparseMatrixNode"}
)  # fmt: skip
_NAMING = frozenset({"FunctionNode", "TypeNode"})
_REFERENCE = "CachedNode"


def read_schema(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Return the archive's description of the object, of a bounded size and a known protocol."""
    size = archive.getinfo("schema.json").file_size
    if size > LARGEST_SCHEMA_BYTES:
        raise BrokenArtifact(
            f"The artifact's schema.json is {size} bytes long, the limit is {LARGEST_SCHEMA_BYTES}. "
            "Publish a smaller model, or as ONNX."
        )
    schema = json.loads(archive.read("schema.json"))
    if not isinstance(schema, dict) or schema.get("protocol") not in _PROTOCOLS:
        raise BrokenArtifact(
            "The artifact's schema.json has an unknown protocol; expected 1 or 2. Write it again with skops 0.16."
        )
    return schema


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of the description, without recursion and up to a limit."""
    waiting: list[Any] = [schema]
    count = 0
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            count += 1
            if count > MOST_NODES:
                raise BrokenArtifact(f"The artifact describes more than {MOST_NODES} objects. Publish a smaller one.")
            if "__loader__" in current:
                yield current
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)


def name_of(node: dict[str, Any]) -> str:
    """Return the node's type or function as `module.name`."""
    return f"{node.get('__module__')}.{node.get('__class__')}"


def is_constructed(node: dict[str, Any]) -> bool:
    """Say whether loading the node calls what it names."""
    return node["__loader__"] in _CONSTRUCTING


def refusal_of(node: dict[str, Any], trust: TrustedGlobals) -> str | None:
    """Return the name for which the node is refused, or None where it may be loaded."""
    loader, name = node["__loader__"], name_of(node)
    if loader == _REFERENCE or name in _CONTAINERS.get(loader, ()):
        return None
    if loader == "TupleNode" and name == "builtins.tuple":
        return None
    if loader in _CONSTRUCTING:
        return None if name in trust.constructed else name
    if loader in _NAMING:
        return None if name in trust.all else name
    if loader == "MethodNode":
        return f"{name}.{node.get('content', {}).get('func')}"
    return f"{name} ({loader})"


def _require_trusted(found: list[dict[str, Any]], trust: TrustedGlobals) -> None:
    for node in found:
        refused = refusal_of(node, trust)
        if refused is not None:
            raise untrusted_name(refused)


def open_skops(path: Path, *, trusted: frozenset[str]) -> Any:
    """Return the object in a skops file whose every type is on the list."""
    import skops.io

    trust = builtin_trust().with_additions(trusted)
    try:
        with zipfile.ZipFile(path) as archive:
            found = list(nodes(read_schema(archive)))
        _require_trusted(found, trust)
        # skops goes through this list for every node, so it holds only what this file needs of ours.
        return skops.io.load(path, trusted=sorted({name_of(node) for node in found}))
    except ArtifactError:
        raise
    except skops.io.exceptions.UntrustedTypesFoundException as error:
        raise UntrustedArtifact(f"{error} Add exact names of your own to MODELS_TRUSTED_GLOBALS.") from error
    except Exception as error:
        # A damaged file fails in the zip, the JSON, an array or a constructor.
        raise BrokenArtifact(
            f"The artifact cannot be read as a skops file ({type(error).__name__}: {error}). Publish it again."
        ) from error
