"""The one way from rows to an answer, which every protocol takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mlapi.protocols.base import Facts, HttpError
from models_registry.artifacts.calling import Answer
from models_registry.errors import InputError
from models_registry.serving.runtime import LoadedModel, Runtime

Rows = Any


def parse_rows(loaded: LoadedModel, instances: Sequence[Any]) -> Rows:
    """Return `instances` in the form that the model takes; a wrong one is an HttpError 400."""
    if not instances:
        raise HttpError(400, "empty_batch", "The batch is empty; send at least one row.", expected="at least one row")
    try:
        return loaded.signature.parse(instances)
    except InputError as error:
        raise HttpError(400, error.code, str(error), **error.details) from error


def predict(loaded: LoadedModel, rows: Rows, count: int, runtime: Runtime, facts: Facts) -> Answer:
    """Return what the model answers to `count` parsed rows.

    What it raises is about these inputs, since the model answered its sample: an HttpError 400 in words.
    """
    facts.model, facts.version, facts.rows = loaded.name, loaded.number, count
    began = time.perf_counter()
    try:
        with runtime.under_way():
            answer = loaded.predictor.predict(rows, count)
    except HttpError:
        raise
    except MemoryError as error:
        raise HttpError(
            503, "out_of_memory", f"No memory is left for a batch of {count} rows. Send fewer rows at a time."
        ).with_header("Retry-After", "1") from error
    except Exception as error:
        raise HttpError(
            400,
            "model_refused_input",
            f"{loaded.name} version {loaded.number} cannot predict for these inputs: {_sentence(error)}",
            model=loaded.name,
            version=loaded.number,
        ) from error
    facts.model_seconds = time.perf_counter() - began
    if not answer.is_finite():
        raise HttpError(
            400,
            "prediction_not_finite",
            f"{loaded.name} version {loaded.number} answers these inputs with a number that is not finite. "
            "Send values within the range that it was trained with.",
            model=loaded.name,
            version=loaded.number,
        )
    facts.predictions = answer.labels
    return answer


def _sentence(error: Exception) -> str:
    """Return the first line of what a model raised; the rest is for the log."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
