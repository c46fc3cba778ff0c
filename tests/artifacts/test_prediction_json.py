"""A reply gives each label its own probability."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.prediction import Prediction, call
from models_registry.artifacts.prediction_json import confidences, content_of, encode
from models_registry.artifacts.schema import Schema
from models_registry.compilation.compiler import verified_candidate

RNG = np.random.default_rng(6)
X = RNG.normal(size=(300, 2))
TWO = np.where(X[:, 0] + RNG.normal(size=300) / 2 > 0, "grant", "refuse")
THREE = np.digitize(X[:, 0] + X[:, 1] + RNG.normal(size=300) / 2, [-0.5, 0.5])
FLAGS = np.c_[X[:, 0] > 0, X[:, 1] > 0.3].astype(int)


def reply_to(model: Any, rows: Any) -> dict[str, Any]:
    schema = infer_schema(model)
    answer = call(model, schema.parse(rows.tolist()))
    return json.loads(encode(content_of(answer, schema, is_single=False, with_probabilities=True)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "model",
    [
        FixedThresholdClassifier(LogisticRegression(), threshold=0.9, pos_label="grant").fit(X, TWO),
        FixedThresholdClassifier(LogisticRegression(), threshold=0.1, pos_label="refuse").fit(X, TWO),
        TunedThresholdClassifierCV(LogisticRegression(), scoring="balanced_accuracy", cv=2).fit(X, TWO),
        make_pipeline(
            StandardScaler(), FixedThresholdClassifier(LogisticRegression(), threshold=0.9, pos_label="grant")
        ).fit(X, TWO),
        SVC(probability=True, random_state=0).fit(X, THREE),
        RandomForestClassifier(9, random_state=0).fit(X, THREE),
        LogisticRegression().fit(X, X[:, 0] > 0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_confidence_is_that_of_the_answered_class(model: Any) -> None:
    labels, chances = model.predict(X), model.predict_proba(X)
    expected = [row[list(model.classes_).index(label)] for label, row in zip(labels, chances, strict=True)]
    reply = reply_to(model, X)
    assert reply["predictions"] == labels.tolist()
    assert reply["confidences"] == expected
    schema = infer_schema(model)
    one = content_of(call(model, schema.parse([X[0].tolist()])), schema, is_single=True, with_probabilities=False)
    assert one["confidence"] == pytest.approx(expected[0], abs=1e-12)


def test_compiled_form_has_the_same_confidence() -> None:
    model = RandomForestClassifier(9, random_state=0).fit(X, THREE)
    schema = infer_schema(model)
    verified = verified_candidate(model, schema, X[:20].tolist())
    assert not isinstance(verified, str), verified
    answer = call(verified.compiled, schema.parse(X.tolist()))
    assert confidences(answer, schema) == reply_to(model, X)["confidences"]


def test_less_probable_label_keeps_its_own_confidence() -> None:
    schema = Schema((), kind="classifier", classes=("no", "yes", "maybe"))
    answer = Prediction(np.array(["maybe", "no"]), np.array([[0.6, 0.1, 0.3], [0.2, 0.7, 0.1]]))
    assert confidences(answer, schema) == [0.3, 0.2]
    assert confidences(Prediction(np.array(["other"]), np.array([[0.6, 0.1, 0.3]])), schema) == [None]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "model",
    [
        OneVsRestClassifier(LogisticRegression()).fit(X, sp.csr_matrix(FLAGS)),
        OneVsRestClassifier(LogisticRegression()).fit(X, FLAGS),
        ClassifierChain(LogisticRegression()).fit(X, FLAGS),
        MultiOutputClassifier(LogisticRegression()).fit(X, FLAGS),
        RandomForestClassifier(9, random_state=0).fit(X, FLAGS),
        MLPClassifier((4,), max_iter=20, random_state=0).fit(X, FLAGS),
        StackingClassifier([("a", RandomForestClassifier(5, random_state=0))], RandomForestClassifier(5), cv=2).fit(
            X, FLAGS
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_several_labels_each_have_the_probability_of_their_answer(model: Any) -> None:
    labels = np.asarray(model.predict(X).toarray() if sp.issparse(model.predict(X)) else model.predict(X))
    reply = reply_to(model, X)
    assert reply["predictions"] == labels.tolist()
    inner = model.final_estimator_ if isinstance(model, StackingClassifier) else model
    chances = inner.predict_proba(model.transform(X) if isinstance(model, StackingClassifier) else X)
    of_one = np.column_stack([part[:, 1] for part in chances]) if isinstance(chances, list) else chances
    np.testing.assert_allclose(reply["confidences"], np.where(labels == 1, of_one, 1 - of_one), atol=1e-12)
    first = [[row["1"] for row in rows] for rows in reply["probabilities"]]
    np.testing.assert_allclose(first, of_one, atol=1e-12)


def test_chain_over_three_classes_gives_no_probabilities() -> None:
    model = ClassifierChain(LogisticRegression()).fit(X, np.c_[THREE, FLAGS[:, 0]])
    schema = infer_schema(model)
    answer = call(model, schema.parse(X[:4].tolist()))
    assert answer.labels.shape == (4, 2)
    assert confidences(answer, schema) is None
    assert not schema.has("predict_proba")


def test_components_of_a_mixture_are_their_numbers() -> None:
    model = GaussianMixture(3, random_state=0).fit(X)
    np.testing.assert_allclose(reply_to(model, X)["confidences"], model.predict_proba(X).max(axis=1))
