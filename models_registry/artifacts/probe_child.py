"""Loads and tries an artifact: a task of the sandbox, asked for by `probe.py`."""

import gc
import json
import math
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

_LONGEST_PREDICTION = 16 << 20
_SHOWN_INPUTS = 4
_TIMED_ROWS = 30
_TIMED_SECONDS = 2.0


def import_libraries(question: Mapping[str, Any]) -> None:
    """Import before the limits hold: libraries are trusted, large, and some start threads."""
    import numpy
    import sklearn.pipeline  # noqa: F401

    if question["format"] == "onnx":
        import onnxruntime  # noqa: F401
    if question["format"] == "skops":
        import skops.io  # noqa: F401
    for name in question["trusted"]:
        module = name.rpartition(".")[0]
        try:
            __import__(module)
        except Exception as error:  # noqa: BLE001 - an operator's own module may raise anything while it is imported
            warnings.warn(
                f"The trusted name {name} cannot be imported here ({type(error).__name__}: {str(error)[:200]}). "
                "Install its package, or correct MODELS_TRUSTED_GLOBALS.",
                stacklevel=1,
            )
    del numpy


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def run(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Return the report; whatever the artifact raises is its reason."""
    return _judged(lambda: _try_artifact(question, answer), question["memory_bytes"])


def _judged(attempt: Callable[[], dict[str, Any]], memory_bytes: int) -> dict[str, Any]:
    from models_registry.errors import RegistryError

    try:
        return {"passed": True, "reason": "", **attempt()}
    except MemoryError:
        return _failure(
            f"The artifact needs more than the {memory_bytes} bytes of memory that a probe may take. "
            "Publish a smaller model, or raise the limit."
        )
    except RegistryError as error:
        cause = error.__cause__
        if isinstance(cause, MemoryError):
            return _failure(f"{error} A probe may take {memory_bytes} bytes of memory.")
        return _failure(str(error))
    except BaseException as error:  # noqa: BLE001 - an estimator may raise anything at all, SystemExit included
        return _failure(
            f"The artifact failed with {type(error).__name__}: {str(error)[:1000]}. "
            "Correct the model or its sample, and publish again."
        )


def _failure(reason: str) -> dict[str, Any]:
    return {"passed": False, "reason": reason}


def _try_artifact(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    from models_registry.artifacts.features import DeclaredInput
    from models_registry.artifacts.formats import open_artifact
    from models_registry.artifacts.inference import infer_signature
    from models_registry.artifacts.manifest import Sample
    from models_registry.artifacts.policy import server_versions

    versions = server_versions()
    declared = question["declared"]
    sample = None if question["sample"] is None else Sample.from_json(question["sample"])
    before = _resident_bytes()
    answer.write(stage="while it was loaded")
    start = time.perf_counter()
    model = open_artifact(
        Path(question["path"]),
        question["format"],
        trusted=frozenset(question["trusted"]),
        allow_any_pickle=question["allow_any_pickle"],
    )
    load_seconds = time.perf_counter() - start
    answer.write(stage="while its signature was read")
    features = None if declared is None else tuple(DeclaredInput.from_json(one) for one in declared)
    signature = infer_signature(model, features, None if sample is None else sample.instances)
    answer.write(stage="while it predicted")
    if sample is None:
        predictions, row_seconds = None, _try_example(model, signature, is_declared=declared is not None)
    else:
        signature, predictions = _try_sample(model, signature, sample)
        row_seconds = _row_seconds(model, signature, sample.instances[0])
    return {
        "signature": signature.to_json(),
        "predictions": predictions,
        "load_seconds": load_seconds,
        "row_milliseconds": None if row_seconds is None else row_seconds * 1e3,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "model_memory_bytes": max(0, _resident_bytes() - before),
        "versions": versions,
    }


def _try_sample(model: Any, signature: Any, sample: Any) -> tuple[Any, list[Any]]:
    """Return the signature with the outputs that were seen, and the predictions, which JSON can hold."""
    from models_registry.artifacts.sample import verify_sample
    from models_registry.errors import InputError, NoPrediction, SampleMismatch

    try:
        answer = verify_sample(model, signature, sample)
    except InputError as error:
        meant = _meant_inputs(signature, error)
        if not meant:
            raise
        raise SampleMismatch(f"{error} {_advise_types(meant)}") from error
    signature = _check_answer(answer, signature, rows=len(sample.instances))
    predictions = answer.predictions()
    try:
        length = len(json.dumps(predictions, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise NoPrediction(
            f"The model answers its sample with values that no JSON holds ({error}); expected numbers, strings or "
            "booleans. Publish a model that answers such."
        ) from error
    if length > _LONGEST_PREDICTION:
        raise NoPrediction(
            f"The predictions of the sample are {length} bytes long, the limit is {_LONGEST_PREDICTION}. "
            "Shorten the sample in the manifest."
        )
    return signature, predictions


def _meant_inputs(signature: Any, error: Any) -> list[Any]:
    """Return the input that the sample's value did not fit, with the type which that value has, if it is of another."""
    found = str(error.details.get("found"))
    kind = "string" if found.startswith("the string") else "boolean" if found in {"true", "false"} else ""
    return [
        replace(feature, type=kind)
        for feature in signature.inputs
        if feature.name == error.details.get("feature") and kind not in {"", feature.type}
    ]


def _check_answer(answer: Any, signature: Any, *, rows: int) -> Any:
    """Return the signature, corrected by the number of outputs seen; raise where the answer contradicts it."""
    from models_registry.errors import NoPrediction

    labels, probabilities = answer.labels, answer.probabilities
    if len(labels) != rows:
        raise NoPrediction(f"The model answers {len(labels)} predictions for the sample's {rows} rows.")
    if not answer.is_finite():
        raise NoPrediction(
            "The model answers its sample with a number that is not finite (NaN or infinity). Correct the model, or "
            "take the row out of the sample."
        )
    outputs = 1 if labels.ndim == 1 else math.prod(labels.shape[1:])
    classes = signature.classes
    single = classes is not None and not (classes and isinstance(classes[0], tuple))
    if single and outputs == 1 and signature.kind == "classifier":
        strange = [label for label in labels.tolist() if label not in classes]
        if strange:
            raise NoPrediction(f"The model answers the class {strange[0]!r}, which is none of its classes {classes}.")
        if hasattr(probabilities, "shape") and probabilities.shape != (rows, len(classes)):
            raise NoPrediction(
                f"The model answers probabilities of shape {probabilities.shape}; expected {(rows, len(classes))}."
            )
    return replace(signature, outputs=outputs)


def _row_seconds(model: Any, signature: Any, instance: Any) -> float:
    """Return the median time of a single row, from JSON to the answer."""
    from models_registry.artifacts.calling import call

    took: list[float] = []
    begin = time.perf_counter()
    while len(took) < _TIMED_ROWS and time.perf_counter() - begin < _TIMED_SECONDS:
        start = time.perf_counter()
        call(model, signature.parse([instance]))
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def _try_example(model: Any, signature: Any, *, is_declared: bool) -> float | None:
    """Return the time of a made-up row; most errors there are only a warning, since nobody promised that row."""
    from models_registry.errors import NoPrediction

    row = [feature.example() for feature in signature.inputs]
    instance = {} if signature.container == "records" else row
    try:
        return _row_seconds(model, signature, instance)
    except MemoryError:
        raise
    except Exception as error:
        # A column of any type may well take the texts of the requests.
        is_told = bool(signature.inputs) and all(feature.type != "any" for feature in signature.inputs)
        if isinstance(error, TypeError | AttributeError) and is_told and not is_declared:
            raise NoPrediction(
                f"The model cannot take a row of the types that were read off it ({type(error).__name__}: "
                f"{str(error)[:200]}). {_advise_types(signature.inputs)}"
            ) from error
        warnings.warn(
            f"Without a sample, a made-up row was tried, and failed ({type(error).__name__}: {str(error)[:200]}). "
            "Add a sample to the manifest.",
            stacklevel=1,
        )
        return None


def _advise_types(inputs: Sequence[Any]) -> str:
    """Say how to declare what the columns hold, with the first of `inputs` as the example."""
    from models_registry.artifacts.features import FEATURE_TYPES

    shown = [{"name": feature.name, "type": feature.type} for feature in inputs[:_SHOWN_INPUTS]]
    return (
        f"Declare what each column really holds ({', '.join(FEATURE_TYPES)}) in the manifest's 'inputs', in this form: "
        f"{json.dumps(shown, ensure_ascii=False)[:-1]}, …]. Then publish again."
    )
