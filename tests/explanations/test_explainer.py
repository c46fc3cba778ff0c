"""Pipelines down to their input features, refusals, and an independent computation of Shapley values."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from models_registry.artifacts.inference import infer_schema
from models_registry.errors import InputError, NotExplainable
from models_registry.explanations.explainer import MAX_CELLS, MAX_STEPS, Explainer

GENERATOR = np.random.default_rng(1)
ROWS = GENERATOR.normal(size=(60, 3))
TWO, VALUES = (ROWS[:, 0] > 0).astype(int), ROWS @ [1.0, 2.0, 3.0]
FRAME = pd.DataFrame(
    {
        "age": np.where(GENERATOR.random(60) < 0.2, np.nan, GENERATOR.normal(40, 10, 60)),
        "city": GENERATOR.choice(["Bonn", "Oslo", "Rome"], 60),
        "unused": GENERATOR.normal(size=60),
        "size": GENERATOR.normal(size=60),
    }
)


def explainer(model):
    return Explainer(model, infer_schema(model, None))


def mixed(last):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["size", "age"]),
        ("drop", ["unused"]),
    )
    return make_pipeline(columns, last).fit(FRAME, TWO)


def asked():
    return FRAME.head(5)


@pytest.mark.parametrize(
    "last", [LogisticRegression(), RandomForestClassifier(5, random_state=0)], ids=["linear", "trees"]
)
def test_derived_columns_count_for_their_feature(last):
    model = mixed(last)
    found = explainer(model).explain(asked())
    inner = explainer(model[-1]).explain(np.asarray(model[:-1].transform(asked())))
    # The columns of the last step: three cities, size, age, whether age is missing.
    by_column = inner.contributions
    wanted = np.stack(
        [
            by_column[..., 4] + by_column[..., 5],
            by_column[..., :3].sum(axis=2),
            0 * by_column[..., 0],
            by_column[..., 3],
        ],
        axis=2,
    )
    np.testing.assert_allclose(found.contributions, wanted, atol=1e-12)
    assert np.abs(wanted[..., [0, 1, 3]]).max(axis=(0, 1)).all()


PREPARED = {
    "scaled": make_pipeline(MinMaxScaler(), Ridge()),
    "logarithms": make_pipeline(FunctionTransformer(np.cbrt), Ridge()),
    "passed on": make_pipeline("passthrough", Ridge()),
    "chosen": make_pipeline(SelectKBest(f_regression, k=2), StandardScaler(), Ridge()),
    "binned": make_pipeline(KBinsDiscretizer(4), Ridge()),
    "united": make_pipeline(make_union(StandardScaler(), MinMaxScaler()), DecisionTreeRegressor(random_state=0)),
    "nested": make_pipeline(make_pipeline(StandardScaler()), make_pipeline(MinMaxScaler(), Ridge())),
    "searched": GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1.0]}, cv=2),
    "forest": make_pipeline(StandardScaler(), RandomForestRegressor(3, random_state=0)),
}


@pytest.mark.parametrize("name", PREPARED)
def test_contributions_through_steps_add_up(name):
    model = PREPARED[name].fit(ROWS, VALUES)
    found = explainer(model).explain(ROWS)
    assert found.contributions.shape == (60, 1, 3)
    np.testing.assert_allclose(found.values[:, 0], model.predict(ROWS), atol=1e-10)


REFUSED = {
    "SVC": SVC(),
    "MLPClassifier": MLPClassifier(max_iter=5),
    "AdaBoostClassifier": AdaBoostClassifier(n_estimators=2),
    "VotingClassifier": VotingClassifier([("a", LogisticRegression())]),
    "PCA": make_pipeline(PCA(2), LogisticRegression()),
    "PolynomialFeatures": make_pipeline(PolynomialFeatures(), LogisticRegression()),
    "FunctionTransformer": make_pipeline(FunctionTransformer(np.cumsum, kw_args={"axis": 1}), LogisticRegression()),
    "starts from a LogisticRegression": GradientBoostingClassifier(init=LogisticRegression(), n_estimators=2),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_inexact_models_are_refused_by_name(name):
    with pytest.raises(NotExplainable, match=name):
        explainer(REFUSED[name].fit(ROWS, TWO))


def test_several_outputs_and_texts_are_refused():
    with pytest.raises(NotExplainable, match="several outputs"):
        explainer(LinearRegression().fit(ROWS, ROWS[:, :2]))
    with pytest.raises(NotExplainable, match="several outputs"):
        explainer(DecisionTreeClassifier().fit(ROWS, np.column_stack([TWO, TWO])))
    with pytest.raises(NotExplainable, match="text"):
        explainer(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a word", "another"], [0, 1]))


def brute_force(predict_with, features):
    """Return Shapley values by their definition, from the answer with each set of known features."""
    values = []
    for feature in range(features):
        others = [one for one in range(features) if one != feature]
        total = 0.0
        for size in range(features):
            weight = factorial(size) * factorial(features - size - 1) / factorial(features)
            for known in combinations(others, size):
                total += weight * (predict_with({*known, feature}) - predict_with(set(known)))
        values.append(total)
    return values


def test_trees_agree_with_the_definition():
    model = DecisionTreeRegressor(random_state=0).fit(ROWS.round(1), VALUES)
    tree, row = model.tree_, ROWS[7]

    def answer(known, node=0):
        left, right = tree.children_left[node], tree.children_right[node]
        if left < 0:
            return tree.value[node, 0, 0]
        if tree.feature[node] in known:
            return answer(known, left if np.float32(row[tree.feature[node]]) <= tree.threshold[node] else right)
        shares = tree.weighted_n_node_samples[[left, right]] / tree.weighted_n_node_samples[node]
        return shares @ [answer(known, left), answer(known, right)]

    found = explainer(model).explain(row[None])
    np.testing.assert_allclose(found.contributions[0, 0], brute_force(answer, 3), atol=1e-12)
    assert found.base[0] == pytest.approx(answer(set()))


def test_missing_values_go_the_trees_way():
    rows = np.where(GENERATOR.random(ROWS.shape) < 0.3, np.nan, ROWS)
    model = RandomForestRegressor(4, random_state=0).fit(rows, VALUES)
    np.testing.assert_allclose(explainer(model).explain(rows).values[:, 0], model.predict(rows), atol=1e-10)


def test_deep_trees_in_portions_add_up():
    inputs = np.random.default_rng(2).normal(size=(3000, 25))
    model = DecisionTreeRegressor(random_state=0, max_leaf_nodes=2500).fit(inputs, inputs.sum(axis=1) ** 3)
    found = explainer(model).explain(inputs[:300])
    np.testing.assert_allclose(found.values[:, 0], model.predict(inputs[:300]), rtol=1e-9, atol=1e-9)


def test_a_chain_of_splits_adds_up():
    inputs = np.column_stack([np.arange(300.0), np.arange(300.0)[::-1]])
    model = DecisionTreeRegressor(random_state=0).fit(inputs, 1.5 ** np.arange(300.0))
    assert model.get_depth() > 90
    found = explainer(model).explain(inputs)
    np.testing.assert_allclose(found.values[:, 0], model.predict(inputs), atol=1e-9 * 1.5**299)


def test_a_path_of_too_many_features_is_refused():
    model = explainer(DecisionTreeRegressor(random_state=0).fit(np.eye(250), 3.0 ** np.arange(250.0)))
    with pytest.raises(NotExplainable, match="more than 200 features on one path"):
        model.require_affordable(1)


def test_a_single_leaf_contributes_nothing():
    model = GradientBoostingRegressor(n_estimators=2).fit(ROWS, np.ones(60))
    found = explainer(model).explain(ROWS[:2])
    assert not found.contributions.any()
    assert found.base.tolist() == [1.0]


def test_more_rows_than_affordable_are_refused():
    model = explainer(RandomForestRegressor(20, random_state=0).fit(ROWS, VALUES))
    most = min(MAX_STEPS, MAX_CELLS)
    model.require_affordable(1)
    with pytest.raises(InputError, match=r"at most \d+ are explained at once\. Send at most \d+ rows") as caught:
        model.require_affordable(most)
    model.require_affordable(caught.value.details["expected"])
    with pytest.raises(InputError):
        model.require_affordable(caught.value.details["expected"] + 1)
    assert caught.value.code == "explanation_too_large"


def test_ordinal_codes_keep_their_feature():
    model = make_pipeline(OrdinalEncoder(), DecisionTreeClassifier(random_state=0)).fit(FRAME[["city"]], TWO)
    found = explainer(model).explain(FRAME[["city"]])
    np.testing.assert_allclose(found.values, model.predict_proba(FRAME[["city"]]), atol=1e-12)


def test_histogram_boosting_by_categories_adds_up():
    frame = pd.DataFrame({"size": FRAME["age"], "city": FRAME["city"].astype("category")})
    labels = (frame["city"] == "Oslo").astype(int) + (frame["size"] > 45)
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=4, categorical_features="from_dtype")
    model.fit(frame, labels)
    found = explainer(model).explain(frame)
    np.testing.assert_allclose(found.values, model.decision_function(frame), atol=1e-10)
    # The encoder puts the categories first: their contributions must not go to the size.
    alone = HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=4, loss="poisson").fit(frame, labels == 1)
    by_city = explainer(alone).explain(frame)
    np.testing.assert_allclose(np.exp(by_city.values[:, 0]), alone.predict(frame), atol=1e-10)
    assert by_city.output == "raw_score"
    assert np.abs(by_city.contributions[:, 0, 1]).sum() > np.abs(by_city.contributions[:, 0, 0]).sum()
