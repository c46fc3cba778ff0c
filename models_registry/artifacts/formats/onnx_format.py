"""ONNX artifacts: a graph of numeric operations, run by onnxruntime on one thread."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models_registry.errors import ArtifactError, BrokenArtifact, NoPrediction, UntrustedArtifact

_MATRIX = 2
_CLASS_LABELS = ("classlabels_int64s", "classlabels_strings", "classlabels_ints")
_NUMPY_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}


class OnnxPredictor:
    """An ONNX graph that predicts as an estimator does.

    `inputs` may be an array of rows or a pandas.DataFrame. Where the graph has one input per column, the columns
    are `feature_names_in_`.
    """

    def __init__(self, session: Any, classes: Any) -> None:
        self._session = session
        self._inputs = session.get_inputs()
        self._outputs = [output.name for output in session.get_outputs()]
        if classes is not None:
            self.classes_ = classes
        single = self._inputs[0]
        if len(self._inputs) > 1:
            self.n_features_in_ = len(self._inputs)
            self.feature_names_in_ = np.array([one.name for one in self._inputs], dtype=object)
        elif len(single.shape) == _MATRIX and isinstance(single.shape[1], int):
            self.n_features_in_ = single.shape[1]

    def predict(self, inputs: Any) -> np.ndarray[Any, Any]:
        """Return one prediction per row."""
        return self._labels(self._run(inputs, self._outputs[:1])[0])

    def _labels(self, output: Any) -> np.ndarray[Any, Any]:
        labels = np.asarray(output)
        return labels[:, 0] if labels.ndim == _MATRIX and labels.shape[1] == 1 else labels

    def _run(self, inputs: Any, outputs: list[str]) -> list[Any]:
        return list(self._session.run(outputs, self._feed(inputs)))

    def _feed(self, inputs: Any) -> dict[str, Any]:
        if len(self._inputs) == 1:
            single = self._inputs[0]
            return {single.name: _as_type(inputs, single)}
        columns = getattr(inputs, "columns", None)
        if columns is not None and set(self.feature_names_in_) <= set(columns):
            return {one.name: _as_type(inputs[[one.name]], one) for one in self._inputs}
        rows = np.asarray(inputs)
        return {one.name: _as_type(rows[:, [n]], one) for n, one in enumerate(self._inputs)}


class OnnxClassifier(OnnxPredictor):
    """An ONNX graph that answers a label and the classes' probabilities."""

    def predict_proba(self, inputs: Any) -> np.ndarray[Any, Any]:
        """Return one row of probabilities per row, in the order of `classes_`."""
        return self._probabilities(self._run(inputs, self._outputs[1:2])[0])

    def predict_both(self, inputs: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return labels and probabilities of one run of the graph."""
        labels, probabilities = self._run(inputs, self._outputs[:2])
        return self._labels(labels), self._probabilities(probabilities)

    def _probabilities(self, output: Any) -> np.ndarray[Any, Any]:
        if isinstance(output, list):
            # A ZipMap answers a dictionary by label for each row.
            return np.array([[row[label] for label in self.classes_.tolist()] for row in output])
        return np.asarray(output)


def _as_type(values: Any, declared: Any) -> Any:
    dtype = _NUMPY_TYPES.get(declared.type)
    if dtype is None:
        raise NoPrediction(
            f"The artifact's input {declared.name} is a {declared.type}, which no JSON value becomes; expected one "
            f"of {', '.join(_NUMPY_TYPES)}. Convert the model with such an input."
        )
    array = np.asarray(values)
    if dtype is object:
        array = array.astype(str).astype(object)
    array = np.ascontiguousarray(array, dtype=dtype)
    return array.reshape(-1, 1) if array.ndim == 1 and len(declared.shape) == _MATRIX else array


def read_model(content: bytes) -> Any:
    """Return the parsed graph; nothing outside of the file is read."""
    import onnx

    return onnx.load_model_from_string(content)


def graphs(model: Any) -> Iterator[Any]:
    """Yield the graph, the graphs inside its nodes, and its functions (which have nodes alike)."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def tensors(model: Any) -> Iterator[Any]:
    """Yield every constant of the model."""
    for graph in graphs(model):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                if attribute.HasField("sparse_tensor"):
                    yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
                yield from attribute.tensors


def external_file(model: Any) -> str | None:
    """Return the name of a file outside that the model wants to read, or None."""
    for tensor in tensors(model):
        if tensor.data_location == 1 or tensor.external_data:
            return next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
    return None


def classes_of(model: Any) -> Any:
    """Return the class labels that the graph answers, or None where it does not tell."""
    import onnx.numpy_helper

    for node in reversed(model.graph.node):
        for attribute in node.attribute:
            if attribute.name in _CLASS_LABELS and (attribute.ints or attribute.strings):
                return np.array(list(attribute.ints) or [label.decode() for label in attribute.strings])
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in reversed(model.graph.node):
        # skl2onnx looks labels up in a constant, where the classifier is no operation of its own.
        if node.op_type == "ArrayFeatureExtractor" and node.input[0] in constants:
            labels = onnx.numpy_helper.to_array(constants[node.input[0]]).ravel()
            return np.array([one.decode() if isinstance(one, bytes) else one for one in labels.tolist()])
    return None


def open_onnx(path: Path) -> Any:
    """Return the graph in an ONNX file as an estimator; one that reads other files is refused."""
    try:
        content = path.read_bytes()
        model = read_model(content)
        _require_whole(model)
        return _predictor(_session(content), model)
    except ArtifactError:
        raise
    except Exception as error:
        # Protobuf, the checks of onnxruntime and its kernels have no common error.
        raise BrokenArtifact(
            f"The artifact cannot be read as an ONNX file ({type(error).__name__}: {str(error)[:500]}). "
            "Publish it again."
        ) from error


def _require_whole(model: Any) -> None:
    outside = external_file(model)
    if outside is not None:
        raise UntrustedArtifact(
            f"The artifact wants to read the file {outside}, and only what is inside of the artifact is served. "
            "Save the model in one file (onnx.save_model without external data)."
        )


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _predictor(session: Any, model: Any) -> OnnxPredictor:
    classes = classes_of(model)
    outputs = session.get_outputs()
    if not session.get_inputs() or not outputs:
        raise NoPrediction("The artifact's graph has no inputs or no outputs. Convert the whole estimator.")
    if classes is not None and len(outputs) > 1:
        return OnnxClassifier(session, classes)
    return OnnxPredictor(session, classes)
