"""ONNX artifacts: a graph of numeric operations, run by onnxruntime on one thread."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models_registry.artifacts import codes
from models_registry.artifacts.features import Feature
from models_registry.artifacts.formats.onnx_inputs import GraphColumns, GraphInput, read_inputs
from models_registry.artifacts.formats.onnx_outputs import Binding, bind
from models_registry.errors import ArtifactError, BrokenArtifact, UntrustedArtifact

# Generated rows that show the shape of a graph's output; in each row all columns have the same value.
TRIAL_VALUES = (0, 1, 2)
TRIAL_TEXTS = ("", "a", "b c")
NO_LOCALE = re.compile(r"Failed to construct locale with name:\s*([\w.-]+)")
IR_TOO_NEW = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
OPSET_TOO_NEW = re.compile(
    r"Opset (\d+) is under development.*official support for domain (\S+) is till opset (\d+)", re.DOTALL
)


class OnnxPredictor:
    """An ONNX graph with the interface of an estimator.

    `inputs` may be an array of rows or a pandas.DataFrame. If the graph has several inputs, `feature_names_in_` names
    their columns. `output_kind_` is the dtype kind of the predictions.
    """

    def __init__(self, run: "GraphRun", binding: Binding) -> None:
        self._session = run.session
        self._run = run
        self._binding = binding
        self.output_kind_ = binding.kind
        self.n_outputs_ = binding.width
        if binding.classes is not None:
            self.classes_ = binding.classes
        if run.columns.names is not None:
            self.feature_names_in_ = np.array(run.columns.names, dtype=object)
        if run.columns.count is not None:
            self.n_features_in_ = run.columns.count

    def predict(self, inputs: Any) -> np.ndarray[Any, Any]:
        """Return one prediction per row."""
        return self._binding.read_prediction(self._run(inputs, (self._binding.prediction,)))

    def features(self, names: tuple[str, ...]) -> tuple[Feature, ...]:
        """Return a feature for each of `names`, with the type that the graph declares."""
        return self._run.columns.features(names)

    def settle(self, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
        """Return the features that a manifest declares; NoPrediction for one that the graph cannot take."""
        return self._run.columns.settle(features)


class OnnxClassifier(OnnxPredictor):
    """An ONNX graph that returns labels and class probabilities."""

    def predict_proba(self, inputs: Any) -> Any:
        """Return probabilities of shape (rows, classes), columns as in `classes_`; a list for several outputs."""
        return self._binding.read_probabilities(self._run(inputs, self._binding.probabilities))

    def predict_both(self, inputs: Any) -> tuple[np.ndarray[Any, Any], Any]:
        """Return labels and probabilities from one run of the graph."""
        values = self._run(inputs, (self._binding.prediction, *self._binding.probabilities))
        return self._binding.read_prediction(values), self._binding.read_probabilities(values)


class GraphRun:
    """Runs a session on rows in batches of size `batch`, or all at once if `batch` is None."""

    def __init__(self, session: Any, inputs: tuple[GraphInput, ...], batch: int | None) -> None:
        self.session = session
        self.inputs = inputs
        self.columns = GraphColumns(inputs)
        self.batch = batch

    def __call__(self, rows: Any, outputs: tuple[str, ...]) -> dict[str, Any]:
        """Return the outputs by name, for all rows."""
        return self.on(self.columns.feed(rows), outputs)

    def on(self, feed: dict[str, Any], outputs: tuple[str, ...]) -> dict[str, Any]:
        """Return the outputs by name, for tensors of all rows."""
        count = len(next(iter(feed.values())))
        if self.batch is None or count == self.batch:
            return dict(zip(outputs, self.session.run(list(outputs), feed), strict=True))
        parts = [self._part(feed, start, count, outputs) for start in range(0, count, self.batch)]
        return {name: _joined([part[name] for part in parts]) for name in outputs}

    def _part(self, feed: dict[str, Any], start: int, count: int, outputs: tuple[str, ...]) -> dict[str, Any]:
        """Return the outputs for one batch; a short last batch is padded with copies of its last row."""
        assert self.batch is not None
        held = min(self.batch, count - start)
        rows = np.minimum(np.arange(start, start + self.batch), count - 1)
        values = self.session.run(list(outputs), {name: tensor[rows] for name, tensor in feed.items()})
        return {name: _first(value, held, self.batch) for name, value in zip(outputs, values, strict=True)}


def _first(value: Any, held: int, batch: int) -> Any:
    """Return the first `held` rows of an output of `batch` rows."""
    if isinstance(value, list):
        return value[:held] if value and isinstance(value[0], dict) else [part[:held] for part in value]
    # For several outputs, rows are the second dimension of the probabilities.
    return value[:, :held] if value.ndim == 3 else value[:held]


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, list):
        if first and isinstance(first[0], dict):
            return [row for part in parts for row in part]
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    return np.concatenate(parts, axis=1 if first.ndim == 3 else 0)


def read_model(content: bytes) -> Any:
    """Return the parsed graph; other files are not read."""
    import onnx

    return onnx.load_model_from_string(content)


def graphs(model: Any) -> Iterator[Any]:
    """Yield the graph, the subgraphs of its nodes, and its functions (which also have nodes)."""
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
    """Return the name of an external file that the model refers to, or None."""
    for tensor in tensors(model):
        if tensor.data_location == 1 or tensor.external_data:
            return next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
    return None


def open_onnx(path: Path) -> Any:
    """Return the graph in an ONNX file as an estimator; a graph with external files is refused."""
    try:
        content = path.read_bytes()
        model = read_model(content)
        _require_whole(model)
        return _predictor(_session(content), model)
    except ArtifactError:
        raise
    except Exception as error:
        known = _known_reason(str(error))
        if known is not None:
            raise BrokenArtifact(known) from error
        # Protobuf, onnxruntime's checks and its kernels have no common exception type.
        raise BrokenArtifact(
            f"The artifact cannot be read as an ONNX file ({type(error).__name__}: {str(error)[:500]}).",
            advice="Publish it again.",
            code=codes.UNREADABLE,
        ) from error


def _known_reason(said: str) -> str | None:
    """Return why onnxruntime refuses a valid graph; None if the reason is unknown."""
    import onnxruntime

    server = f"this server's onnxruntime {onnxruntime.__version__}"
    if found := NO_LOCALE.search(said):
        return (
            f"The graph works on text by the rules of the locale {found[1]} (StringNormalizer), which this server does "
            f"not have. Install it (Debian: 'apt-get install locales', then 'localedef -i {found[1].partition('.')[0]} "
            f"-f UTF-8 {found[1]}'), restart the service, and press Check again. The service's image has en_US.UTF-8."
        )
    if found := IR_TOO_NEW.search(said):
        return (
            f"The file is written in version {found[1]} of ONNX's format (IR); {server} reads up to {found[2]}. Save "
            f"it with an older onnx package, or set model.ir_version = {found[2]} before it is saved."
        )
    if found := OPSET_TOO_NEW.search(said):
        return (
            f"The graph needs the operator set {found[1]} of {found[2]}; {server} has up to {found[3]}. Convert the "
            f"model with target_opset={found[3]}."
        )
    return None


def _require_whole(model: Any) -> None:
    outside = external_file(model)
    if outside is not None:
        raise UntrustedArtifact(
            f"The artifact wants to read the file {outside}, which is not inside of it. "
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
    inputs = read_inputs(session)
    batch = next((one.batch for one in inputs if one.batch is not None), None)
    run, trial = _tried(session, GraphRun(session, inputs, batch))
    binding = bind(session, model, trial, len(TRIAL_VALUES))
    return (OnnxClassifier if binding.probabilities else OnnxPredictor)(run, binding)


def _tried(session: Any, run: GraphRun) -> tuple[GraphRun, dict[str, Any] | None]:
    """Return the way to run the graph, and its output for generated rows; None if it refuses them.

    If a graph accepts only single rows, rows are run one by one, even if it declares batches.
    """
    names = tuple(output.name for output in session.get_outputs())
    feed = {one.name: _trial_tensor(one) for one in run.inputs}
    for attempt in (run, GraphRun(session, run.inputs, 1)):
        trial = _try(attempt, feed, names)
        if trial is not None:
            return attempt, trial
    return run, None


def _try(run: GraphRun, feed: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        return run.on(feed, names)
    except Exception:  # noqa: BLE001 - kernels have no common error, and these rows may hold a text that is not a category
        return None


def _trial_tensor(one: GraphInput) -> np.ndarray[Any, Any]:
    """Return the generated rows of one input."""
    values = np.array(TRIAL_TEXTS if one.type == "string" else TRIAL_VALUES, dtype=object).astype(one.dtype)
    return values if one.rank == 1 else np.repeat(values[:, None], one.width or 1, axis=1)
