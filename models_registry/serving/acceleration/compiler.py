"""Finds the fastest compiled form of an estimator that answers as the estimator does."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from onnx import TensorProto

from models_registry.artifacts.calling import call
from models_registry.artifacts.signature import Signature
from models_registry.serving.acceleration import drawing, skl2onnx_road
from models_registry.serving.acceleration.compiled import CompiledModel, digest_of, labels_to_json
from models_registry.serving.acceleration.context import Context, Outputs, Unsupported, predict
from models_registry.serving.acceleration.front import NumberColumn
from models_registry.serving.acceleration.graph import Array
from models_registry.serving.acceleration.report import AccelerationReport, native, sentence
from models_registry.serving.acceleration.verification import Disagreement, Verification, verify

CONVERTERS = ("trees", "linear", "distances", "numbers", "columns", "composed")
CONTAINERS = {"array", "frame", "objects", "text"}
# Below this a compiled form is not worth a second thing to trust.
LEAST_SPEEDUP = 1.2
BATCH_ROWS = 64
# Both forms are timed in turns of a few calls, for about this long.
TIMING_SECONDS = 0.3
TIMING_CALLS = 8
TIMING_MOST_CALLS = 400


@dataclass(frozen=True, slots=True)
class Draft:
    """A compiled form before it was verified: the graph, how to read it, and where its trees cut the inputs."""

    model: bytes
    plan: dict[str, Any]
    thresholds: dict[int, Array]


@dataclass(frozen=True, slots=True)
class Compiled:
    """The verdict, and the files of the compiled form where it is compiled."""

    report: AccelerationReport
    model: bytes = b""
    plan: bytes = b""


def compile_estimator(estimator: Any, signature: Signature, instances: Sequence[Any] = ()) -> Compiled:
    """Return the compiled form that agrees with `estimator` and is faster, or the reason why there is none.

    `instances` are the rows of the version's sample; rows around them and at the edges are drawn.
    """
    started = time.monotonic()
    sample = drawing.ordered(signature, instances)
    findings: list[str] = []
    for road in _roads(estimator, signature, sample):
        try:
            draft = road()
            compiled = CompiledModel(draft.model, draft.plan)
            rows = drawing.draw(signature, sample, draft.thresholds)
            verification = verify(estimator, compiled, signature, rows)
        except (Unsupported, Disagreement) as finding:
            findings.append(str(finding))
            continue
        except Exception as error:  # noqa: BLE001 - a converter that stumbles must not stop the next road
            findings.append(f"{type(error).__name__}: {str(error)[:200]}")
            continue
        timed = _Rows(signature, rows)
        verdict = _verdict(estimator, compiled, timed, verification=verification, draft=draft)
        return replace(verdict, report=replace(verdict.report, compile_seconds=time.monotonic() - started))
    return Compiled(native(sentence(dict.fromkeys(filter(None, findings))), compile_seconds=time.monotonic() - started))


def _roads(estimator: Any, signature: Signature, sample: list[list[Any]]) -> list[Callable[[], Draft]]:
    """Return what to try, the exact first."""
    return [
        lambda: draft_of(estimator, signature, sample),
        lambda: draft_of(estimator, signature, sample, distances_by_products=False),
        lambda: Draft(*skl2onnx_road.convert(estimator, signature, "onnx64"), thresholds={}),
        lambda: Draft(*skl2onnx_road.convert(estimator, signature, "onnx32"), thresholds={}),
    ]


def draft_of(
    estimator: Any, signature: Signature, sample: list[list[Any]], *, distances_by_products: bool = True
) -> Draft:
    """Return the compiled form by the converters of this package; raises Unsupported."""
    for name in CONVERTERS:
        importlib.import_module(f"models_registry.serving.acceleration.converters.{name}")
    if signature.container not in CONTAINERS:
        raise Unsupported(f"rows that the model takes as {signature.container} have no compiled form")
    context = Context(signature, drawing.base_row(signature, sample), distances_by_products=distances_by_products)
    outputs = predict(context, estimator, context.everything())
    if not distances_by_products and not context.measured_distances:
        raise Unsupported("")  # the first road has said all there is to say
    _note_refusals(context, estimator)
    tensors = {
        name: (tensor, TensorProto.INT64 if name == "label" else TensorProto.DOUBLE)
        for name in ("label", "probabilities", "decision", "prediction")
        if (tensor := getattr(outputs, name)) is not None and _is_offered(estimator, name)
    }
    model = context.graph.to_bytes(len(context.columns), tensors)
    thresholds = {source: np.concatenate(values) for source, values in context.thresholds.items()}
    return Draft(model, _plan(context, outputs, list(tensors)), thresholds)


def _is_offered(estimator: Any, output: str) -> bool:
    method = {"probabilities": "predict_proba", "decision": "decision_function"}.get(output, "predict")
    return callable(getattr(estimator, method, None))


def _note_refusals(context: Context, estimator: Any) -> None:
    """Mark the numbers of which the native model refuses a missing one, though the signature lets it through."""
    for position, column in enumerate(context.columns):
        if not isinstance(column, NumberColumn) or not context.signature.inputs[column.source].nullable:
            continue
        row = list(context.base_row)
        row[column.source] = None
        try:
            call(estimator, context.signature.parse([row]))
        except Exception:  # noqa: BLE001 - which exception a model refuses a row with is its own affair
            context.columns[position] = NumberColumn(column.source, refuses_missing=True)


def _plan(context: Context, outputs: Outputs, names: list[str]) -> dict[str, Any]:
    signature = context.signature
    return {
        "kind": "onnx64",
        "compiled_by": "mlapi",
        "names": list(signature.names),
        "columns": [column.to_json() for column in context.columns],
        "input": "float64",
        "outputs": {name: name for name in names},
        "label_is_value": False,
        "classes": None if outputs.classes is None else labels_to_json(outputs.classes),
        "n_outputs": signature.outputs,
        "row_bytes": max(context.row_bytes, 32 * len(context.columns)),
    }


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows to time both forms with."""

    signature: Signature
    rows: list[list[Any]]

    def first(self) -> Any:
        return self.signature.parse([list(self.rows[0])])

    def batch(self) -> Any:
        return self.signature.parse([list(self.rows[index % len(self.rows)]) for index in range(BATCH_ROWS)])


def _verdict(
    estimator: Any, compiled: CompiledModel, rows: _Rows, *, verification: Verification, draft: Draft
) -> Compiled:
    """Return the compiled form where it is faster for one row and no slower for a batch."""
    plan = json.dumps(draft.plan).encode()
    one = _timed(estimator, compiled, rows.first())
    many = _timed(estimator, compiled, rows.batch())
    report = AccelerationReport(
        kind=compiled.kind,
        rows_verified=verification.rows,
        tolerance=verification.tolerance,
        largest_difference=verification.largest_difference,
        native_microseconds=one[0],
        compiled_microseconds=one[1],
        compiled_by=draft.plan["compiled_by"],
        size_bytes=len(draft.model) + len(plan),
        sha256=digest_of(draft.model, plan),
    )
    if one[0] < LEAST_SPEEDUP * one[1]:
        reason = f"the compiled form is right and no faster ({one[1]:,.0f} µs against {one[0]:,.0f} µs a row)"
        return Compiled(replace(report, kind="native", reason=reason))
    if many[0] < many[1]:
        reason = (
            f"the compiled form is right and slower for {BATCH_ROWS} rows at once "
            f"({many[1]:,.0f} µs against {many[0]:,.0f} µs)"
        )
        return Compiled(replace(report, kind="native", reason=reason))
    return Compiled(report, draft.model, plan)


def _timed(estimator: Any, compiled: CompiledModel, parsed: Any) -> tuple[float, float]:
    """Return the medians of both in microseconds, measured in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for model in (estimator, compiled):
        call(model, parsed)
    until = time.monotonic() + TIMING_SECONDS
    while True:
        for model, taken in zip((estimator, compiled), times, strict=True):
            # A few calls in a row: as under load, with the caches warm.
            for _ in range(TIMING_CALLS):
                start = time.perf_counter()
                call(model, parsed)
                taken.append(time.perf_counter() - start)
        if time.monotonic() > until or len(times[0]) >= TIMING_MOST_CALLS:
            break
    return median(times[0]) * 1e6, median(times[1]) * 1e6
