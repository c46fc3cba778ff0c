"""Combines the parts of a dict, a tuple or several files into one predictor.

A model is often saved with a vectorizer or scaler, a threshold, feature names, or a label encoder. The parts are
combined if their widths allow only one order and each value has one meaning. Otherwise the artifact is refused, with
the `steps` that the manifest needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any

import numpy as np

from models_registry.artifacts.bundle_values import Values, is_live, read_values
from models_registry.artifacts.consumers import takes_text
from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.suggestions import closest, shown
from models_registry.artifacts.wrappers import told
from models_registry.errors import NoPrediction

MAX_ORDERED = 4
# Words in a name that mark a part as belonging to the target, not to the inputs.
_TARGET_WORDS = frozenset({"y", "target", "targets", "label", "labels", "output", "outputs", "response"})


@dataclass(frozen=True, slots=True)
class Bundle:
    """The combined predictor; `description` says how the parts are used, `features` has the input names if given."""

    estimator: Any
    description: str
    features: tuple[str, ...] = ()


def parts_of(value: Any) -> dict[str, Any] | None:
    """Return the parts of a dict by key, or of a tuple or list by position; None for other values."""
    if type(value) is dict and value:
        parts = {str(key): part for key, part in value.items()}
        if len(parts) < len(value):
            raise NoPrediction(
                f"The artifact holds a dict with two keys of the same text, among {shown(list(parts))}. Give each part "
                "a name of its own, save the dict and publish it again."
            )
        return parts
    if type(value) in {tuple, list} and value:
        return {str(position): part for position, part in enumerate(value)}
    return None


def combine(parts: Mapping[str, Any], steps: Sequence[str] | None = None) -> Bundle:
    """Return one predictor of `parts`, in the order of `steps`, or in the only possible order.

    Raises NoPrediction if no order, or more than one, is possible.
    """
    encoders = {name: part for name, part in parts.items() if _is_label_encoder(part)}
    chain = _chosen(parts, steps) if steps else _plain_chain(parts, encoders)
    encoder = _encoder_of(chain, encoders, is_said=steps is not None, parts=parts)
    names = [name for name in chain if name not in encoders]
    members = [(name, parts[name]) for name in names]
    inputs = members[0][1]
    others = {name: part for name, part in parts.items() if name not in chain and name not in encoders}
    values = read_values(others, inputs=inputs, model=members[-1][1], is_named=not _is_counted(parts))
    if values.problem and steps is None:
        raise _unclear(parts, values.problem)
    return Bundle(
        estimator=_assembled(members, values, encoder),
        description=_describe(members, values, encoder, parts),
        features=values.features,
    )


def _assembled(members: list[tuple[str, Any]], values: Values, encoder: tuple[str, Any] | None) -> Any:
    from sklearn.pipeline import Pipeline

    from models_registry.artifacts.label_decoder import LabelDecoder

    estimator = members[0][1] if len(members) == 1 else Pipeline(members)
    if values.threshold is not None:
        from sklearn.model_selection import FixedThresholdClassifier

        inner = estimator
        estimator = FixedThresholdClassifier(inner, threshold=float(values.threshold), response_method="predict_proba")
        estimator.estimator_ = inner
    labels = encoder[1].classes_ if encoder is not None else values.labels
    return estimator if labels is None else LabelDecoder(estimator, np.asarray(labels))


def _chosen(parts: Mapping[str, Any], steps: Sequence[str]) -> list[str]:
    """Return `steps` if each names a suitable part."""
    for position, name in enumerate(steps):
        if name not in parts:
            guess = closest(name, list(parts))
            hint = f"did you mean {guess!r}?" if guess else f"its parts are {shown(list(parts))}."
            raise NoPrediction(f"The manifest's 'steps' name {name!r}, which the artifact does not hold; {hint}")
        part = parts[name]
        is_last = position == len(steps) - 1 or _is_label_encoder(parts.get(steps[position + 1]))
        if _is_label_encoder(part) and position == len(steps) - 1 > 0:
            continue
        wanted = "predict" if is_last else "transform"
        if isinstance(part, type) or not _has(part, wanted):
            raise NoPrediction(
                f"The manifest's 'steps' have {name!r} ({_kind(part)}) "
                f"{'at the end' if is_last else 'before the end'}, but it has no {wanted}. Correct the 'steps': "
                "the last one predicts, and each other one transforms rows."
            )
    return list(steps)


def _plain_chain(parts: Mapping[str, Any], encoders: Mapping[str, Any]) -> list[str]:
    """Return the names of the parts in the only possible order, the model last."""
    models = [name for name, part in parts.items() if _predicts(part)]
    if not models:
        raise NoPrediction(_without_model(parts))
    if len(models) > 1:
        raise _unclear(parts, f"{shown(models)} are all models")
    model = parts[models[0]]
    inside = {id(item) for item in walk(model)}
    transformers = {
        name: part
        for name, part in parts.items()
        if _transforms(part) and name not in encoders and id(part) not in inside
    }
    for name, part in parts.items():
        is_known = name in models or name in transformers or name in encoders or id(part) in inside
        if not is_known and is_live(part):
            raise _unclear(parts, f"{name!r} ({_kind(part)}) may change the answers, and its place is unknown")
    for name, part in transformers.items():
        if set(name.lower().replace("-", "_").split("_")) & _TARGET_WORDS:
            raise _unclear(parts, f"{name!r} seems to belong to the target")
        if any(type(item) is type(part) for item in walk(model)):
            raise _unclear(parts, f"{models[0]!r} contains a {_kind(part)} already, and {name!r} is another one")
    return [*_only_order(parts, transformers, model), models[0]]


def _only_order(parts: Mapping[str, Any], transformers: Mapping[str, Any], model: Any) -> tuple[str, ...]:
    if len(transformers) > MAX_ORDERED:
        raise _unclear(parts, f"there are {len(transformers)} transformers")
    orders = [
        order
        for order in permutations(transformers)
        if all(_fits(before, after) for before, after in pairwise([*(transformers[name] for name in order), model]))
    ]
    if not orders:
        raise _unclear(parts, _misfit(transformers, model))
    if len(orders) > 1:
        raise _unclear(parts, "more than one order fits")
    return orders[0]


def _misfit(transformers: Mapping[str, Any], model: Any) -> str:
    """Return why no order is possible, with the first missing column if columns have names."""
    given = {name for part in transformers.values() for name in _output_names(part) or ()}
    missing = [name for name in _names_taken(model) if name not in given]
    if given and missing:
        return (
            f"the model takes {missing[0]!r}, which {shown(list(transformers))} does not give (a pipeline with a "
            "ColumnTransformer gives it)"
        )
    return "the output of one part does not fit the input of the next"


def _fits(before: Any, after: Any) -> bool:
    """Return whether the output of `before` fits the input of `after`, by width and by names."""
    given, taken = _output_names(before), told(after, "n_features_in_")
    if given is None or taken is None or takes_text(after) or len(given) != taken:
        return False
    names = _names_taken(after)
    return not names or names == given


def _names_taken(part: Any) -> list[str]:
    names = told(part, "feature_names_in_")
    return [] if names is None else list(map(str, names))


def _output_names(transformer: Any) -> list[str] | None:
    """Return the output column names of a transformer; None if it has none."""
    method = getattr(transformer, "get_feature_names_out", None)
    if method is None:
        return None
    try:
        return list(map(str, method()))
    except Exception:  # noqa: BLE001 - a transformer without names may raise any exception
        return None


def _encoder_of(
    chain: Sequence[str], encoders: Mapping[str, Any], *, is_said: bool, parts: Mapping[str, Any]
) -> tuple[str, Any] | None:
    """Return the label encoder for the model's class positions, and its name."""
    model = parts[next(name for name in reversed(chain) if name not in encoders)]
    fitting = {name: part for name, part in encoders.items() if _decodes(part, model)}
    named = [name for name in chain if name in encoders]
    if named and named[0] not in fitting:
        raise NoPrediction(
            f"The manifest's 'steps' end with the label encoder {named[0]!r}, but the model's classes are not the "
            "positions of its labels. Remove the encoder from the 'steps'."
        )
    if named:
        return named[0], fitting[named[0]]
    if is_said and len(fitting) != 1:
        return None
    strange = [name for name in encoders if name not in fitting and not _has_its_labels(encoders[name], model)]
    if strange or len(fitting) > 1:
        raise _unclear(parts, f"it is unknown which values belong to {shown(strange or list(fitting))}")
    return next(iter(fitting.items()), None)


def _is_label_encoder(part: Any) -> bool:
    kind = type(part)
    return f"{kind.__module__}.{kind.__name__}" == "sklearn.preprocessing._label.LabelEncoder"


def _decodes(encoder: Any, model: Any) -> bool:
    classes, labels = getattr(model, "classes_", None), getattr(encoder, "classes_", None)
    if not isinstance(classes, np.ndarray) or not isinstance(labels, np.ndarray):
        return False
    return classes.dtype.kind in "iuf" and classes.tolist() == list(range(len(labels)))


def _has_its_labels(encoder: Any, model: Any) -> bool:
    """Return whether the model already predicts the encoder's labels."""
    classes = getattr(model, "classes_", None)
    return isinstance(classes, np.ndarray) and classes.tolist() == np.asarray(encoder.classes_).tolist()


def _has(part: Any, method: str) -> bool:
    return callable(getattr(part, method, None))


def _predicts(part: Any) -> bool:
    return not isinstance(part, type) and _has(part, "predict")


def _transforms(part: Any) -> bool:
    return not isinstance(part, type) and _has(part, "transform") and not _has(part, "predict")


def _kind(part: Any) -> str:
    return part.__name__ if isinstance(part, type) else type(part).__name__


def _is_counted(parts: Mapping[str, Any]) -> bool:
    return list(parts) == [str(position) for position in range(len(parts))]


def _without_model(parts: Mapping[str, Any]) -> str:
    held = shown([f"{name} ({_kind(part)})" for name, part in parts.items()])
    return (
        f"The parts of the artifact have no predict: {held}. Publish the fitted estimator or pipeline itself, or name "
        "the files of one chain in the manifest of the model's file: "
        '"steps": ["vectorizer.pkl", "model.pkl"].'
    )


def _unclear(parts: Mapping[str, Any], why: str) -> NoPrediction:
    usable = [name for name, part in parts.items() if _transforms(part) and not _is_label_encoder(part)]
    models = [name for name, part in parts.items() if _predicts(part)]
    example = ", ".join(f'"{name}"' for name in [*usable, *models[:1]])
    return NoPrediction(
        f"It is unclear how the parts of the artifact form one model: {why}. List the parts in the manifest in their "
        f'order, the model last: "steps": [{example}]. Then publish again.'
    )


def _describe(
    members: list[tuple[str, Any]], values: Values, encoder: tuple[str, Any] | None, parts: Mapping[str, Any]
) -> str:
    """Return a description of how the parts are used, for a person to confirm."""
    sentence = " → ".join(f"{name} ({_kind(part)})" for name, part in members)
    if encoder is not None:
        sentence += f" → {encoder[0]} (labels)"
    used = {name for name, _ in members} | ({encoder[0]} if encoder else set())
    for name, meaning in values.used.items():
        sentence += f"; {name}: {meaning}"
        used.add(name)
    unused = [name for name in parts if name not in used]
    return f"{sentence}. Not used: {shown(unused)}." if unused else f"{sentence}."
