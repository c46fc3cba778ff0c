"""A compiled model in a worker; it needs only onnxruntime and numpy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from models_registry.compilation.encoder import Array, InputEncoder, column_from_json
from models_registry.compilation.text import TextEncoder, encoder_from_json
from models_registry.errors import BrokenArtifact, DigestMismatch

MODEL_FILE = "model.onnx"
PLAN_FILE = "plan.json"
REPORT_FILE = "report.json"

INPUT = "X"
# Memory limit for the intermediate results of one run; more rows are predicted in parts.
RUN_BYTES = 64 * 1024**2
MAX_RUN_ROWS = 16_384

ERRORS_ONLY = 3


class CompiledModel:
    """Predicts like the native model, from a graph; thread-safe.

    It takes rows in each form of `Schema.parse`: an array, a DataFrame, a list of rows, or columns by name. So a worker
    can parse mixed rows to an array of objects, without pandas. `plan` describes the inputs and outputs; `_plan`
    in `compiler.py` makes it.
    """

    def __init__(self, model: bytes, plan: Mapping[str, Any]) -> None:
        self.kind: str = plan["kind"]
        self.n_outputs_: int = plan["n_outputs"]
        self._encoder = _encoder(plan)
        self._session = _session(model)
        self._outputs: dict[str, str] = plan["outputs"]
        self._label_is_value: bool = plan["label_is_value"]
        self._classes = _labels_from_json(plan["classes"]) if plan["classes"] is not None else None
        self._rows_per_run = max(1, min(MAX_RUN_ROWS, RUN_BYTES // max(1, plan["row_bytes"])))
        self._answer = "label" if "label" in self._outputs else "prediction"
        self._both = [self._outputs[name] for name in (self._answer, "probabilities") if name in self._outputs]

    @property
    def classes_(self) -> Array:
        """The labels, in the native model's type."""
        if self._classes is None:
            raise AttributeError("a regressor has no classes_")
        return self._classes

    @property
    def predict_proba(self) -> Callable[[Any], Array]:
        """Return the method for probabilities, shape (rows, classes), if the native model has one."""
        self._require("probabilities", "predict_proba")
        return self._predict_proba

    @property
    def decision_function(self) -> Callable[[Any], Array]:
        """Return the method for the decision function, if the native model has one."""
        self._require("decision", "decision_function")
        return self._decision_function

    def predict_both(self, rows: Any) -> tuple[Array, Array | None]:
        """Return labels (or values) and probabilities (or None) from one run."""
        results = self._run(self._both, rows)
        return self._labels(results[0]), results[1] if len(results) > 1 else None

    def predict(self, rows: Any) -> Array:
        """Return labels or values, like the native `predict`."""
        return self._labels(self._run(self._both[:1], rows)[0])

    def _predict_proba(self, rows: Any) -> Array:
        return self._run([self._outputs["probabilities"]], rows)[0]

    def _decision_function(self, rows: Any) -> Array:
        return self._run([self._outputs["decision"]], rows)[0]

    def _run(self, names: list[str], rows: Any) -> list[Array]:
        matrix = self._encoder(rows)
        if len(matrix) <= self._rows_per_run:
            return self._session.run(names, {INPUT: matrix})  # type: ignore[no-any-return]  # untyped library
        parts = [
            self._session.run(names, {INPUT: matrix[start : start + self._rows_per_run]})
            for start in range(0, len(matrix), self._rows_per_run)
        ]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _labels(self, answered: Array) -> Array:
        if self._classes is None:
            return answered.ravel() if self._label_is_value and self.n_outputs_ == 1 else answered
        if self._label_is_value:
            return answered.astype(self._classes.dtype)
        return self._classes.take(answered)

    def _require(self, output: str, method: str) -> None:
        if output not in self._outputs:
            raise AttributeError(f"this compiled model has no {method}, as the native one has none")


def open_compiled(directory: Path) -> CompiledModel:
    """Return the compiled model in `directory`, as `accelerate` wrote it.

    Raises DigestMismatch if the bytes are not the verified ones, and BrokenArtifact if they cannot be read. The caller
    then serves the native model, and the next load compiles again.
    """
    try:
        report = json.loads((directory / REPORT_FILE).read_text())
        model = (directory / MODEL_FILE).read_bytes()
        plan = (directory / PLAN_FILE).read_bytes()
    except (OSError, ValueError) as error:
        raise BrokenArtifact(
            f"The compiled model in {directory} cannot be read ({error}). Remove the directory; it is built again."
        ) from error
    found = digest_of(model, plan)
    if found != report.get("sha256"):
        raise DigestMismatch(
            f"The compiled model in {directory} has the sha256 {found}, verified was {report.get('sha256')}. "
            "Remove the directory; it is built again."
        )
    try:
        return CompiledModel(model, json.loads(plan))
    except Exception as error:  # onnxruntime's exceptions have no common base class
        raise BrokenArtifact(
            f"onnxruntime cannot load the compiled model in {directory}: {error}. Remove the directory; it is built "
            "again."
        ) from error


def digest_of(model: bytes, plan: bytes) -> str:
    """Return the SHA-256 of the graph and its plan."""
    return hashlib.sha256(hashlib.sha256(model).digest() + hashlib.sha256(plan).digest()).hexdigest()


def labels_to_json(classes: Array) -> dict[str, Any]:
    """Return labels with their dtype."""
    return {"dtype": classes.dtype.str, "values": classes.tolist()}


def _labels_from_json(value: Mapping[str, Any]) -> Array:
    dtype = np.dtype(value["dtype"])
    if dtype.kind != "O":
        return np.array(value["values"], dtype=dtype)
    array = np.empty(len(value["values"]), dtype=object)
    array[:] = value["values"]
    return array


def _encoder(plan: Mapping[str, Any]) -> InputEncoder | TextEncoder:
    if plan.get("text") is not None:
        return encoder_from_json(plan["text"])
    return InputEncoder([column_from_json(column) for column in plan["columns"]], plan["names"])


def _session(model: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    # One row takes a few microseconds: a thread pool costs more, and each worker has one core.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # The arena would keep the memory of the largest batch forever.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
