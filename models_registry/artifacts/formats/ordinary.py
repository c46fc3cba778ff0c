"""Pipelines as data scientists write them, with parameters out of pandas and numpy; a part of the specimens.

What a parameter is made of shows in the file: a pandas Index as the columns, a pandas array as the categories,
masked arrays of a search's results.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn import (
    compose,
    ensemble,
    feature_extraction,
    feature_selection,
    impute,
    linear_model,
    metrics,
    model_selection,
    naive_bayes,
    neighbors,
    pipeline,
    preprocessing,
    svm,
    tree,
)

ROWS = 60
_RNG = np.random.RandomState(1)
TABLE = pd.DataFrame(
    {
        "height": _RNG.rand(ROWS),
        "weight": _RNG.rand(ROWS) + 50,
        "visits": _RNG.randint(0, 9, ROWS),
        "team": (["red", "blue", "green"] * ROWS)[:ROWS],
        "size": (["S", "M"] * ROWS)[:ROWS],
    }
)
CLASSES = (TABLE["height"] > TABLE["height"].median()).astype(int)
Ordinary = tuple[str, Any, tuple[Any, ...]]


def ordinary_pipelines() -> Iterator[Ordinary]:
    """Yield (label, estimator, arguments of fit)."""
    for label, prepare in _columns():
        yield f"ordinary-{label}", pipeline.make_pipeline(prepare, linear_model.LogisticRegression()), (TABLE, CLASSES)
    for label, steps in _categories():
        yield f"ordinary-{label}", pipeline.make_pipeline(*steps, tree.DecisionTreeClassifier()), (TABLE, CLASSES)
    yield from _searches()
    yield from _parameters()


def _columns() -> Iterator[tuple[str, Any]]:
    scale, encode = preprocessing.StandardScaler(), preprocessing.OneHotEncoder(handle_unknown="ignore")
    numbers = TABLE.select_dtypes("number")
    words = TABLE.select_dtypes(exclude="number")
    selector = compose.make_column_selector
    for label, first, second in (
        ("index", numbers.columns, words.columns),
        ("index-list", numbers.columns.tolist(), list(words.columns)),
        ("index-values", numbers.columns.values, words.columns.to_numpy()),
        ("index-difference", TABLE.columns.difference(words.columns), TABLE.columns[3:]),
        ("mask", (TABLE.dtypes != TABLE["team"].dtype).to_numpy(), [False] * 3 + [True] * 2),
        ("slice", slice("height", "visits"), slice(3, 5)),
        ("positions", np.arange(3), pd.RangeIndex(3, 5)),
        ("selector-number", selector(dtype_include=np.number), selector(dtype_exclude=np.number)),
        ("selector-types", selector(dtype_include=[np.float64, np.int64]), selector(pattern="team|size")),
        ("selector-words", selector(dtype_include="number"), selector(dtype_include=["object", "str", "category"])),
        ("selector-dtypes", selector(dtype_include=["int64", float]), selector(dtype_exclude=[np.number, "number"])),
    ):
        yield label, compose.ColumnTransformer([("numbers", scale, first), ("words", encode, second)])
    yield "remainder", compose.ColumnTransformer([("words", encode, words.columns)], remainder="passthrough")
    yield "remainder-scaled", compose.make_column_transformer((encode, words.columns), remainder=scale)
    yield (
        "verbose",
        compose.make_column_transformer((scale, numbers.columns), verbose_feature_names_out=False, sparse_threshold=0),
    )
    pandas_out = compose.make_column_transformer((scale, numbers.columns), ("drop", words.columns))
    yield "pandas-out", pandas_out.set_output(transform="pandas")
    weights = compose.ColumnTransformer([("n", scale, numbers.columns)], transformer_weights={"n": np.float64(2)})
    yield "weights", weights


def _categories() -> Iterator[tuple[str, list[Any]]]:
    team, size = TABLE["team"], TABLE["size"]
    ordered = pd.CategoricalDtype(["S", "M", "L"], ordered=True)
    for label, categories in (
        ("unique", [team.unique(), size.unique()]),
        ("unique-sorted", [np.sort(team.unique()), sorted(size.unique())]),
        ("categorical-index", [pd.Index(["red", "blue", "green"]), ordered.categories]),
        ("value-counts", [team.value_counts().index, size.value_counts().index]),
        ("object-arrays", [np.array(["red", "blue", "green"], dtype=object), np.array(["S", "M"])]),
        ("lists", [["red", "blue", "green"], ["S", "M", "L"]]),
    ):
        columns = ["team", "size"]
        hot = preprocessing.OneHotEncoder(categories=categories)
        yield f"hot-{label}", [compose.ColumnTransformer([("c", hot, columns)])]
        ordinal = preprocessing.OrdinalEncoder(
            categories=categories, handle_unknown="use_encoded_value", unknown_value=np.nan
        )
        yield f"ordinal-{label}", [compose.ColumnTransformer([("c", ordinal, columns)])]
    filled = impute.SimpleImputer(strategy="constant", fill_value=np.str_("none"), missing_values=pd.NA)
    yield (
        "imputed-na",
        [compose.ColumnTransformer([("w", pipeline.make_pipeline(filled, preprocessing.OneHotEncoder()), ["team"])])],
    )


def _searches() -> Iterator[Ordinary]:
    numbers = TABLE[["height", "weight", "visits"]]
    grid = {"max_depth": [2, None], "min_samples_leaf": np.arange(1, 3), "criterion": ["gini", "entropy"]}
    forest = ensemble.RandomForestClassifier(n_estimators=3, random_state=np.random.RandomState(3))
    yield "search-forest", model_selection.GridSearchCV(forest, grid, cv=2, n_jobs=1), (numbers, CLASSES)
    random = model_selection.RandomizedSearchCV(
        tree.DecisionTreeClassifier(), {"max_depth": range(1, 5), "ccp_alpha": np.linspace(0, 0.1, 3)},
        n_iter=3, cv=model_selection.StratifiedKFold(2, shuffle=True, random_state=np.random.RandomState(0)),
        random_state=np.random.RandomState(1),
    )  # fmt: skip
    yield "search-random", random, (numbers, CLASSES)
    halving = model_selection.HalvingGridSearchCV(tree.DecisionTreeClassifier(), {"max_depth": [2, 3]}, cv=2)
    yield "search-halving", halving, (numbers, CLASSES)
    steps = pipeline.Pipeline([("scale", preprocessing.StandardScaler()), ("model", linear_model.LogisticRegression())])
    several = [
        {
            "model": [svm.SVC()],
            "model__C": np.logspace(-1, 1, 2),
            "scale": [preprocessing.MinMaxScaler(), "passthrough"],
        },
        {"model": [neighbors.KNeighborsClassifier()], "model__n_neighbors": list(range(2, 4))},
    ]
    yield (
        "search-steps",
        model_selection.GridSearchCV(steps, several, cv=2, return_train_score=True),
        (numbers, CLASSES),
    )
    for score in (
        metrics.cohen_kappa_score, metrics.matthews_corrcoef, metrics.hamming_loss, metrics.zero_one_loss,
        metrics.balanced_accuracy_score, metrics.jaccard_score,
    ):  # fmt: skip
        scoring = metrics.make_scorer(score, greater_is_better=not score.__name__.endswith("loss"))
        search = model_selection.GridSearchCV(
            naive_bayes.GaussianNB(), {"var_smoothing": [1e-9, 1e-8]}, scoring=scoring, cv=2
        )
        yield f"search-{score.__name__}", search, (numbers, CLASSES)
    named = {"AUC": "roc_auc", "Accuracy": metrics.make_scorer(metrics.accuracy_score)}
    refit = model_selection.GridSearchCV(
        tree.DecisionTreeClassifier(), {"max_depth": [1, 2]}, scoring=named, refit="AUC", cv=2
    )
    yield "search-named", refit, (numbers, CLASSES)


def _parameters() -> Iterator[Ordinary]:
    numbers = TABLE[["height", "weight", "visits"]]
    weights = {np.int64(0): np.float64(1.0), np.int64(1): np.float64(2.0)}
    yield "weights-numpy", linear_model.LogisticRegression(class_weight=weights), (numbers, CLASSES)
    counted = (1 / CLASSES.value_counts()).to_dict()
    yield "weights-counted", ensemble.RandomForestClassifier(3, class_weight=counted), (numbers, CLASSES)
    yield "weights-array", naive_bayes.GaussianNB(priors=np.array([0.3, 0.7])), (numbers, CLASSES)
    labels = CLASSES.map({0: "no", 1: "yes"})
    yield "labels-strings", ensemble.ExtraTreesClassifier(3), (numbers, labels)
    yield "labels-categorical", tree.DecisionTreeClassifier(), (numbers, labels.astype("category"))
    yield "labels-nullable", linear_model.LogisticRegression(), (numbers, CLASSES.astype("Int64").to_numpy(dtype=int))
    yield "seed-numpy", ensemble.BaggingClassifier(n_estimators=2, random_state=np.int64(3)), (numbers, CLASSES)
    chosen = feature_selection.SelectFromModel(linear_model.LassoCV(cv=2), threshold=np.float64(-np.inf))
    yield "select", pipeline.make_pipeline(chosen, linear_model.Ridge()), (numbers, CLASSES)
    for function in (np.log1p, np.asarray, np.array, np.around, np.nan_to_num,
                     np.float32,  np.squeeze, np.isnan, np.sign, np.cbrt, np.atleast_2d, np.absolute,
                     np.ravel):  # fmt: skip
        given = preprocessing.FunctionTransformer(function, validate=False)
        yield (
            f"function-named-{function.__name__}",
            pipeline.Pipeline([("f", given), ("m", "passthrough")]),
            (numbers.to_numpy(),),
        )
    words = feature_extraction.text.TfidfVectorizer(
        stop_words=list(feature_extraction.text.ENGLISH_STOP_WORDS)[:9], dtype=np.float32, max_df=np.float64(0.9),
        vocabulary=None,
    )  # fmt: skip
    texts = TABLE["team"] + " team of size " + TABLE["size"]
    yield "text-series", pipeline.make_pipeline(words, linear_model.SGDClassifier()), (texts, CLASSES)
    frozen = frozenset(feature_extraction.text.ENGLISH_STOP_WORDS)
    yield "text-stop-words", feature_extraction.text.CountVectorizer(stop_words=list(frozen)), (texts,)
    given = feature_extraction.text.CountVectorizer(vocabulary=pd.Index(["red", "blue", "green"]))
    yield "text-vocabulary", given, (texts,)
