"""Builds an ONNX graph with short method names; all values are float64, except XGBoost's float32 sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]

INPUT = "X"
# The first opsets in which every operator used here takes float64: float64 trees came with ai.onnx.ml 5.
OPERATOR_SETS = (("", 21), ("ai.onnx.ml", 5))
IR_VERSION = 10
SHARED_BYTES = 65_536


class Graph:
    """Nodes and constants in the order of the calls; each method returns a tensor's name."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: dict[tuple[Any, ...], str] = {}
        self._initializers: list[TensorProto] = []

    def constant(self, value: Any, dtype: Any = np.float64) -> str:
        """Return the name of a constant; equal small constants are stored once."""
        array = np.ascontiguousarray(np.asarray(value, dtype=dtype)).reshape(np.shape(value))
        key = _key(array)
        name = self._constants.get(key) if key else None
        if name is None:
            name = f"c{len(self._initializers)}"
            self._initializers.append(numpy_helper.from_array(array, name))
            if key:
                self._constants[key] = name
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of the default domain and return its first output."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node and return its outputs."""
        names = [f"t{len(self._nodes)}_{position}" for position in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names

    def append(self, node: NodeProto) -> str:
        """Add a prepared node and return its output."""
        node.output[:] = [f"t{len(self._nodes)}_0"]
        self._nodes.append(node)
        return str(node.output[0])

    def add(self, left: str, right: str) -> str:
        return self.op("Add", left, right)

    def subtract(self, left: str, right: str) -> str:
        return self.op("Sub", left, right)

    def multiply(self, left: str, right: str) -> str:
        return self.op("Mul", left, right)

    def divide(self, left: str, right: str) -> str:
        return self.op("Div", left, right)

    def matmul(self, left: str, right: str) -> str:
        return self.op("MatMul", left, right)

    def where(self, condition: str, then: str, otherwise: str) -> str:
        return self.op("Where", condition, then, otherwise)

    def concat(self, parts: Sequence[str]) -> str:
        """Concatenate matrices by columns."""
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=1)

    def take(self, name: str, columns: Sequence[int] | Array) -> str:
        """Return these columns of a matrix."""
        return self.op("Gather", name, self.constant(columns, np.int64), axis=1)

    def total(self, name: str, axis: int, *, keep: bool) -> str:
        return self.op("ReduceSum", name, self.constant([axis], np.int64), keepdims=int(keep))

    def highest(self, name: str) -> str:
        """Return each row's highest value, as a column."""
        return self.op("ReduceMax", name, self.constant([1], np.int64), keepdims=1)

    def argmax(self, name: str) -> str:
        """Return the position of each row's first maximum, like numpy's argmax."""
        return self.op("ArgMax", name, axis=1, keepdims=0)

    def flatten(self, name: str) -> str:
        """Return a column as a vector."""
        return self.op("Reshape", name, self.constant([-1], np.int64))

    def column(self, name: str) -> str:
        """Return a vector as a column."""
        return self.op("Reshape", name, self.constant([-1, 1], np.int64))

    def cast(self, name: str, kind: int) -> str:
        return self.op("Cast", name, to=kind)

    def as_float64(self, name: str) -> str:
        return self.cast(name, TensorProto.DOUBLE)

    def as_float32(self, name: str) -> str:
        return self.cast(name, TensorProto.FLOAT)

    def as_int64(self, name: str) -> str:
        return self.cast(name, TensorProto.INT64)

    def through_float32(self, name: str) -> str:
        """Round to float32 and convert back: scikit-learn's trees compare float32 inputs with float64 thresholds."""
        return self.as_float64(self.as_float32(name))

    def to_bytes(self, width: int, outputs: Mapping[str, tuple[str, int]]) -> bytes:
        """Return the serialized model; `outputs` maps a public name to a tensor and its element type."""
        self._drop_identity_gathers(width)
        read = {name for node in self._nodes for name in node.input}
        self._initializers = [item for item in self._initializers if item.name in read]
        declared = []
        for public, (tensor, kind) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [tensor], [public]))
            declared.append(helper.make_tensor_value_info(public, kind, None))
        source = helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, [None, width])
        graph = helper.make_graph(self._nodes, "model", [source], declared, initializer=self._initializers)
        sets = [helper.make_opsetid(domain, version) for domain, version in OPERATOR_SETS]
        model: ModelProto = helper.make_model(graph, opset_imports=sets, ir_version=IR_VERSION)
        return bytes(model.SerializeToString())

    def _drop_identity_gathers(self, width: int) -> None:
        """Replace selections of all input columns in order: only now is the number of columns known."""
        key = _key(np.arange(width, dtype=np.int64))
        everything = self._constants.get(key) if key else None
        for node in self._nodes:
            if node.op_type == "Gather" and list(node.input) == [INPUT, everything]:
                del node.input[1:]
                del node.attribute[:]
                node.op_type = "Identity"


def _key(array: Array) -> tuple[Any, ...] | None:
    """Return a key that identifies a constant; None if it is too large to compare."""
    return (array.dtype.str, array.shape, array.tobytes()) if array.nbytes <= SHARED_BYTES else None
