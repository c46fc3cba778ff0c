"""Transformers without `predict` are models that answer transformed rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    KBinsDiscretizer,
    LabelBinarizer,
    LabelEncoder,
    MultiLabelBinarizer,
    Normalizer,
    OneHotEncoder,
    StandardScaler,
)

from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.load_test import LoadTestReport, LoadTestRequest, run_load_test
from models_registry.artifacts.row_transformer import MAX_NUMBERS, RowTransformer
from models_registry.compilation.compiler import verified_candidate
from models_registry.errors import InputError
from tests.support.estimators import save

NUMBERS = np.random.default_rng(0).normal(size=(30, 3))
FRAME = pd.DataFrame({"age": NUMBERS[:, 0], "city": ["a", "b", "c"] * 10})
TEXTS = ["a red fox", "a blue fox", "two red dogs"]
RECORDS = [{"age": 1.0, "city": "a"}, {"age": 2.0, "city": "b"}]
COLUMNS = ColumnTransformer([("n", StandardScaler(), ["age"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["city"])])


def tried(estimator, folder: Path) -> LoadTestReport:
    return run_load_test(LoadTestRequest(save(estimator, folder / "model.joblib"), "joblib"))


@pytest.mark.parametrize(
    ("estimator", "rows", "outputs"),
    [
        (StandardScaler(), NUMBERS, 3),
        (PCA(2), NUMBERS, 2),
        (Normalizer(), NUMBERS, 3),
        (KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"), NUMBERS, 12),
        (SimpleImputer(), NUMBERS, 3),
        (make_pipeline(StandardScaler(), PCA(1)), NUMBERS, 1),
        (make_union(StandardScaler(), PCA(1)), NUMBERS, 4),
        (FeatureUnion([("all", "passthrough"), ("no", "drop")]), NUMBERS, 3),
        (COLUMNS, FRAME, 4),
        (TfidfVectorizer(), TEXTS, 5),
        (HashingVectorizer(n_features=16), TEXTS, 16),
        (make_pipeline(TfidfVectorizer(), TruncatedSVD(2)), TEXTS, 2),
        (DictVectorizer(), RECORDS, 3),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else None,
)
def test_a_transformer_is_ready_with_its_width(estimator, rows, outputs, tmp_path):
    report = tried(estimator.fit(rows), tmp_path)
    assert report.passed, report.reason
    assert report.schema["kind"] == "transformer"
    assert report.schema["methods"] == ["predict", "transform"]
    assert report.schema["outputs"] == outputs


@pytest.mark.parametrize("encoder", [LabelEncoder(), LabelBinarizer()], ids=lambda encoder: type(encoder).__name__)
def test_an_encoder_of_labels_is_refused_by_name(encoder, tmp_path):
    report = tried(encoder.fit(["a", "b", "a"]), tmp_path)
    assert not report.passed
    assert f"a {type(encoder).__name__}, which has no predict. It encodes labels" in report.reason


def test_a_binarizer_of_several_labels_is_refused_by_name(tmp_path):
    assert "It encodes labels" in tried(MultiLabelBinarizer().fit([["a"], ["b"]]), tmp_path).reason


def test_a_transformer_that_was_never_fitted_is_refused(tmp_path):
    assert "The StandardScaler was never fitted" in tried(StandardScaler(), tmp_path).reason


def test_answer_beyond_the_limit_names_the_rows_that_fit():
    model = RowTransformer(HashingVectorizer(n_features=2**20))
    assert model.predict(["fox"] * 7).shape == (7, 2**20)
    with pytest.raises(InputError, match=f"at most {MAX_NUMBERS}. Send at most 7 rows at a time."):
        model.predict(["fox"] * 8)


def test_a_transformer_is_not_compiled():
    model = RowTransformer(StandardScaler().fit(NUMBERS))
    assert verified_candidate(model, infer_schema(model)) == "a transformer has no compiled form"
