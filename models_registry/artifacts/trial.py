"""Tests a loaded model with the code of requests: schema, model and JSON, for a batch and for single rows."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models_registry.artifacts import codes
from models_registry.artifacts.examples import example_rows
from models_registry.artifacts.features import FEATURE_TYPES
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.outputs import UnequalRows
from models_registry.artifacts.prediction import Prediction, call
from models_registry.artifacts.prediction_json import content_of, encode
from models_registry.artifacts.sample import check_probabilities, verify_sample
from models_registry.artifacts.schema import Schema
from models_registry.artifacts.typical_values import typical_row
from models_registry.artifacts.wrappers import told
from models_registry.errors import InputError, NoPrediction, SampleMismatch

MAX_PREDICTION_LENGTH = 16 << 20
# Half a million plain features; the report of the whole validation must have room, too.
MAX_SCHEMA_BYTES = 24 << 20
# The minimum size of one feature's description.
MIN_FEATURE_BYTES = 30
SHOWN_INPUTS = 4
TIMED_ROWS = 30
TIMED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Trial:
    """The results of the test.

    `schema` has the observed outputs, `example` is a valid row, `predictions` are those of the sample, or None.
    """

    schema: Schema
    example: Any
    predictions: list[Any] | None
    row_seconds: float


def try_model(model: Any, schema: Schema, sample: Sample | None, *, is_declared: bool) -> Trial:
    """Return the results of `model` for its sample, or for a generated row without a sample.

    Raises NoPrediction, SampleMismatch or InputError if a request with such a row would fail.
    """
    _require_storable(schema)
    if sample is None:
        return _try_made_up(model, schema, is_declared=is_declared)
    try:
        answer = verify_sample(model, schema, sample)
    except InputError as error:
        target = _unknown_last_column(schema, sample)
        if target is not None:
            raise SampleMismatch(
                f"The sample's last column {target!r} is not an input of the model. If it has the expected "
                "predictions, rename it to 'prediction'; otherwise remove it from the sample."
            ) from error
        meant = _meant_inputs(schema, error)
        if not meant:
            raise
        raise SampleMismatch(f"{error} {_advise_types(meant)}") from error
    except UnequalRows as error:
        raise error.of_sample() from error
    schema = _check(model, schema, list(sample.instances), answer)
    predictions = answer.predictions()
    length = len(encode({"predictions": predictions}))
    if length > MAX_PREDICTION_LENGTH:
        raise NoPrediction(
            f"The predictions of the sample have {length} bytes; at most {MAX_PREDICTION_LENGTH} are allowed. "
            "Shorten the sample in the manifest."
        )
    example = sample.instances[0]
    return Trial(schema, example, predictions, _row_seconds(model, schema, example))


def _try_made_up(model: Any, schema: Schema, *, is_declared: bool) -> Trial:
    """Return the result for the first generated row that the model accepts."""
    refusals: list[Exception] = []
    for example in example_rows(schema):
        try:
            together = call(model, schema.parse([example, example]))
            seen = _check(model, schema, [example, example], together)
            row = _with_typical_values(model, seen, example)
            return Trial(seen, row, None, _row_seconds(model, seen, row))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a model may refuse a row with any exception
            refusals.append(error)
    first = refusals[0]
    if isinstance(first, NoPrediction):
        raise first
    raise _made_up_refusal(schema, first, is_declared=is_declared) from first


def _with_typical_values(model: Any, schema: Schema, example: Any) -> Any:
    """Return the example with values that the model keeps of its training, if it accepts that row too."""
    try:
        row = typical_row(model, schema, example)
        if row != example:
            _check(model, schema, [row, row], call(model, schema.parse([row, row])))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a crafted model may have any values; the example itself is known to work
        return example
    return row


def _made_up_refusal(schema: Schema, error: Exception, *, is_declared: bool) -> NoPrediction:
    """Return the error of a version whose generated rows all fail, with the next step."""
    found = f"{type(error).__name__}: {str(error)[:200]}"
    # A column of any type may get texts from requests.
    if all(feature.type != "any" for feature in schema.inputs) and schema.inputs and not is_declared:
        return NoPrediction(
            f"The model refuses a row with the input types that were inferred from it ({found}).",
            advice=_advise_types(schema.inputs),
            code=codes.ROW_REFUSED,
        )
    return NoPrediction(
        f"The version has no sample, and the model refuses the generated rows ({found}). Correct the 'inputs' in the "
        "manifest, or add a sample with a row that the model accepts, and publish again."
    )


def _check(model: Any, schema: Schema, instances: Sequence[Any], together: Prediction) -> Schema:
    """Return the schema with the observed outputs; raise if these rows, or one or two of them, fail."""
    schema = _check_answer(together, schema, rows=len(instances))
    alone = call(model, schema.parse([instances[0]]))
    two = together if len(instances) > 1 else call(model, schema.parse([instances[0]] * 2))
    for answer in (alone, two):
        _check_answer(answer, schema, rows=len(answer.labels))
        if _form(answer) != _form(together):
            raise NoPrediction(
                f"The model answers {len(alone.labels)} row in the form {_form(alone)}, but {len(two.labels)} rows in "
                f"the form {_form(two)}; expected the same form.",
                advice="Publish a model that predicts each row by itself.",
                code=codes.UNEXPECTED_ANSWER,
            )
    for answer, is_single in ((alone, True), (together, False)):
        _check_json(answer, schema, is_single=is_single)
    return schema


def _form(answer: Prediction) -> tuple[Any, ...]:
    """Return the shape of a result without its rows."""
    held = answer.probabilities
    parts = held if isinstance(held, tuple) else () if held is None else (held,)
    return (answer.labels.shape[1:], *(part.shape[1:] for part in parts))


def _check_json(answer: Prediction, schema: Schema, *, is_single: bool) -> None:
    """Raise NoPrediction if a result cannot become a response."""
    with_probabilities = answer.probabilities is not None
    try:
        encode(content_of(answer, schema, is_single=is_single, with_probabilities=with_probabilities))
    except (TypeError, ValueError, IndexError) as error:
        raise NoPrediction(
            f"JSON cannot represent the model's answer ({type(error).__name__}: {str(error)[:200]}); expected "
            "numbers, strings or booleans, and a probability for each class.",
            advice="Publish a model that returns those.",
            code=codes.UNEXPECTED_ANSWER,
        ) from error


def _check_answer(answer: Prediction, schema: Schema, *, rows: int) -> Schema:
    """Return the schema with the observed number of outputs; raise if the result contradicts it."""
    labels, probabilities = answer.labels, answer.probabilities
    if not answer.is_finite():
        raise NoPrediction(
            "The model answers its sample with a number that is not finite (NaN or infinity); expected finite numbers.",
            advice="Correct the model, or remove the row from the sample.",
            code=codes.UNEXPECTED_ANSWER,
        )
    check_probabilities(answer)
    outputs = 1 if labels.ndim == 1 else math.prod(labels.shape[1:])
    classes = schema.classes
    single = classes is not None and not (classes and isinstance(classes[0], tuple))
    if single and outputs == 1 and schema.kind == "classifier":
        strange = [label for label in labels.tolist() if label not in (classes or ())]
        if strange:
            raise NoPrediction(
                f"The model returns the class {strange[0]!r}; expected one of its classes {classes}.",
                advice="Train it again and publish that.",
                code=codes.UNEXPECTED_ANSWER,
            )
        expected = (rows, len(classes or ()))
        if isinstance(probabilities, np.ndarray) and probabilities.shape != expected:
            raise NoPrediction(
                f"The model returns probabilities of shape {probabilities.shape}; expected {expected}.",
                advice="Publish a model that returns a probability for each class.",
                code=codes.UNEXPECTED_ANSWER,
            )
    return replace(schema, outputs=outputs)


def _row_seconds(model: Any, schema: Schema, instance: Any) -> float:
    """Return the median latency of a single row, from JSON to the result."""
    took: list[float] = []
    begin = time.perf_counter()
    while len(took) < TIMED_ROWS and time.perf_counter() - begin < TIMED_SECONDS:
        start = time.perf_counter()
        call(model, schema.parse([instance]))
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def require_describable(model: Any) -> None:
    """Refuse a model with too many inputs early, before millions of them are described."""
    count = told(model, "n_features_in_")
    if isinstance(count, int | np.integer) and count * MIN_FEATURE_BYTES > MAX_SCHEMA_BYTES:
        raise _too_many_features(int(count), int(count) * MIN_FEATURE_BYTES)


def _require_storable(schema: Schema) -> None:
    """Refuse a model with too many inputs to store and show their description."""
    length = len(json.dumps(schema.to_json(), default=str))
    if length > MAX_SCHEMA_BYTES:
        raise _too_many_features(len(schema.inputs), length)


def _too_many_features(count: int, length: int) -> NoPrediction:
    return NoPrediction(
        f"The model takes {count} features, whose names and types have at least {length} bytes; at most "
        f"{MAX_SCHEMA_BYTES} are allowed. Choose fewer features (SelectKBest, a smaller vocabulary), or publish a "
        "pipeline that takes the text itself."
    )


def _unknown_last_column(schema: Schema, sample: Sample) -> str | None:
    """Return the last column name of the sample's rows if it is the only unknown one."""
    first = sample.instances[0]
    if sample.predictions is not None or not isinstance(first, dict) or not first:
        return None
    unknown = [name for name in first if name not in schema.names]
    return unknown[0] if unknown and unknown == list(first)[-1:] else None


def _meant_inputs(schema: Schema, error: InputError) -> list[Any]:
    """Return the input whose type did not fit the sample's value, with the value's type if that differs."""
    found = str(error.details.get("found"))
    kind = "string" if found.startswith("the string") else "boolean" if found in {"true", "false"} else ""
    return [
        replace(feature, type=kind)
        for feature in schema.inputs
        if feature.name == error.details.get("feature") and kind not in {"", feature.type}
    ]


def _advise_types(inputs: Sequence[Any]) -> str:
    """Return the advice to declare column types, with the first of `inputs` as example."""
    shown = [{"name": feature.name, "type": feature.type} for feature in inputs[:SHOWN_INPUTS]]
    return (
        f"Declare the type of each column ({', '.join(FEATURE_TYPES)}) in the manifest's 'inputs', in this form: "
        f"{json.dumps(shown, ensure_ascii=False)[:-1]}, …]. Then publish again."
    )
