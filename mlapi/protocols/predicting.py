"""Parses rows, predicts, and turns errors of the model into HttpError, for all protocols."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlapi.protocols.base import CallStats, HttpError
from models_registry.artifacts import prediction
from models_registry.artifacts.outputs import as_array
from models_registry.artifacts.prediction import Prediction
from models_registry.errors import InputError
from models_registry.inference.batching import in_thread
from models_registry.inference.capture import CapturedCall
from models_registry.inference.mirroring import MirroredCall
from models_registry.inference.model_calls import under_way
from models_registry.inference.runtime import LoadedModel, Runtime

Rows = Any


def parse_rows(loaded: LoadedModel, instances: Sequence[Any]) -> Rows:
    """Return `instances` in the form that the model takes; HttpError 400 for an invalid row."""
    return as_rows(lambda: loaded.schema.parse(instances), len(instances))


def as_rows(parse: Callable[[], Rows], count: int) -> Rows:
    """Return the result of `parse` for `count` rows; HttpError 400 for an empty batch or an invalid row."""
    if not count:
        raise HttpError(400, "empty_batch", "The batch is empty; send at least one row.", expected="at least one row")
    try:
        return parse()
    except InputError as error:
        raise HttpError(400, error.code, str(error), **error.details) from error


async def predict(loaded: LoadedModel, rows: Rows, count: int, runtime: Runtime, stats: CallStats) -> Prediction:
    """Return the model's predictions for `count` parsed rows.

    The model has predicted its sample before, so an exception here is due to these inputs: HttpError 400. A prediction
    that is not finite is HttpError 400 too; MemoryError becomes 503.

    The rows and the answer may also go to three queues. `stats.captured` is for the prediction log and `stats.mirrored`
    for the shadow: the pipeline puts them into their queues. `runtime.row_samples` is filled here, for the counts by
    feature that show drift. A prediction that is not finite goes to none of them.
    """
    with ModelErrors(loaded, count, stats):
        answer = await loaded.predictor.predict(rows, count)
    stats.waiting_seconds += answer.waiting_seconds
    stats.model_seconds -= answer.waiting_seconds
    stats.call_rows += count if answer.call_rows is None else answer.call_rows
    if not answer.is_finite():
        raise not_finite(loaded, stats)
    stats.kind, stats.predictions = loaded.schema.kind, answer.labels
    capture = runtime.captures.get(loaded.name)
    if capture is not None and capture.is_chosen():
        stats.captured = CapturedCall(loaded.name, loaded.number, loaded.schema, capture, rows, count, answer)
    share = runtime.shadows.get(loaded.name)
    if share is not None and share.takes(loaded.number):
        stats.mirrored = MirroredCall(loaded.name, share, loaded.schema, rows, count, answer)
    sample = runtime.row_samples.get(loaded.version_id)
    if sample is not None:
        sample.offer(rows, answer.labels, count)
    return answer


async def call_method(
    loaded: LoadedModel, method: str, rows: Rows, count: int, *, runtime: Runtime, stats: CallStats
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the outputs of another method of the model, e.g. `transform`, by name, for `count` parsed rows.

    Errors as in `predict`.
    """

    def call() -> dict[str, np.ndarray[Any, Any]]:
        with under_way(version_id=loaded.version_id):
            values = prediction.call_method(loaded.estimator, method, _for_estimator(loaded, rows))
            return {
                name: as_array(value, f"values of {name!r}")
                for name, value in zip(prediction.outputs_of(method), values, strict=True)
            }

    with ModelErrors(loaded, count, stats):
        arrays = await in_thread(call)
    if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in arrays.values()):
        raise not_finite(loaded, stats)
    return arrays


def _for_estimator(loaded: LoadedModel, rows: Rows) -> Rows:
    """Return `rows` as a frame if the native estimator takes columns by name; the compiled form takes arrays."""
    if loaded.schema.container == "objects" and hasattr(loaded.estimator, "feature_names_in_"):
        return loaded.schema.as_frame(rows)
    return rows


class ModelErrors:
    """Context manager of a model call: records the call and its duration; turns errors into HttpError."""

    # A class, because `contextlib.contextmanager` takes twice as long.
    __slots__ = ("_began", "_count", "_loaded", "_stats")

    def __init__(self, loaded: LoadedModel, count: int, stats: CallStats) -> None:
        """Record in `stats` a call of `loaded` with `count` rows."""
        self._loaded = loaded
        self._count = count
        self._stats = stats
        self._began = 0.0

    def __enter__(self) -> None:
        loaded, stats = self._loaded, self._stats
        stats.model, stats.version, stats.rows = loaded.name, loaded.number, self._count
        self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._stats.model_seconds += time.perf_counter() - self._began
        elif isinstance(error, Exception) and not isinstance(error, HttpError):
            raise self._as_http_error(error) from error

    def _as_http_error(self, error: Exception) -> HttpError:
        loaded, stats = self._loaded, self._stats
        if isinstance(error, MemoryError):
            return (
                HttpError(
                    503,
                    "out_of_memory",
                    f"Not enough memory for a batch of {self._count} rows. Send fewer rows at a time.",
                )
                .with_header("Retry-After", "1")
                .of_model("out_of_memory", stats)
            )
        return HttpError(
            400,
            "model_refused_input",
            f"{loaded.name} version {loaded.number} cannot predict for these inputs: {_sentence(error)}",
            model=loaded.name,
            version=loaded.number,
        ).of_model("exception", stats)


def not_finite(loaded: LoadedModel, stats: CallStats) -> HttpError:
    """Return the error for a prediction that JSON cannot represent."""
    return HttpError(
        400,
        "prediction_not_finite",
        f"{loaded.name} version {loaded.number} returned a number that is not finite for these inputs. "
        "Send values within the range of its training data.",
        model=loaded.name,
        version=loaded.number,
    ).of_model("not_finite", stats)


def _sentence(error: Exception) -> str:
    """Return the first line of the model's exception; the log has the rest."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
