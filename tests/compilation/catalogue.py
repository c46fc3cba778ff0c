"""Every estimator that docs/acceleration.md speaks of, small and fitted, and the table about them.

`python -m tests.compilation.catalogue` measures all of them and writes the table into the document.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import ensemble as en
from sklearn import linear_model as lm
from sklearn import naive_bayes as nb
from sklearn import neighbors as nn
from sklearn import neural_network as mlp
from sklearn import preprocessing as pp
from sklearn import svm, tree
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline, make_union

from models_registry.artifacts.features import Feature
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.schema import Schema
from models_registry.compilation.compiler import VerifiedCandidate, compile_estimator, verified_candidate

DOCUMENT = Path(__file__).parents[2] / "docs" / "acceleration.md"
START, END = "<!-- table: made by tests.compilation.catalogue -->", "<!-- end of table -->"
SEED = {"random_state": 0}
CLASSES, TWO, NUMBERS, PAIRS = "classes", "two classes", "numbers", "two numbers"
MIXED, CATEGORIES, TEXT = "mixed columns", "columns of dtype category", "text"


@dataclass(frozen=True, slots=True)
class Case:
    """An estimator with the data to fit it on."""

    name: str
    make: Callable[[], Any]
    data: str

    @property
    def title(self) -> str:
        return f"{self.name}, {self.data}"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted estimator as the registry meets it."""

    estimator: Any
    schema: Schema
    instances: tuple[Any, ...]


MIXED_INPUTS = (
    Feature("age", "integer", nullable=False),
    Feature("income", "float", nullable=True),
    Feature("city", "string"),
    Feature("plan", "string"),
    Feature("vip", "boolean"),
)


@cache
def matrix() -> Any:
    digits = load_digits()
    return digits.data[:360, 10:26], digits.target[:360]


@cache
def frame() -> Any:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 80, 400),
            "income": np.where(rng.random(400) < 0.1, np.nan, rng.normal(3e4, 1e4, 400)),
            "city": rng.choice(["Oslo", "Bergen", "Rome", "Lima"], 400),
            "plan": rng.choice(["free", "pro"], 400),
            "vip": rng.random(400) > 0.5,
        }
    )
    return table, np.where((table.age > 40) ^ (table.city == "Oslo") ^ table.vip, "stays", "leaves")


def fit(case: Case) -> Fitted:
    """Return the case's estimator, fitted, with its schema and sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if case.data in {MIXED, CATEGORIES}:
            table, target = frame()
            typed = table.astype({"city": "category", "plan": "category"}) if case.data == CATEGORIES else table
            estimator = case.make().fit(typed, target)
            rows = tuple(_plain(row) for row in table[:20].to_dict("records"))
            schema = infer_schema(estimator, MIXED_INPUTS, rows)
            inputs = tuple(replace(item, nullable=item.name == "income") for item in schema.inputs)
            return Fitted(estimator, replace(schema, inputs=inputs), rows)
        if case.data == TEXT:
            texts = [f"word{label} thing{label % 3} other" for label in matrix()[1]]
            estimator = case.make().fit(texts, matrix()[1])
            return Fitted(estimator, infer_schema(estimator), tuple(texts[:20]))
        rows, labels = matrix()
        total = rows[:, :5].sum(axis=1) + np.sin(np.arange(len(rows)))
        targets = {
            CLASSES: np.array([f"digit {label}" for label in labels]),
            TWO: labels > 4,
            NUMBERS: total,
            PAIRS: np.column_stack([total, total**2]),
        }
        estimator = case.make().fit(rows, targets[case.data])
        return Fitted(estimator, infer_schema(estimator), tuple(rows[:20].tolist()))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON would bring it."""
    return {key: None if pd.isna(value) else value for key, value in row.items()}


def _columns() -> Any:
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), pp.StandardScaler()), ["age", "income"]),
        (pp.OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
        remainder="passthrough",
    )


def _ordinal() -> Any:
    encoder = pp.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer((encoder, ["city", "plan"]), (SimpleImputer(add_indicator=True), ["age", "income"]))


def _strict() -> Any:
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), pp.OneHotEncoder(drop="first"))
    return make_column_transformer((filled, ["city"]), (pp.TargetEncoder(**SEED), ["plan"]), ("passthrough", ["age"]))


def _then(*steps: Any) -> Callable[[], Any]:
    return lambda: make_pipeline(*steps)


def _cases(data: str, *estimators: Any) -> list[Case]:
    cases = []
    for estimator in estimators:
        name = _title(estimator)
        cases.append(Case(name, lambda estimator=estimator: estimator, data))
    return cases


def _title(estimator: Any) -> str:
    """Return the estimator as it would be written, without what does not matter here."""
    if hasattr(estimator, "steps"):
        return " → ".join(_title(step) for _, step in estimator.steps)
    text = re.sub(r"\s+", " ", repr(estimator))
    text = re.sub(r"(, )?(random_state|max_iter|n_estimators|hidden_layer_sizes|cv)=(\([^)]*\)|[\w.]+)", "", text)
    return text.replace("(, ", "(").replace("()", "")


def cases() -> list[Case]:
    """Return every case, in the table's order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [*_tree_cases(), *_other_cases(), *_pipeline_cases()]


def _tree_cases() -> list[Case]:
    small = {"n_estimators": 12} | SEED
    boosted = {"max_iter": 8} | SEED
    return [
        *_cases(
            CLASSES, tree.DecisionTreeClassifier(**SEED), tree.ExtraTreeClassifier(**SEED),
            en.RandomForestClassifier(**small), en.RandomForestClassifier(max_depth=3, **small),
            en.ExtraTreesClassifier(**small), en.GradientBoostingClassifier(**small),
            en.HistGradientBoostingClassifier(**boosted), en.AdaBoostClassifier(**small),
            en.BaggingClassifier(max_features=0.5, **small),
        ),
        *_cases(
            TWO, en.RandomForestClassifier(max_depth=3, **small), en.GradientBoostingClassifier(**small),
            en.GradientBoostingClassifier(loss="exponential", **small),
            en.HistGradientBoostingClassifier(**boosted), en.AdaBoostClassifier(**small),
            en.HistGradientBoostingClassifier(categorical_features=[0, 3], **boosted),
        ),
        *_cases(
            NUMBERS, tree.DecisionTreeRegressor(**SEED), tree.ExtraTreeRegressor(**SEED),
            en.RandomForestRegressor(**small), en.ExtraTreesRegressor(**small),
            en.GradientBoostingRegressor(**small), en.HistGradientBoostingRegressor(**boosted),
            en.HistGradientBoostingRegressor(loss="poisson", **boosted), en.AdaBoostRegressor(**small),
            en.BaggingRegressor(**small),
        ),
        *_cases(PAIRS, tree.DecisionTreeRegressor(**SEED), en.RandomForestRegressor(**small)),
    ]  # fmt: skip


def _other_cases() -> list[Case]:
    quick = {"max_iter": 20} | SEED
    return [
        *_cases(
            CLASSES, lm.LogisticRegression(max_iter=50), lm.SGDClassifier(loss="log_loss", **SEED),
            lm.RidgeClassifier(), lm.Perceptron(**SEED), svm.LinearSVC(**SEED), LinearDiscriminantAnalysis(),
            svm.SVC(), svm.SVC(kernel="linear"), svm.SVC(kernel="poly", decision_function_shape="ovo"),
            svm.NuSVC(nu=0.1),
            nn.KNeighborsClassifier(), nn.KNeighborsClassifier(weights="distance", p=1), nn.NearestCentroid(),
            nb.GaussianNB(), nb.MultinomialNB(), nb.BernoulliNB(), nb.ComplementNB(),
            mlp.MLPClassifier(hidden_layer_sizes=(12,), **quick),
            OneVsRestClassifier(lm.LogisticRegression(max_iter=50)),
            CalibratedClassifierCV(svm.LinearSVC(**SEED), cv=2), DummyClassifier(),
            en.VotingClassifier([("a", lm.RidgeClassifier()), ("b", nb.GaussianNB())]),
        ),
        *_cases(
            TWO, lm.LogisticRegression(max_iter=50), lm.SGDClassifier(loss="modified_huber", **SEED),
            svm.LinearSVC(**SEED), svm.SVC(), svm.SVC(probability=True, **SEED), LinearDiscriminantAnalysis(),
            QuadraticDiscriminantAnalysis(reg_param=0.1), mlp.MLPClassifier(hidden_layer_sizes=(12,), **quick),
            en.VotingClassifier([("a", nn.KNeighborsClassifier()), ("b", nb.GaussianNB())], voting="soft"),
            en.StackingClassifier([("a", nb.GaussianNB()), ("b", svm.LinearSVC(**SEED))], cv=2),
            CalibratedClassifierCV(lm.LogisticRegression(max_iter=50), method="isotonic", cv=2),
            GridSearchCV(lm.LogisticRegression(max_iter=50), {"C": [0.1, 1.0]}, cv=2),
        ),
        *_cases(
            NUMBERS, lm.LinearRegression(), lm.Ridge(), lm.Lasso(), lm.ElasticNet(), lm.SGDRegressor(**SEED),
            lm.BayesianRidge(), lm.HuberRegressor(max_iter=500), lm.TweedieRegressor(), lm.RANSACRegressor(**SEED),
            svm.SVR(), svm.LinearSVR(**SEED), svm.OneClassSVM(nu=0.1),
            nn.KNeighborsRegressor(), nn.KNeighborsRegressor(weights="distance"),
            mlp.MLPRegressor(hidden_layer_sizes=(12,), **quick), DummyRegressor(),
            en.VotingRegressor([("a", lm.Ridge()), ("b", tree.DecisionTreeRegressor(**SEED))]),
            en.StackingRegressor([("a", lm.Ridge()), ("b", tree.DecisionTreeRegressor(**SEED))], cv=2),
            TransformedTargetRegressor(lm.Ridge(), transformer=pp.StandardScaler()), GaussianProcessRegressor(),
        ),
        *_cases(
            PAIRS, lm.LinearRegression(), nn.KNeighborsRegressor(),
            MultiOutputRegressor(en.GradientBoostingRegressor(n_estimators=8, **SEED)),
        ),
    ]  # fmt: skip


def _pipeline_cases() -> list[Case]:
    logistic = lm.LogisticRegression(max_iter=50)
    numeric = [
        make_pipeline(pp.StandardScaler(), logistic),
        make_pipeline(pp.StandardScaler(), PCA(5, whiten=True), svm.SVC()),
        make_pipeline(pp.MinMaxScaler(clip=True), pp.PolynomialFeatures(), SelectKBest(k=30), logistic),
        make_pipeline(pp.RobustScaler(), pp.MaxAbsScaler(), VarianceThreshold(), nb.GaussianNB()),
        make_pipeline(pp.PowerTransformer(), pp.Normalizer(), logistic),
        make_pipeline(pp.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), pp.Binarizer(), logistic),
        make_pipeline(pp.FunctionTransformer(np.log1p), TruncatedSVD(4, **SEED), logistic),
        make_pipeline(
            make_union(SimpleImputer(), MissingIndicator(features="all")), tree.DecisionTreeClassifier(**SEED)
        ),
        make_pipeline(pp.OneHotEncoder(handle_unknown="ignore"), logistic),
        make_pipeline(KNNImputer(), logistic),
        make_pipeline(pp.QuantileTransformer(n_quantiles=50, **SEED), logistic),
    ]
    mixed = [
        make_pipeline(_columns(), logistic),
        make_pipeline(_columns(), en.RandomForestClassifier(n_estimators=12, **SEED)),
        make_pipeline(_columns(), en.HistGradientBoostingClassifier(max_iter=8, **SEED)),
        make_pipeline(_columns(), svm.SVC()),
        make_pipeline(_ordinal(), en.GradientBoostingClassifier(n_estimators=12, **SEED)),
        make_pipeline(_ordinal(), en.ExtraTreesClassifier(n_estimators=12, **SEED)),
        make_pipeline(_strict(), logistic),
    ]
    names = ("scaled and one-hot columns", "ordinal and imputed columns", "filled, one-hot and target-encoded columns")
    titled = []
    for case, kind in zip(_cases(MIXED, *mixed), (0, 0, 0, 0, 1, 1, 2), strict=True):
        titled.append(Case(f"{names[kind]} → {case.name.rpartition(' → ')[2]}", case.make, MIXED))
    texts = [
        Case("TfidfVectorizer → LogisticRegression", _then(TfidfVectorizer(), logistic), TEXT),
        Case("CountVectorizer → MultinomialNB", _then(CountVectorizer(), nb.MultinomialNB()), TEXT),
        Case(
            "CountVectorizer(ngram_range=(1, 2)) → TfidfTransformer → LinearSVC",
            lambda: make_pipeline(CountVectorizer(ngram_range=(1, 2)), TfidfTransformer(), svm.LinearSVC(**SEED)),
            TEXT,
        ),
        Case(
            "TfidfVectorizer → RandomForestClassifier",
            _then(TfidfVectorizer(), en.RandomForestClassifier(n_estimators=12, **SEED)),
            TEXT,
        ),
        Case(
            "TfidfVectorizer(analyzer='char') → LogisticRegression",
            _then(TfidfVectorizer(analyzer="char"), logistic),
            TEXT,
        ),
    ]
    categories = en.HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=8, **SEED)
    return [*_cases(TWO, *numeric), *titled, *_cases(CATEGORIES, categories), *texts]


def what_runs(verified: VerifiedCandidate | str) -> str:
    """Say in the table's words which form agrees with scikit-learn."""
    if isinstance(verified, str):
        return f"none: {verified.partition(';')[0]}"
    form = {"onnx64": "ONNX, float64"}[verified.compiled.kind]
    return form if verified.candidate.plan["compiled_by"] == "mlapi" else f"{form}, by skl2onnx"


def table_rows() -> list[tuple[str, ...]]:
    """Return the document's table, cell by cell."""
    lines = DOCUMENT.read_text().partition(START)[2].partition(END)[0].strip().splitlines()[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def main() -> None:
    """Measure every case and write the table."""
    lines = ["| Estimator | Fitted on | Compiled form | Scores | Faster |", "| --- | --- | --- | --- | --- |"]
    for case in cases():
        fitted = fit(case)
        report = compile_estimator(fitted.estimator, fitted.schema, fitted.instances).report
        runs = what_runs(verified_candidate(fitted.estimator, fitted.schema, fitted.instances))
        scores = "" if report.largest_difference is None else _within(report.largest_difference)
        faster = (
            ""
            if report.speedup is None
            else f"{report.speedup:,.0f} ×"
            if report.is_compiled
            else "no, so scikit-learn serves"
        )
        lines.append(f"| {case.name} | {case.data} | {runs} | {scores} | {faster} |")
        print(lines[-1], flush=True)
    before, _, rest = DOCUMENT.read_text().partition(START)
    table = "\n".join(lines)
    DOCUMENT.write_text(f"{before}{START}\n{table}\n{END}{rest.partition(END)[2]}")


def _within(difference: float) -> str:
    return "equal" if difference == 0 else f"within 1e{int(np.ceil(np.log10(difference)))}"


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
