"""Loads and tests an artifact: the sandbox task of `load_test.py`."""

import gc
import resource
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models_registry.artifacts import codes

_CORRECT_THE_MODEL = "Correct the model or its sample, and publish again."


def import_libraries(question: Mapping[str, Any]) -> None:
    """Import before the limits apply: libraries are trusted and large, and some start threads."""
    import numpy
    import sklearn.pipeline  # noqa: F401

    if question["format"] == "onnx":
        import onnxruntime  # noqa: F401
    if question["format"] in {"skops", "bundle"}:
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
    """Return the report; an exception of the artifact becomes its reason."""
    return _judged(lambda: _try_artifact(question, answer), question["memory_bytes"])


def _judged(attempt: Callable[[], dict[str, Any]], memory_bytes: int) -> dict[str, Any]:
    from models_registry.errors import RegistryError

    try:
        return {"passed": True, "reason": "", **attempt()}
    except MemoryError:
        return _failure(
            f"The artifact needs more than the {memory_bytes} bytes of memory that a load test may take. "
            "Publish a smaller model, or raise MODELS_CHECK_MEMORY_MB."
        )
    except RegistryError as error:
        cause = error.__cause__
        if isinstance(cause, MemoryError):
            return _failure(f"{error} A load test may take {memory_bytes} bytes of memory.")
        return _failure(str(error), **_cause_and_advice(error))
    except BaseException as error:  # noqa: BLE001 - an estimator may raise anything at all, SystemExit included
        return _failure(
            f"The artifact failed with {type(error).__name__}: {str(error)[:1000]}. {_CORRECT_THE_MODEL}",
            code=codes.EXCEPTION,
            advice=_CORRECT_THE_MODEL,
        )


def _failure(reason: str, **cause: str) -> dict[str, Any]:
    return {"passed": False, "reason": reason, **cause}


def _cause_and_advice(error: Exception) -> dict[str, str]:
    from models_registry.errors import ArtifactError

    return {"code": error.code, "advice": error.advice} if isinstance(error, ArtifactError) else {}


def _try_artifact(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    from models_registry.artifacts.adversarial import exercise
    from models_registry.artifacts.features import DeclaredInput
    from models_registry.artifacts.formats import open_bundle
    from models_registry.artifacts.inference import infer_schema, named_inputs
    from models_registry.artifacts.manifest import Sample
    from models_registry.artifacts.trial import require_describable, try_model

    declared = question["declared"]
    sample = None if question["sample"] is None else Sample.from_json(question["sample"])
    before = _resident_bytes()
    answer.write(stage="while it was loaded")
    start = time.perf_counter()
    bundle = open_bundle(
        Path(question["path"]),
        question["format"],
        trusted=frozenset(question["trusted"]),
        allow_any_pickle=question["allow_any_pickle"],
    )
    model = bundle.estimator
    load_seconds = time.perf_counter() - start
    answer.write(stage="while its booster was compared with its library")
    _compare_boosters(model)
    answer.write(stage="while its schema was read")
    require_describable(model)
    features = None if declared is None else tuple(DeclaredInput.from_json(one) for one in declared)
    if bundle.features:
        features = named_inputs(bundle.features, features or ())
    schema = infer_schema(model, features, None if sample is None else sample.instances)
    answer.write(stage="while it predicted")
    trial = try_model(model, schema, sample, is_declared=declared is not None)
    report = {
        "parts": bundle.description,
        "schema": trial.schema.to_json(),
        "example": trial.example,
        "predictions": trial.predictions,
        "load_seconds": load_seconds,
        "row_milliseconds": trial.row_seconds * 1e3,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "model_memory_bytes": max(0, _resident_bytes() - before),
        "versions": question["versions"],
    }
    answer.write(stage="while unknown, missing and extreme values were tried")
    exercise(model, trial.schema, (trial.example,) if sample is None else sample.instances)
    return report


def _compare_boosters(model: Any) -> None:
    """Raise NoPrediction if XGBoost or LightGBM predicts other values; imported only if there is a booster."""
    from models_registry.artifacts import boosters
    from models_registry.artifacts.object_graph import walk

    found = [value for value in walk(model) if type(value).__module__.startswith(boosters.__name__)]
    if found:
        from models_registry.artifacts.boosters.library_check import check_with_library

        check_with_library(found)
