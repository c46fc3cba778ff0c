"""Plain values next to a model in a bundle: its threshold, feature names, classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models_registry.artifacts.consumers import takes_text
from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.wrappers import told

THRESHOLD = ("threshold", "best_threshold", "optimal_threshold", "decision_threshold")
FEATURES = (
    "features", "feature_names", "feature_columns", "feature_cols", "feature_list", "input_features", "columns",
)  # fmt: skip
CLASSES = ("classes", "classes_", "class_names", "target_names")
# For a regression, these are the names of its outputs.
TARGETS = "target_names"
_PLAIN_MODULES = ("builtins", "numpy", "pandas", "datetime")


@dataclass(slots=True)
class Values:
    """The meaning of the values: `used` describes each used value; `problem` explains an unusable one."""

    threshold: float | None = None
    features: tuple[str, ...] = ()
    labels: Any = None
    used: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def read_values(others: Mapping[str, Any], *, inputs: Any, model: Any, is_named: bool) -> Values:
    """Return the meaning of the values in `others` for a chain from `inputs` to `model`.

    In a tuple the parts have no names: then only feature names are recognised, by their number.
    """
    values = Values()
    for name, value in others.items():
        if name.lower() in FEATURES or not is_named:
            _read_features(values, name, value, inputs)
        elif name.lower() in THRESHOLD:
            _read_threshold(values, name, value, model)
        elif name.lower() in CLASSES:
            _read_classes(values, name, value, model)
    return values


def _read_features(values: Values, name: str, value: Any, inputs: Any) -> None:
    """Use the names if their number equals the number of inputs, and the estimator has no own names."""
    names = value.tolist() if hasattr(value, "tolist") else value
    is_names = isinstance(names, list | tuple) and bool(names) and all(isinstance(item, str) for item in names)
    if not is_names or values.features or takes_text(inputs) or len(set(names)) < len(names):
        return
    own = told(inputs, "feature_names_in_")
    if own is None and len(names) == told(inputs, "n_features_in_"):
        values.features = tuple(names)
    if values.features or (own is not None and sorted(map(str, own)) == sorted(names)):
        values.used[name] = "names of the features"


def _read_threshold(values: Values, name: str, value: Any, model: Any) -> None:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    classes = _classes(model) or []
    is_binary = len(classes) == 2 and callable(getattr(model, "predict_proba", None))
    if not is_number or not is_binary or not 0 <= float(value) <= 1:
        values.problem = (
            f"{name!r} is {_short(value)}; a threshold is a number from 0 to 1, for a classifier of two classes "
            "with probabilities"
        )
    elif values.threshold is not None and values.threshold != float(value):
        values.problem = f"{name!r} is a second threshold"
    else:
        values.threshold = float(value)
        values.used[name] = f"{classes[1]!r} from a probability of {float(value):g}"


def _read_classes(values: Values, name: str, value: Any, model: Any) -> None:
    """Use the labels if the model predicts their positions, or predicts the labels themselves."""
    classes = _classes(model)
    if name.lower() == TARGETS and classes is None:
        return
    if isinstance(value, Mapping):
        value = [value.get(key, value.get(str(key))) for key in range(len(value))]
    labels = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(labels, list | tuple) or classes is None or len(labels) != len(classes):
        values.problem = f"{name!r} does not name the model's classes"
    elif list(labels) == classes:
        values.used[name] = "the model's own"
    elif classes == list(range(len(labels))) and all(isinstance(item, str) for item in labels):
        values.labels = labels
        values.used[name] = "labels of the answers"
    else:
        values.problem = f"{name!r} does not name the model's classes"


def _classes(model: Any) -> list[Any] | None:
    """Return the labels of a single-output model as plain values; None if it has none."""
    classes = getattr(model, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        return None
    return [item.item() if isinstance(item, np.generic) else item for item in classes.tolist()]


def is_live(value: Any) -> bool:
    """Return whether a value contains code: a function, a class, a model or an unknown object."""
    return any(_computes(item) for item in walk(value))


def _computes(item: Any) -> bool:
    if isinstance(item, np.dtype):
        return False
    if callable(item) or hasattr(item, "predict") or (hasattr(item, "transform") and not _is_table(item)):
        return True
    return type(item).__module__.partition(".")[0] not in _PLAIN_MODULES


def _is_table(item: Any) -> bool:
    return type(item).__module__.partition(".")[0] == "pandas"


def _short(value: Any) -> str:
    return f"{value!r:.40}"
