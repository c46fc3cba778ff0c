"""The outputs of an ONNX graph: which one is the prediction, and which are the class probabilities.

Converters name and order outputs differently. The prediction is found by types and names, its labels by the graph's
nodes. Both are tested on generated rows, so that scores are not served as probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models_registry.artifacts.formats.onnx_inputs import DTYPES, element_type
from models_registry.errors import NoPrediction

Array = np.ndarray[Any, Any]
CLASS_LABELS = ("classlabels_int64s", "classlabels_strings", "classlabels_ints")
# These operations change the form of labels, not the choice of a label.
PASSED_THROUGH = frozenset({"Cast", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"})
ZIPMAPS = ("seq(map(string,tensor(float)))", "seq(map(int64,tensor(float)))")
TENSORS = "seq(tensor(float))"
LABEL_NAMES = ("label", "class", "predict")
MAX_STEPS = 50
# Tolerance for float32 sums of many classes.
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Binding:
    """The outputs to read, and their meaning.

    `classes` are the labels: an array, a list of one for each output, or None if the graph has none. `probabilities`
    names the outputs that hold them: one, one for each class (`ZipMap` as columns), or none. `kind` is the prediction's
    dtype kind, `width` the number of values for each row.
    """

    prediction: str
    kind: str
    width: int
    classes: Any = None
    probabilities: tuple[str, ...] = ()

    def read_prediction(self, values: Mapping[str, Any]) -> Array:
        """Return the predictions, of shape (rows,) or (rows, outputs)."""
        labels = np.asarray(values[self.prediction])
        return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels

    def read_probabilities(self, values: Mapping[str, Any]) -> Any:
        """Return an array of shape (rows, classes); a list of these for several outputs."""
        if len(self.probabilities) > 1:
            return np.column_stack([np.asarray(values[name]).ravel() for name in self.probabilities])
        held = values[self.probabilities[0]]
        if isinstance(held, list) and held and isinstance(held[0], dict):
            labels = self.classes.tolist()
            return np.array([[row[label] for label in labels] for row in held])
        array = held if isinstance(held, list) else np.asarray(held)
        if isinstance(array, list) or array.ndim == 3:
            return [np.asarray(part) for part in array]
        return array


def bind(session: Any, model: Any, trial: Mapping[str, Any] | None, rows: int) -> Binding:
    """Return the outputs to read; NoPrediction if none is a prediction for each row.

    `trial` is the graph's output for `rows` generated rows; None if it refuses them.
    """
    outputs = session.get_outputs()
    if not outputs:
        raise NoPrediction("The artifact's graph has no outputs. Convert the whole estimator.")
    known = any_labels(model)
    prediction = _prediction(outputs, has_labels=known is not None, trial=trial, rows=rows)
    kind = DTYPES[element_type(prediction.type) or ""].kind
    kind = "U" if kind == "O" else kind
    tried = None if trial is None else np.asarray(trial[prediction.name])
    if tried is not None and (tried.ndim not in {1, 2} or len(tried) != rows):
        raise NoPrediction(
            f"The artifact's output {prediction.name} has the shape {list(tried.shape)} for {rows} rows; expected one "
            "value or a list of values for each row. Convert the model with a first dimension of None."
        )
    width = _width(prediction.shape if tried is None else tried.shape)
    if kind == "f":
        return Binding(prediction.name, kind, width)
    classes = labels_behind(model, prediction.name)
    if width == 1:
        classes = _fitting(known if not isinstance(classes, np.ndarray) else classes, kind, tried)
    elif not isinstance(classes, list) or len(classes) != width:
        classes = None
    return _with_probabilities(Binding(prediction.name, kind, width, classes), outputs, trial, rows)


def _width(shape: Sequence[Any]) -> int:
    """Return the number of values for each row; 1 if the graph does not fix it."""
    return shape[1] if len(shape) > 1 and isinstance(shape[1], int) else 1


def _prediction(outputs: Sequence[Any], *, has_labels: bool, trial: Mapping[str, Any] | None, rows: int) -> Any:
    """Return the prediction's output: a classifier's labels, else a typical name, else the first output."""
    tensors = [one for one in outputs if element_type(one.type) in DTYPES]
    if not tensors:
        raise NoPrediction(
            f"The artifact's outputs are {', '.join(f'{one.name}: {one.type}' for one in outputs[:8])}; expected a "
            "tensor with one prediction for each row. Convert the whole estimator, for a classifier with its label."
        )
    labels = [one for one in tensors if element_type(one.type) not in {"float", "double", "float16"}]
    if trial is not None:
        labels = [one for one in labels if np.ndim(trial[one.name]) and len(trial[one.name]) == rows]
    named = [one for one in labels if any(word in one.name.lower() for word in LABEL_NAMES)]
    if has_labels and labels:
        return (named or labels)[0]
    return (named or [tensors[0]])[0]


def _fitting(classes: Any, kind: str, tried: Array | None) -> Any:
    """Return the labels in the output's type; None if the output has other labels."""
    if classes is None or (kind == "U") != (classes.dtype.kind == "U"):
        return None
    if kind == "b":
        classes = classes.astype(np.bool_)
    if len(np.unique(classes)) != len(classes):
        return None
    if tried is not None and not set(tried.ravel().tolist()) <= set(classes.tolist()):
        return None
    return classes


def _with_probabilities(
    binding: Binding, outputs: Sequence[Any], trial: Mapping[str, Any] | None, rows: int
) -> Binding:
    """Return the binding with the outputs that hold probabilities, if there are any."""
    if binding.classes is None:
        return binding
    others = [one for one in outputs if one.name != binding.prediction]
    # Most likely first.
    others.sort(key=lambda one: "prob" not in one.name.lower())
    for names in _candidates(binding.classes, others):
        found = replace(binding, probabilities=names)
        if trial is None:
            if any("prob" in name.lower() for name in names):
                return found
        elif _are_probabilities(found, trial, rows):
            return found
    return binding


def _candidates(classes: Any, others: Sequence[Any]) -> list[tuple[str, ...]]:
    if isinstance(classes, list):
        return [(one.name,) for one in others if one.type == TENSORS or element_type(one.type) in {"float", "double"}]
    found: list[tuple[str, ...]] = [
        (one.name,)
        for one in others
        if one.type in ZIPMAPS or (element_type(one.type) in {"float", "double", "float16"} and len(one.shape) != 1)
    ]
    columns = [one.name for one in others if element_type(one.type) in {"float", "double"} and len(one.shape) < 3]
    by_class = [_named_after(label, columns) for label in classes.tolist()]
    if len(classes) > 1 and all(name is not None for name in by_class) and len(set(by_class)) == len(by_class):
        found.append(tuple(name for name in by_class if name is not None))
    return found


def _named_after(label: Any, names: Sequence[str]) -> str | None:
    """Return the output name for a class with ZipMap as columns: `i0` for 0, `syes` for "yes"."""
    wanted = [f"s{label}", f"i{int(label)}" if not isinstance(label, str) else label, str(label)]
    return next((name for name in wanted if name in names), None)


def _are_probabilities(binding: Binding, trial: Mapping[str, Any], rows: int) -> bool:
    """Return whether the values are in [0, 1] and sum to 1, for each class and row."""
    try:
        held = binding.read_probabilities(trial)
    except (KeyError, ValueError, TypeError):
        return False
    if isinstance(binding.classes, list):
        pairs = list(zip(held, binding.classes, strict=False)) if isinstance(held, list) else []
        return len(pairs) == len(binding.classes) == len(held) and all(
            _is_distribution(part, (rows, len(labels))) for part, labels in pairs
        )
    return not isinstance(held, list) and _is_distribution(held, (rows, len(binding.classes)))


def _is_distribution(shares: Array, shape: tuple[int, int]) -> bool:
    if shares.shape != shape or shares.dtype.kind != "f":
        return False
    # A generated row may overflow inside the graph.
    sound = shares[np.isfinite(shares).all(axis=1)].astype(np.float64)
    is_share = (sound > -SUM_TOLERANCE) & (sound < 1 + SUM_TOLERANCE)
    return bool(len(sound) and is_share.all() and (np.abs(sound.sum(axis=1) - 1) < SUM_TOLERANCE).all())


def labels_behind(model: Any, output: str) -> Any:
    """Return the labels of `output`: an array, or a list of one for each column.

    The search goes back from the output through operations that only change the form. None if it finds no labels.
    """
    nodes = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for _ in range(MAX_STEPS):
        node = nodes.get(output)
        if node is None:
            return None
        if node.op_type == "Concat":
            parts = [labels_behind(model, name) for name in node.input] if len(node.input) > 1 else [None]
            return None if any(part is None or isinstance(part, list) for part in parts) else parts
        if node.op_type not in PASSED_THROUGH:
            return _labels_of(node, constants) if node.output[0] == output else None
        output = node.input[0]
    return None


def any_labels(model: Any) -> Any:
    """Return the class labels of the last node that has some; None if no node has labels."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: tuple[Callable[[Any], Any], ...] = (_own_labels, lambda node: _chosen_labels(node, constants))
    for read in readers:
        for node in reversed(model.graph.node):
            labels = read(node)
            if labels is not None:
                return labels
    return None


def _labels_of(node: Any, constants: Mapping[str, Any]) -> Any:
    own = _own_labels(node)
    return _chosen_labels(node, constants) if own is None else own


def _own_labels(node: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name in CLASS_LABELS and (attribute.ints or attribute.strings):
            return np.array(list(attribute.ints) or [label.decode() for label in attribute.strings])
    return None


def _chosen_labels(node: Any, constants: Mapping[str, Any]) -> Any:
    """Return the labels that skl2onnx stores in a constant, for classifiers without an operator of their own."""
    import onnx.numpy_helper

    if node.op_type != "ArrayFeatureExtractor" or node.input[0] not in constants:
        return None
    labels = onnx.numpy_helper.to_array(constants[node.input[0]]).ravel()
    return np.array([one.decode() if isinstance(one, bytes) else one for one in labels.tolist()])
