"""Inspects an ONNX graph's description without a session."""

import math
from pathlib import Path
from typing import Any

from models_registry.artifacts.formats import onnx_format
from models_registry.artifacts.formats.onnx_trees import trees_problem
from models_registry.artifacts.inspection_notes import InspectionNotes, LimitReached, claim

_MAX_LINES = 40
# Items of variable length count as eight bytes each.
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
_KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


def inspect_onnx(path: Path, notes: InspectionNotes, *, limit: int) -> None:
    """Note the names, contents and problems of an ONNX file."""
    size = path.stat().st_size
    if size > limit:
        raise LimitReached(f"The artifact has {size} bytes; at most {limit} are allowed. Publish a smaller model.")
    model = _read_model(path)
    for tensor in onnx_format.tensors(model):
        _note_tensor(tensor, notes, limit)
    for graph in onnx_format.graphs(model):
        for node in graph.node:
            _note_node(node, notes)
    outside = onnx_format.external_file(model)
    if outside is not None:
        notes.problems.append(
            f"The artifact wants to read the file {outside[:200]}, which is not inside of it. Save the model in one "
            "file (onnx.save_model without external data)."
        )
    _note_versions(model, notes)
    notes.outline.extend(_outline(model))


def _read_model(path: Path) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return onnx_format.read_model(path.read_bytes())
    except DecodeError as error:
        if "alloc" in str(error):
            # protobuf's error for missing memory.
            raise MemoryError from error
        raise


def _note_tensor(tensor: Any, notes: InspectionNotes, limit: int) -> None:
    if any(size < 0 for size in tensor.dims):
        notes.problems.append(
            f"The artifact's constant {tensor.name[:80]} has a negative size. It is damaged or crafted; export the "
            "model again."
        )
        return
    claim(notes, math.prod(tensor.dims) * _ITEM_BYTES.get(tensor.data_type, 8), limit)


def _note_node(node: Any, notes: InspectionNotes) -> None:
    domain = node.domain or "ai.onnx"
    notes.globals.add(f"{domain}.{node.op_type}")
    if node.domain not in _KNOWN_DOMAINS:
        notes.problems.append(
            f"The artifact uses {node.op_type} of {node.domain[:80]}, an operation that onnxruntime does not have. "
            "Export the model with operations of ONNX only."
        )
    trouble = trees_problem(node)
    if trouble is not None:
        notes.problems.append(trouble)


def _note_versions(model: Any, notes: InspectionNotes) -> None:
    notes.note_version(_text(model.producer_name) or "producer", _text(model.producer_version) or "unknown")
    notes.note_version("onnx-ir", str(model.ir_version))
    for opset in model.opset_import:
        notes.note_version(f"opset {_text(opset.domain) or 'ai.onnx'}", str(opset.version))


def _text(value: str | bytes) -> str:
    """Return a text of the file; protobuf returns texts that are not UTF-8 as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _outline(model: Any) -> list[str]:
    lines = [f"ONNX graph {model.graph.name[:80]}"]
    lines.extend(f"  input {one.name[:80]}" for one in model.graph.input[:_MAX_LINES])
    lines.extend(f"  {node.op_type}" for node in model.graph.node[:_MAX_LINES])
    lines.extend(f"  output {one.name[:80]}" for one in model.graph.output[:_MAX_LINES])
    return lines
