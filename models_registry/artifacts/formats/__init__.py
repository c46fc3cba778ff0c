"""The formats of artifacts, each opened by its file's ending and by nothing else."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from models_registry.errors import NoPrediction, UnsupportedFormat

# joblib writes pickles, so whatever is a pickle goes through the same loader and the same list of trusted names.
FORMATS = {
    **dict.fromkeys((".joblib", ".pkl", ".pickle", ".sav"), "joblib"),
    ".skops": "skops",
    ".onnx": "onnx",
}


def listed_endings() -> str:
    """Return the endings of artifacts as a phrase: ".joblib, …, .skops or .onnx"."""
    *first, last = FORMATS
    return f"{', '.join(first)} or {last}"


def is_artifact(key: str) -> bool:
    """Return whether the ending of `key` names a format, in upper or lower case."""
    return PurePosixPath(key).suffix.lower() in FORMATS


def format_of(key: str) -> str:
    """Return the format that the ending of `key` names, in upper or lower case; no content is looked at."""
    ending = PurePosixPath(key).suffix
    if not is_artifact(key):
        raise UnsupportedFormat(
            f"{key} ends in {ending or 'nothing'}; expected one of {', '.join(FORMATS)}. "
            "Name the file by the format that it was written in."
        )
    return FORMATS[ending.lower()]


def _joblib(path: Path, trusted: frozenset[str], allow_any_pickle: bool) -> Any:
    from models_registry.artifacts.formats.joblib_format import open_joblib

    return open_joblib(path, trusted=trusted, allow_any_pickle=allow_any_pickle)


def _skops(path: Path, trusted: frozenset[str], allow_any_pickle: bool) -> Any:
    from models_registry.artifacts.formats.skops_format import open_skops

    return open_skops(path, trusted=trusted)


def _onnx(path: Path, trusted: frozenset[str], allow_any_pickle: bool) -> Any:
    from models_registry.artifacts.formats.onnx_format import open_onnx

    return open_onnx(path)


def _kind_of(value: Any) -> str:
    return f"class ({value.__name__})" if isinstance(value, type) else type(value).__name__


def _next_step(value: Any) -> str:
    """Say what to publish in place of a `value` that cannot predict."""
    if isinstance(value, type):
        return "Publish a fitted instance of it."
    if _has(value, "transform"):
        return (
            "It transforms rows and answers no predictions. Publish the whole fitted pipeline that ends with a "
            "classifier, a regressor or another step with predict."
        )
    if _has(value, "fit_predict"):
        return (
            "It labels the rows that it was fitted with, and no others. Publish an estimator with predict instead, "
            "e.g. a classifier that was trained with those labels."
        )
    return "Publish the fitted estimator or pipeline itself."


def _has(value: Any, method: str) -> bool:
    return callable(getattr(value, method, None))


def _require_fitted(estimator: Any) -> None:
    """Refuse an estimator of scikit-learn that was never fitted; those of other packages say so when they predict."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    last = estimator
    while isinstance(getattr(last, "steps", None), list) and last.steps:
        last = last.steps[-1][1]
    if not type(last).__module__.startswith("sklearn.") or not _has(last, "fit"):
        return
    try:
        check_is_fitted(last)
    except NotFittedError as error:
        raise NoPrediction(
            f"The {type(last).__name__} was never fitted, so it cannot predict. Call fit before you save it, and "
            "publish that."
        ) from error


_OPENERS: dict[str, Callable[[Path, frozenset[str], bool], Any]] = {
    "joblib": _joblib,
    "skops": _skops,
    "onnx": _onnx,
}


def open_artifact(
    path: Path, format: str, *, trusted: frozenset[str] = frozenset(), allow_any_pickle: bool = False
) -> Any:
    """Return the estimator in `path`: its structure validated, its arrays read-only, set up for one thread.

    `trusted` holds an operator's own exact names, `allow_any_pickle` gives joblib files leave to run anything.
    Raises UnsupportedFormat, UntrustedArtifact, BrokenArtifact, UnsafeStructure or NoPrediction.
    """
    from models_registry.artifacts.formats.read_only import make_read_only
    from models_registry.artifacts.formats.serving_defaults import settle
    from models_registry.artifacts.object_graph import walk
    from models_registry.artifacts.structure import check_objects

    opener = _OPENERS.get(format)
    if opener is None:
        raise UnsupportedFormat(f"{format!r} is no format; expected one of {', '.join(_OPENERS)}.")
    estimator = opener(path, trusted, allow_any_pickle)
    if isinstance(estimator, type) or not _has(estimator, "predict"):
        raise NoPrediction(f"The artifact holds a {_kind_of(estimator)}, which has no predict. {_next_step(estimator)}")
    objects = list(walk(estimator))
    settle(objects)
    # In every process that loads it, and before anything of it is used.
    check_objects(objects, vouched=None if allow_any_pickle and format == "joblib" else trusted)
    make_read_only(objects)
    _require_fitted(estimator)
    return estimator
