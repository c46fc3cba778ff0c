"""Finds the fastest compiled form of an estimator with the same predictions."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from onnx import TensorProto

from models_registry.artifacts.prediction import call
from models_registry.artifacts.schema import TRANSFORMER, Schema
from models_registry.compilation import batch_timings, library_form, sampling, skl2onnx_backend
from models_registry.compilation.compiled import CompiledModel, digest_of, labels_to_json
from models_registry.compilation.context import Context, Outputs, Unsupported, predict
from models_registry.compilation.encoder import NumberColumn
from models_registry.compilation.graph import Array
from models_registry.compilation.report import AccelerationReport, native
from models_registry.compilation.timing import CALLS, in_turn, lower_quartiles
from models_registry.compilation.verification import Disagreement, Verification, verify

CONVERTERS = (
    "trees",
    "boosters",
    "linear",
    "naive_bayes",
    "neighbors",
    "svm",
    "preprocessing",
    "columns",
    "meta_estimators",
    "text",
)
CONTAINERS = {"array", "frame", "objects", "text"}
# Below this speedup, a compiled form is not worth the risk of a second implementation.
MIN_SPEEDUP = 1.2
BATCH_ROWS = 64
TIMED_BATCHES = 16
# Largest factor by which a batch may be slower. A compiled booster is thirty times faster for one row, and about as
# fast for many.
MAX_SLOWDOWN = 1.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A compiled form before its verification: the graph, its plan, and the thresholds of its trees."""

    model: bytes
    plan: dict[str, Any]
    thresholds: dict[int, Array] = field(default_factory=dict)
    # Training rows that the model stores, in the schema's order.
    remembered: list[list[Any]] = field(default_factory=list)
    # The vocabulary of a text model.
    vocabulary: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifiedCandidate:
    """A compiled form with the same predictions as the native model."""

    candidate: Candidate
    compiled: CompiledModel
    verification: Verification


@dataclass(frozen=True, slots=True)
class Compiled:
    """The verdict, and the files of the compiled form if there is one."""

    report: AccelerationReport
    model: bytes = b""
    plan: bytes = b""


def compile_estimator(estimator: Any, schema: Schema, instances: Sequence[Any] = ()) -> Compiled:
    """Return the compiled form that agrees with `estimator` and is faster, or the reason for its absence.

    `instances` are the rows of the version's sample; further rows are generated around them and at the edges.
    """
    started = time.monotonic()
    verified = verified_candidate(estimator, schema, instances)
    if isinstance(verified, str):
        sample = sampling.ordered(schema, instances)
        typical = sampling.typical_rows(sample, sample)
        library = library_form.use_if_faster(estimator, schema, typical, sample)
        verdict = Compiled(native(verified, by_library=library.is_used, library_problem=library.problem))
    else:
        typical = sampling.typical_rows(sampling.ordered(schema, instances), verified.verification.rows)
        verdict = _verdict(estimator, schema, verified, typical)
    return replace(verdict, report=replace(verdict.report, compile_seconds=time.monotonic() - started))


def verified_candidate(estimator: Any, schema: Schema, instances: Sequence[Any] = ()) -> VerifiedCandidate | str:
    """Return the first compiled form that predicts like `estimator`, or the reason for its absence."""
    if schema.kind == TRANSFORMER:
        return "a transformer has no compiled form"
    sample = sampling.ordered(schema, instances)
    findings: dict[str, str] = {}
    for words, attempt in _attempts(estimator, schema, sample):
        try:
            candidate = attempt()
            compiled = CompiledModel(candidate.model, candidate.plan)
            rows = sampling.sample_rows(
                schema,
                sample,
                candidate.thresholds,
                remembered=candidate.remembered,
                vocabulary=candidate.vocabulary,
            )
            return VerifiedCandidate(candidate, compiled, verify(estimator, compiled, schema, rows))
        except (Unsupported, Disagreement) as finding:
            findings.setdefault(str(finding), words)
        except Exception as error:  # noqa: BLE001 - a converter that fails must not stop the next attempt
            findings.setdefault(f"{type(error).__name__}: {str(error)[:200]}", words)
    return "; ".join(words + finding for finding, words in findings.items() if finding)


def _attempts(estimator: Any, schema: Schema, sample: list[list[Any]]) -> list[tuple[str, Callable[[], Candidate]]]:
    """Return the attempts in order, each with a prefix for the reason of its failure."""
    return [
        ("", lambda: candidate_of(estimator, schema, sample)),
        ("by differences: ", lambda: candidate_of(estimator, schema, sample, distances_by_products=False)),
        # No float32: it makes distinct rows equal, and no sampling finds all of them.
        ("skl2onnx: ", lambda: Candidate(*skl2onnx_backend.convert(estimator, schema))),
    ]


def candidate_of(
    estimator: Any, schema: Schema, sample: list[list[Any]], *, distances_by_products: bool = True
) -> Candidate:
    """Return the compiled form from this package's converters; raises Unsupported."""
    for name in CONVERTERS:
        importlib.import_module(f"models_registry.compilation.converters.{name}")
    if schema.container not in CONTAINERS:
        raise Unsupported(f"rows that the model takes as {schema.container} have no compiled form")
    context = Context(schema, sampling.base_row(schema, sample), distances_by_products=distances_by_products)
    # Some steps store the form of their input rows; the verification checks whether this form works.
    _is_answered(context, estimator, context.base_row)
    outputs = predict(context, estimator, context.everything())
    if not distances_by_products and not context.measured_distances:
        raise Unsupported("")  # the reason of the first attempt suffices
    _note_refusals(context, estimator)
    tensors = {
        name: (tensor, TensorProto.INT64 if name == "label" else TensorProto.DOUBLE)
        for name in ("label", "probabilities", "decision", "prediction")
        if (tensor := getattr(outputs, name)) is not None and _is_offered(estimator, name)
    }
    model = context.graph.to_bytes(context.word_columns or len(context.columns), tensors)
    thresholds = {source: np.concatenate(values) for source, values in context.thresholds.items()}
    vocabulary = () if context.word_weights is None else context.word_weights.vocabulary
    return Candidate(model, _plan(context, outputs, list(tensors)), thresholds, context.remembered, vocabulary)


def _is_offered(estimator: Any, output: str) -> bool:
    method = {"probabilities": "predict_proba", "decision": "decision_function"}.get(output, "predict")
    return callable(getattr(estimator, method, None))


def _note_refusals(context: Context, estimator: Any) -> None:
    """Mark the missing or out-of-domain numbers that the schema accepts but the native model refuses."""
    for position, column in enumerate(context.columns):
        if not isinstance(column, NumberColumn):
            continue
        source = column.source
        nullable = context.schema.inputs[source].nullable
        lowest = context.lowest.get(source)
        context.columns[position] = NumberColumn(
            source,
            refuses_missing=nullable and _refuses(context, estimator, source, None),
            lowest=lowest if lowest is not None and _refuses(context, estimator, source, lowest - 1.0) else None,
        )


def _refuses(context: Context, estimator: Any, source: int, value: Any) -> bool:
    row = list(context.base_row)
    row[source] = value
    return not _is_answered(context, estimator, row)


def _is_answered(context: Context, estimator: Any, row: list[Any]) -> bool:
    try:
        call(estimator, context.schema.parse([list(row)]))
    except Exception:  # noqa: BLE001 - a model may refuse a row with any exception
        return False
    return True


def _plan(context: Context, outputs: Outputs, names: list[str]) -> dict[str, Any]:
    schema = context.schema
    return {
        "kind": "onnx64",
        "compiled_by": "mlapi",
        "names": list(schema.names),
        "columns": [column.to_json() for column in context.columns],
        "text": context.text_plan(),
        "outputs": {name: name for name in names},
        "label_is_value": False,
        "classes": None if outputs.classes is None else labels_to_json(outputs.classes),
        "n_outputs": schema.outputs,
        "row_bytes": max(context.row_bytes, 32 * len(context.columns)),
    }


def _verdict(estimator: Any, schema: Schema, verified: VerifiedCandidate, typical: list[list[Any]]) -> Compiled:
    """Return the compiled form if it is faster for one row of `typical`, and not much slower for a batch."""
    candidate, compiled, verification = verified.candidate, verified.compiled, verified.verification
    plan = json.dumps(candidate.plan).encode()

    def timed(count: int) -> tuple[float, float]:
        return _timed(estimator, compiled, schema, typical, count)

    one, many = timed(1), timed(BATCH_ROWS)
    report = AccelerationReport(
        kind=compiled.kind,
        rows_verified=len(verification.rows),
        tolerance=verification.tolerance,
        largest_difference=verification.largest_difference,
        native_microseconds=one[0],
        compiled_microseconds=one[1],
        compiled_by=candidate.plan["compiled_by"],
        size_bytes=len(candidate.model) + len(plan),
        sha256=digest_of(candidate.model, plan),
    )
    reason = _reason_for_native(one, many)
    # Even if the compiled form predicts few rows, the library may predict many.
    rows = batch_timings.SIZES[0]
    seconds = many[0] * rows / BATCH_ROWS / 1e6
    is_timed = not reason and batch_timings.is_timed(rows, features=len(schema.inputs), seconds=seconds)
    library = library_form.use_if_faster(
        estimator, schema, typical, verification.rows, many_rows=rows if is_timed else None
    )
    report = replace(report, by_library=library.is_used, library_problem=library.problem)
    if reason:
        return Compiled(replace(report, kind="native", reason=reason))
    if library.is_used:
        one, many = timed(1), timed(BATCH_ROWS)
    timings = batch_timings.measure([(1, *one), (BATCH_ROWS, *many)], timed, features=len(schema.inputs))
    report = replace(
        report,
        native_microseconds=one[0],
        compiled_microseconds=one[1],
        batch_timings=timings,
    )
    return Compiled(report, candidate.model, plan)


def _reason_for_native(one: tuple[float, float], many: tuple[float, float]) -> str | None:
    """Return why the native form is served although the compiled form is correct; None if the compiled one is served.

    `one` and `many` are the microseconds of the native and the compiled form, for one row and for BATCH_ROWS rows.
    """
    if one[0] < MIN_SPEEDUP * one[1]:
        return f"the compiled form is correct but not faster ({one[1]:,.0f} µs against {one[0]:,.0f} µs a row)"
    if many[1] > MAX_SLOWDOWN * many[0]:
        return (
            f"the compiled form is correct but slower for {BATCH_ROWS} rows at once "
            f"({many[1]:,.0f} µs against {many[0]:,.0f} µs)"
        )
    return None


def _timed(
    estimator: Any, compiled: CompiledModel, schema: Schema, rows: Sequence[Any], count: int
) -> tuple[float, float]:
    """Return the microseconds of both forms for `count` of the rows, parsed as in a worker."""
    served = schema.without_frames()
    batches = [
        served.parse([list(rows[(start + index) % len(rows)]) for index in range(count)])
        for start in range(0, min(len(rows), count * TIMED_BATCHES if count > 1 else 1), count)
    ]
    as_native = served.as_frame if schema.container == "frame" else lambda batch: batch
    native, fast = lower_quartiles(
        in_turn(lambda batch: call(estimator, as_native(batch)), batches),
        in_turn(lambda batch: call(compiled, batch), batches),
        calls=max(1, CALLS * BATCH_ROWS // max(BATCH_ROWS, count)),
    )
    return native, fast
