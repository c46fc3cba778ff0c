"""A loaded model cannot store what a client sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
import skops.io
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.object_graph import walk

X = np.random.RandomState(0).rand(60, 4)
Y = (X[:, 0] > 0.5).astype(int)


def _nested() -> Any:
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y)
    model.held = {
        "list": [np.ones(3), {"deeper": (np.asfortranarray(X), np.array([np.ones(2), "text"], dtype=object))}]
    }
    model.view = np.arange(12.0).reshape(3, 4)[:, ::2]
    return model


MODELS: dict[str, Any] = {
    "nested containers": _nested,
    "gradient boosting": lambda: GradientBoostingClassifier(n_estimators=3).fit(X, np.arange(60) % 3),
    "voting": lambda: VotingClassifier([("f", RandomForestClassifier(2)), ("s", SVC())]).fit(X, Y),
    "neighbours": lambda: KNeighborsClassifier(3, algorithm="kd_tree").fit(X, Y),
    "sparse coefficients": lambda: SGDClassifier(penalty="l1", random_state=0).fit(X, Y).sparsify(),
    "sparse rows": lambda: KNeighborsClassifier(3).fit(scipy.sparse.csr_matrix(X), Y),
    "bound array": lambda: make_pipeline(
        FunctionTransformer(np.clip, kw_args={"a_min": np.zeros(4), "a_max": 1}), LogisticRegression()
    ).fit(X, Y),
}


def _written(model: Any, ending: str, folder: Path) -> Path:
    path = folder / f"model.{ending}"
    (joblib.dump if ending == "joblib" else skops.io.dump)(model, path)
    return path


@pytest.mark.parametrize("ending", ["joblib", "skops"])
@pytest.mark.parametrize("name", MODELS)
def test_every_array_of_a_loaded_model_is_read_only(name: str, ending: str, tmp_path: Path) -> None:
    honest = MODELS[name]()

    opened = open_artifact(_written(honest, ending, tmp_path), ending)

    arrays = [part for part in walk(opened) if isinstance(part, np.ndarray)]
    assert arrays and not [one for one in arrays if one.flags.writeable]
    assert np.array_equal(opened.predict(X), honest.predict(X))


def test_array_cannot_be_unlocked(tmp_path: Path) -> None:
    opened = open_artifact(_written(_nested(), "joblib", tmp_path), "joblib")

    with pytest.raises(ValueError, match="WRITEABLE"):
        opened.steps[0][1].mean_.setflags(write=True)


def test_any_pickle_is_locked_as_well(tmp_path: Path) -> None:
    path = _written(_nested(), "joblib", tmp_path)

    opened = open_artifact(path, "joblib", allow_any_pickle=True)

    assert not opened.steps[1][1].coef_.flags.writeable
