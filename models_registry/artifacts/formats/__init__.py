"""The formats of artifacts, chosen by the file's extension alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from models_registry.artifacts.formats.other_endings import next_step
from models_registry.errors import NoPrediction, UnsupportedFormat

if TYPE_CHECKING:
    from models_registry.artifacts.bundles import Bundle

# joblib writes pickles, so all pickles use the same loader and the same list of trusted names.
FORMATS = {
    **dict.fromkeys((".joblib", ".pkl", ".pickle", ".sav"), "joblib"),
    ".skops": "skops",
    ".onnx": "onnx",
    **dict.fromkeys((".ubj", ".json"), "xgboost"),
    # MLflow's file name for the text of LightGBM's Booster.save_model.
    ".lgb": "lightgbm",
}
# Samples, metrics and settings are often JSON files next to a model: only these JSON files are models.
_JSON_MODELS = ("model.json", ".xgb.json")


def listed_endings() -> str:
    """Return the extensions of artifacts as a phrase: ".joblib, …, .skops or .onnx"."""
    *first, last = FORMATS
    return f"{', '.join(first)} or {last}"


def is_artifact(key: str) -> bool:
    """Return whether a storage `key` is an artifact by its extension, in upper or lower case.

    JSON files count if they are named `model.json` or end in `.xgb.json`.
    """
    name = PurePosixPath(key).name.lower()
    if name.endswith(".json"):
        return name == _JSON_MODELS[0] or name.endswith(_JSON_MODELS[1])
    return PurePosixPath(name).suffix in FORMATS


def format_of(key: str) -> str:
    """Return the format of the extension of `key`, in upper or lower case, without a look at the content."""
    ending = PurePosixPath(key).suffix
    if ending.lower() not in FORMATS:
        found = f"ends in {ending}" if ending else "has no file extension"
        raise UnsupportedFormat(f"{key} {found}; expected one of {', '.join(FORMATS)}. {next_step(ending)}")
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


def _xgboost(path: Path, trusted: frozenset[str], allow_any_pickle: bool) -> Any:
    from models_registry.artifacts.boosters.xgboost_estimators import open_xgboost

    return open_xgboost(path)


def _lightgbm(path: Path, trusted: frozenset[str], allow_any_pickle: bool) -> Any:
    from models_registry.artifacts.boosters.lightgbm_estimators import open_lightgbm

    return open_lightgbm(path)


def _kind_of(value: Any) -> str:
    return f"class ({value.__name__})" if isinstance(value, type) else type(value).__name__


def _next_step(value: Any) -> str:
    """Return the advice for a `value` that cannot predict."""
    from models_registry.artifacts.row_transformer import LABEL_ENCODERS

    if isinstance(value, type):
        return "Publish a fitted instance of it."
    if type(value).__name__ in LABEL_ENCODERS:
        return (
            "It encodes labels and does not predict. Publish the model. To get predictions in these labels, name two "
            "files in the 'steps' of the model's manifest: first the model's, then this one."
        )
    if _has(value, "fit_predict"):
        return (
            "It can only label the rows that it was fitted with. Publish an estimator with predict instead, for "
            "example a classifier that was trained with those labels."
        )
    return "Publish the fitted estimator or pipeline itself."


def _has(value: Any, method: str) -> bool:
    return callable(getattr(value, method, None))


def _require_fitted(estimator: Any) -> None:
    """Refuse an unfitted scikit-learn estimator; estimators of other packages raise when they predict."""
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
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}


def open_artifact(
    path: Path, format: str, *, trusted: frozenset[str] = frozenset(), allow_any_pickle: bool = False
) -> Any:
    """Return the estimator in `path`: with a validated structure, read-only arrays, and one thread.

    `trusted` holds an operator's own exact names, `allow_any_pickle` allows joblib files to run any code. Raises
    UnsupportedFormat, UntrustedArtifact, BrokenArtifact, UnsafeStructure or NoPrediction.
    """
    return open_bundle(path, format, trusted=trusted, allow_any_pickle=allow_any_pickle).estimator


def open_bundle(
    path: Path, format: str, *, trusted: frozenset[str] = frozenset(), allow_any_pickle: bool = False
) -> "Bundle":
    """Return the result of `open_artifact`, and how the parts of a dict, a tuple or several files are combined."""
    from models_registry.artifacts.bundles import Bundle, combine
    from models_registry.artifacts.formats.read_only import make_read_only
    from models_registry.artifacts.formats.serving_defaults import settle
    from models_registry.artifacts.object_graph import walk
    from models_registry.artifacts.row_transformer import RowTransformer, transforms_rows
    from models_registry.artifacts.structure import check_objects

    value, parts, steps, is_free = _read(path, format, trusted, allow_any_pickle)
    vouched = None if is_free else trusted
    if parts is not None:
        # Before any method of a part is called: widths and names determine the order.
        check_objects(list(walk(value)), vouched=vouched)
        bundle = combine(parts, steps)
    else:
        bundle = Bundle(value, "")
    estimator = bundle.estimator
    if isinstance(estimator, type) or not (_has(estimator, "predict") or transforms_rows(estimator)):
        raise NoPrediction(f"The artifact holds a {_kind_of(estimator)}, which has no predict. {_next_step(estimator)}")
    objects = list(walk(estimator))
    settle(objects)
    # In every process that loads the model, and before its first use.
    check_objects(objects, vouched=vouched)
    make_read_only(objects)
    _require_fitted(estimator)
    return replace(bundle, estimator=RowTransformer(estimator)) if transforms_rows(estimator) else bundle


def _read(
    path: Path, format: str, trusted: frozenset[str], allow_any_pickle: bool
) -> tuple[Any, dict[str, Any] | None, tuple[str, ...] | None, bool]:
    """Return the file's value, its parts, their order if given, and whether the file could run any code."""
    from models_registry.artifacts import pack
    from models_registry.artifacts.bundles import parts_of

    if format != pack.FORMAT:
        opener = _opener(format)
        value = opener(path, trusted, allow_any_pickle)
        return value, parts_of(value), None, allow_any_pickle and format == "joblib"
    with pack.unpacked(path) as content:
        opener = _opener(content.format)
        held = {name: opener(member, trusted, allow_any_pickle) for name, member in content.members.items()}
    is_free = allow_any_pickle and content.format == "joblib"
    value = held if len(held) > 1 else next(iter(held.values()))
    parts = parts_of(value)
    if parts is None:
        raise NoPrediction(
            f"The manifest has 'steps', and the artifact holds a single {_kind_of(value)}. "
            "Remove the 'steps' from the manifest."
        )
    return value, parts, content.steps, is_free


def _opener(format: str) -> Callable[[Path, frozenset[str], bool], Any]:
    if format not in _OPENERS:
        raise UnsupportedFormat(f"{format!r} is not a format; expected one of {', '.join(_OPENERS)}.")
    return _OPENERS[format]
