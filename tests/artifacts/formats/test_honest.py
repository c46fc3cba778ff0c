"""Everything that scikit-learn can fit is inspected, judged, opened and validated, and answers as before."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import skops.io
from sklearn.utils import all_estimators

from models_registry.artifacts.formats.joblib_format import open_joblib
from models_registry.artifacts.formats.read_only import make_read_only
from models_registry.artifacts.formats.serving_defaults import settle
from models_registry.artifacts.formats.skops_format import open_skops
from models_registry.artifacts.formats.trusted import LIST_PATH, builtin_trust
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.policy import judge, version_verdict
from models_registry.artifacts.structure import check_objects
from tools import trusted_names as generator
from tools.fixtures.estimators import Fixture, fixtures

METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")
# skops refuses to write a Birch, and recurses for ever over a model that holds its own method.
NOT_WRITTEN_BY_SKOPS = {"Birch-0", "hgb-early-stopping"}
# skops cannot write an index of pandas, and writes columns that are a pandas array as nothing.
_OF_PANDAS = (
    "index", "index-values", "index-difference", "positions", "remainder", "remainder-scaled", "verbose", "pandas-out",
    "weights", "hot-categorical-index", "ordinal-categorical-index", "hot-value-counts", "ordinal-value-counts",
    "imputed-na",
)  # fmt: skip
NOT_WRITTEN_BY_SKOPS |= {f"ordinary-{label}" for label in _OF_PANDAS} | {"text-vocabulary"}


@pytest.fixture(scope="module")
def fitted() -> list[Fixture]:
    return list(fixtures())


def _plain(value: Any) -> Any:
    if scipy.sparse.issparse(value):
        return value.toarray()
    return value.to_numpy() if isinstance(value, pd.DataFrame) else value


def _answers(estimator: Any, inputs: Any) -> dict[str, Any]:
    """Return what each method says of the inputs, with the error's type where it raises."""
    answers = {}
    for method in METHODS:
        if hasattr(estimator, method):
            # Some draw from numpy's own random state, a few in each answer.
            np.random.seed(0)
            try:
                answers[method] = _plain(getattr(estimator, method)(inputs))
            except Exception as error:  # noqa: BLE001 - some methods take other inputs than fit; both must agree
                answers[method] = type(error)
    return answers


def _differences(estimator: Any, opened: Any, inputs: Any) -> list[str]:
    before, after = _answers(estimator, inputs), _answers(opened, inputs)
    if before.keys() != after.keys():
        return [f"{before.keys()} and {after.keys()}"]
    return [method for method in before if not _same(before[method], after[method])]


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, np.ndarray) and left.dtype.kind == "f":
        # The last bits depend on how an array lies in memory.
        return bool(np.allclose(left, right, rtol=1e-9, atol=1e-12, equal_nan=True))
    try:
        np.testing.assert_equal(left, right)
    except AssertionError:
        return False
    return True


def _trouble(fixture: Fixture, path: Path, format: str, open_it: Callable[[Path], Any]) -> str | None:
    """Return what is wrong with the fixture's way through a file, or None."""
    inspection = inspect_artifact(path, format, max_claimed_bytes=10**9)
    reasons = judge(inspection)
    if reasons or version_verdict(inspection).sentence:
        return f"{reasons} {version_verdict(inspection)}"
    if not inspection.outline or inspection.outline[0].split(" ")[0] != type(fixture.estimator).__name__:
        return f"outline {inspection.outline}"
    opened = open_it(path)
    objects = list(walk(opened))
    settle(objects)
    check_objects(objects)
    make_read_only(objects)
    return ", ".join(_differences(fixture.estimator, opened, fixture.inputs)) or None


def _troubles(fitted: list[Fixture], path: Path, dump: Callable[[Any, Path], object], open_it: Any) -> dict[str, str]:
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for fixture in fitted:
            dump(fixture.estimator, path)
            trouble = _trouble(fixture, path, path.suffix[1:], open_it)
            if trouble:
                found[fixture.label] = trouble
    return found


def test_every_estimator_of_scikit_learn_is_among_the_fixtures(fitted: list[Fixture]) -> None:
    held = {type(part).__name__ for fixture in fitted for part in walk(fixture.estimator)}
    assert {name for name, _ in all_estimators()} <= held
    assert len(fitted) > 350


def test_every_estimator_passes_through_joblib_and_answers_the_same(fitted: list[Fixture], tmp_path: Path) -> None:
    def open_it(path: Path) -> Any:
        return open_joblib(path, trusted=frozenset(), allow_any_pickle=False)

    assert _troubles(fitted, tmp_path / "model.joblib", joblib.dump, open_it) == {}


def test_every_estimator_passes_through_skops_and_answers_the_same(fitted: list[Fixture], tmp_path: Path) -> None:
    writable = [fixture for fixture in fitted if fixture.label not in NOT_WRITTEN_BY_SKOPS]

    def open_it(path: Path) -> Any:
        return open_skops(path, trusted=frozenset())

    assert _troubles(writable, tmp_path / "model.skops", skops.io.dump, open_it) == {}


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3), ("lz4", 3)])
@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_every_compression_and_protocol_opens(compress: Any, protocol: int, tmp_path: Path) -> None:
    fixture = next(one for one in fixtures() if one.label == "AdaBoostClassifier-0")
    path = tmp_path / "model.joblib"
    joblib.dump(fixture.estimator, path, compress=compress, protocol=protocol)

    inspection = inspect_artifact(path, "joblib", max_claimed_bytes=10**8)
    opened = open_joblib(path, trusted=frozenset(), allow_any_pickle=False)

    assert judge(inspection) == ()
    assert inspection.versions["scikit-learn"] and inspection.outline
    assert _differences(fixture.estimator, opened, fixture.inputs) == []


def test_list_in_the_repository_is_what_the_generator_writes() -> None:
    assert LIST_PATH.read_text() == generator.rendered()


@pytest.mark.parametrize(
    "name",
    ["os.system", "builtins.eval", "builtins.exec", "builtins.getattr", "builtins.open", "builtins.__import__",
     "builtins.type", "numpy.load", "numpy.save", "numpy.memmap", "numpy.fromfile", "joblib.numpy_pickle.load",
     "operator.methodcaller", "operator.attrgetter", "numpy._core._ufunc_reconstruct", "importlib.import_module",
     "joblib.memory.Memory", "scipy.stats._distn_infrastructure.rv_continuous_frozen",
     "sklearn.datasets._base.clear_data_home", "numpy.vectorize", "numpy.apply_along_axis"],
)  # fmt: skip
def test_list_holds_nothing_that_reaches_outside(name: str) -> None:
    assert name not in builtin_trust().all


def test_trusted_list_has_no_distributions_paths_or_tests() -> None:
    for name in builtin_trust().all:
        assert not name.startswith(("scipy.stats.", "joblib.", "numpy.testing", "sklearn.datasets", "os.", "sys."))
        assert "_testing" not in name
        assert "<" not in name
