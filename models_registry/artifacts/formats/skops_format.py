"""skops artifacts: zip files of JSON and arrays, loaded only if the list of trusted names has every type."""

import json
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models_registry.artifacts import codes
from models_registry.artifacts.formats.joblib_rules import untrusted_name
from models_registry.artifacts.formats.migrations.names import REMOVED_OBJECT, STAND_INS, current_name
from models_registry.artifacts.formats.trusted import TrustedGlobals, builtin_trust
from models_registry.errors import ArtifactError, BrokenArtifact, UntrustedArtifact

MAX_SCHEMA_BYTES = 64 << 20
MAX_NODES = 5_000_000
_PROTOCOLS = (1, 2)

_ARRAYS = frozenset(
    {
        "numpy.ndarray",
        "numpy.matrix",
        *(f"numpy.{one.__name__}" for one in np.sctypeDict.values() if one.__module__ == "numpy"),
    }
)

# skops calls the class that such a node names, so each kind of node may name only matching classes.
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
# Up to skops 0.11, the losses of stochastic gradient descent had their own kind of node, of the same form.
_OLD_LOSS = "SGDNode"
# skops does not store such an array. If only training used it, nothing is lost.
_STRING_ARRAY = "pandas.arrays.StringArray"


def read_schema(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Return the archive's description of the object, after checks of its size and protocol."""
    size = archive.getinfo("schema.json").file_size
    if size > MAX_SCHEMA_BYTES:
        raise BrokenArtifact(
            f"The artifact's schema.json has {size} bytes; at most {MAX_SCHEMA_BYTES} are allowed. "
            "Publish a smaller model, or publish it as ONNX."
        )
    schema: dict[str, Any] = json.loads(archive.read("schema.json"))
    protocol = schema.get("protocol") if isinstance(schema, dict) else None
    if type(protocol) is not int or protocol not in _PROTOCOLS:
        raise BrokenArtifact(
            "The artifact's schema.json has an unknown protocol; expected 1 or 2. Write it again with skops 0.16."
        )
    for node in nodes(schema):
        _use_current_name(node)
    return schema


def _use_current_name(node: dict[str, Any]) -> None:
    """Rename the node's type to its name in the installed libraries."""
    module, name = node.get("__module__"), node.get("__class__")
    if isinstance(module, str) and isinstance(name, str):
        node["__module__"], node["__class__"] = current_name(module, name)
    if name_of(node) == _STRING_ARRAY and node["__loader__"] == "ObjectNode":
        node["__module__"], _, node["__class__"] = REMOVED_OBJECT.rpartition(".")
    if node["__loader__"] == _OLD_LOSS:
        node["__loader__"] = "LossNode"


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of the description, without recursion and up to a limit."""
    waiting: list[Any] = [schema]
    count = 0
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            count += 1
            if count > MAX_NODES:
                raise BrokenArtifact(f"The artifact describes more than {MAX_NODES} objects. Publish a smaller one.")
            if "__loader__" in current:
                yield current
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)


def name_of(node: dict[str, Any]) -> str:
    """Return the node's type or function as `module.name`."""
    return f"{node.get('__module__')}.{node.get('__class__')}"


def is_constructed(node: dict[str, Any]) -> bool:
    """Return whether loading the node calls the named type or function."""
    return node["__loader__"] in _CONSTRUCTING


def refusal_of(node: dict[str, Any], trust: TrustedGlobals) -> str | None:
    """Return the name for which the node is refused; None if it may be loaded."""
    loader, name = node["__loader__"], name_of(node)
    if loader == _REFERENCE or name in _CONTAINERS.get(loader, ()):
        return None
    if loader == "TupleNode" and name == "builtins.tuple":
        return None
    if name in STAND_INS:
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


def _construct(archive: zipfile.ZipFile, schema: dict[str, Any], trusted: list[str]) -> Any:
    """Return the object like `skops.io.load`, with states of older versions converted."""
    from skops.io._audit import audit_tree, get_tree
    from skops.io._utils import LoadContext

    tree = get_tree(schema, LoadContext(src=archive, protocol=schema["protocol"]), trusted=trusted)
    audit_tree(tree, trusted=trusted)
    _convert_states(tree)
    return tree.construct()


def _convert_states(tree: Any) -> None:
    """Insert the conversion of states before each node's state is set."""
    from skops.io._general import ObjectNode
    from skops.io._sklearn import ReduceNode

    waiting, seen = [tree], {id(tree)}
    while waiting:
        node = waiting.pop()
        if isinstance(node, ObjectNode) and node.attrs is not None:
            node._construct = partial(_construct_object, node)
        elif isinstance(node, ReduceNode):
            node._construct = partial(_construct_reduced, node)
        for child in _nodes_in(node.children):
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)


def _nodes_in(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _nodes_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _nodes_in(item)
    elif hasattr(value, "children"):
        yield value


def _construct_object(node: Any) -> Any:
    """Return an object created without its constructor, like skops' ObjectNode."""
    from skops.io._utils import gettype

    cls = gettype(node.module_name, node.class_name)
    return _with_state(cls.__new__(cls), node.attrs.construct())


def _construct_reduced(node: Any) -> Any:
    """Return an object created by its class with stored arguments, like skops' ReduceNode."""
    from skops.io._utils import gettype

    arguments = node.args.construct()
    cls = gettype(node.constructor.module_name, node.constructor.class_name)
    return _with_state(cls(*arguments), node.attrs.construct())


def _with_state(instance: Any, state: Any) -> Any:
    from models_registry.artifacts.formats.migrations.table import migrate

    if not state:
        return instance
    state = migrate(instance, state)
    if hasattr(instance, "__setstate__"):
        instance.__setstate__(state)
    elif isinstance(state, dict):
        instance.__dict__.update(state)
    else:
        raise BrokenArtifact(f"The artifact's {type(instance).__name__} has no attributes. Write it again with skops.")
    return instance


def open_skops(path: Path, *, trusted: frozenset[str]) -> Any:
    """Return the object in a skops file if every type in it is on the list."""
    import skops.io

    trust = builtin_trust().with_additions(trusted)
    try:
        with zipfile.ZipFile(path) as archive:
            schema = read_schema(archive)
            found = list(nodes(schema))
            _require_trusted(found, trust)
            # skops searches this list for every node, so it holds only the trusted names that this file needs.
            return _construct(archive, schema, sorted({name_of(node) for node in found}))
    except ArtifactError:
        raise
    except skops.io.exceptions.UntrustedTypesFoundException as error:
        raise UntrustedArtifact(
            f"skops refuses the artifact: {error} Publish it again from its training script."
        ) from error
    except Exception as error:
        # A damaged file can fail in the zip, the JSON, an array or a constructor.
        raise BrokenArtifact(
            f"The artifact cannot be read as a skops file ({type(error).__name__}: {error}).",
            advice="Publish it again.",
            code=codes.UNREADABLE,
        ) from error
