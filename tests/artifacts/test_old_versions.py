"""What older versions of scikit-learn wrote answers as it did there: the files hold the answers of their writers."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from models_registry.artifacts.formats.joblib_format import open_joblib
from models_registry.artifacts.formats.migrations.table import CHANGES, changes_of
from models_registry.artifacts.formats.skops_format import open_skops
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.policy import judge
from models_registry.artifacts.structure import validate_structure

FOLDER = Path(__file__).with_name("old_versions")
# The versions beside which an answer is the same: a lost coefficient is farther away, another processor is nearer.
TOLERANCE = 1e-9


def _described() -> dict[str, Path]:
    return {f"{path.parent.name}-{path.stem}": path for path in sorted(FOLDER.glob("*/*.json"))}


DESCRIBED = _described()
FILES = sorted(
    (f"{key}-{format}" for key, path in DESCRIBED.items() for format in json.loads(path.read_text())["formats"])
)


def _rows(described: dict[str, Any]) -> Any:
    if "frame" in described:
        return pd.DataFrame(described["frame"])
    if "sparse" in described:
        return scipy.sparse.csr_matrix(np.array(described["sparse"]))
    values = described["list"]
    return values if values and isinstance(values[0], str | dict) else np.array(values)


def _plain(answer: Any) -> Any:
    if scipy.sparse.issparse(answer):
        answer = answer.toarray()
    if isinstance(answer, list) and answer and isinstance(answer[0], np.ndarray):
        return [one.tolist() for one in answer]
    return np.asarray(answer).tolist()


def _is_same(found: Any, expected: Any) -> bool:
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(_is_same, found, expected))
    if isinstance(found, float) and isinstance(expected, int | float):
        return abs(found - expected) <= TOLERANCE * max(1.0, abs(expected)) or (
            math.isnan(found) and math.isnan(expected)
        )
    return bool(found == expected)


def _open(file: str) -> tuple[Any, dict[str, Any]]:
    key, _, format = file.rpartition("-")
    path = DESCRIBED[key].with_suffix(f".{format}")
    inspection = inspect_artifact(path, format, max_claimed_bytes=10**8)
    assert judge(inspection) == ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if format == "skops":
            model = open_skops(path, trusted=frozenset())
        else:
            model = open_joblib(path, trusted=frozenset(), allow_any_pickle=False)
    validate_structure(model)
    return model, json.loads(DESCRIBED[key].read_text())


@pytest.mark.parametrize("file", FILES)
def test_old_artifact_answers_as_its_writer_did(file: str) -> None:
    model, described = _open(file)
    rows = _rows(described["rows"])
    assert described["answers"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for method, expected in described["answers"].items():
            found = _plain(getattr(model, method)(rows))
            assert _is_same(found, next(iter(expected.values()))), method


def test_every_change_is_met_by_an_artifact() -> None:
    met: set[Any] = set()
    for file in FILES:
        model, _ = _open(file)
        for part in walk(model):
            met.update(changes_of(type(part)))
    assert set(CHANGES) - met == set()
