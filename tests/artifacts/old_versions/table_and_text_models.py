# ruff: noqa: E501
"""Pipelines over tables and texts, as data scientists write them."""

import numpy as np
import scipy.sparse
from installed_sklearn import (
    VERSION,
    compose,
    ensemble,
    feature_extraction,
    impute,
    linear_model,
    naive_bayes,
    pipeline,
    preprocessing,
    svm,
)
from training_data import CLASSES, FRAME, GAPS, RECORDS, TARGET, TEXTS, THREE, TOPICS, X


def prepared():
    """Return a ColumnTransformer as data scientists write it."""
    numbers = pipeline.make_pipeline(impute.SimpleImputer(strategy="median"), preprocessing.StandardScaler())
    words = pipeline.make_pipeline(
        impute.SimpleImputer(strategy="most_frequent"), preprocessing.OneHotEncoder(handle_unknown="ignore")
    )
    return compose.ColumnTransformer([("numbers", numbers, ["age", "income"]), ("words", words, ["city", "size"])])


def tables_and_text():
    text = feature_extraction.text
    logistic = linear_model.LogisticRegression
    for label, settings in (
        ("", {}),
        ("-smooth", {"smooth_idf": False}),
        ("-sublinear", {"sublinear_tf": True, "norm": "l1"}),
        ("-without", {"use_idf": False}),
        ("-single", {"dtype": np.float32}),
        ("-chars", {"analyzer": "char_wb", "ngram_range": (1, 3)}),
    ):
        yield f"tfidf{label}", text.TfidfVectorizer(**settings), (TEXTS,), {}
        yield (
            f"tfidf{label}-logistic",
            pipeline.make_pipeline(text.TfidfVectorizer(**settings), logistic()),
            (TEXTS, TOPICS),
            {},
        )
    counted = pipeline.make_pipeline(text.CountVectorizer(), text.TfidfTransformer(), naive_bayes.MultinomialNB())
    yield "counts-tfidf-bayes", counted, (TEXTS, THREE), {}
    yield "tfidf-transformer", text.TfidfTransformer(), (scipy.sparse.csr_matrix(np.round(X * 3)),), {}
    yield (
        "hashing-sgd",
        pipeline.make_pipeline(text.HashingVectorizer(n_features=64), linear_model.SGDClassifier(random_state=0)),
        (TEXTS, THREE),
        {},
    )
    yield (
        "records",
        pipeline.make_pipeline(feature_extraction.DictVectorizer(), linear_model.Ridge()),
        (RECORDS, TARGET),
        {},
    )
    union = pipeline.FeatureUnion([("words", text.TfidfVectorizer()), ("chars", text.CountVectorizer(analyzer="char"))])
    yield "text-union", pipeline.make_pipeline(union, svm.LinearSVC()), (TEXTS, THREE), {}
    yield "table-logistic", pipeline.make_pipeline(prepared(), logistic()), (FRAME, CLASSES), {}
    yield (
        "table-forest",
        pipeline.make_pipeline(prepared(), ensemble.RandomForestClassifier(4, max_depth=3, random_state=0)),
        (FRAME, THREE),
        {},
    )
    yield (
        "table-gradient",
        pipeline.make_pipeline(prepared(), ensemble.GradientBoostingRegressor(n_estimators=4)),
        (FRAME, TARGET),
        {},
    )
    by_index = compose.ColumnTransformer(
        [
            ("n", preprocessing.MinMaxScaler(), FRAME[["income"]].columns),
            ("c", preprocessing.OneHotEncoder(), FRAME[["city"]].columns),
        ]
    )
    yield "table-index", pipeline.make_pipeline(by_index, logistic()), (FRAME, CLASSES), {}
    chosen_columns = compose.make_column_transformer(
        (preprocessing.StandardScaler(), compose.make_column_selector(dtype_include="number")),
        (preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]),
        remainder="drop",
    )
    yield "table-selector", pipeline.make_pipeline(chosen_columns, logistic()), (FRAME.fillna(0), CLASSES), {}
    for label, columns in (("names", ["income"]), ("positions", [1]), ("mask", [False, True, False, False])):
        passed = compose.ColumnTransformer([("s", preprocessing.StandardScaler(), columns)], remainder="passthrough")
        frame = FRAME.assign(city=THREE, size=CLASSES).fillna(1.0)
        yield f"table-remainder-{label}", pipeline.make_pipeline(passed, logistic()), (frame, CLASSES), {}
    through = compose.ColumnTransformer(
        [("p", "passthrough", ["income"]), ("d", "drop", ["city"])], remainder=preprocessing.MinMaxScaler()
    )
    yield (
        "table-remainder-scaled",
        pipeline.make_pipeline(through, logistic()),
        (FRAME.assign(size=CLASSES).fillna(1.0), CLASSES),
        {},
    )
    positions = compose.ColumnTransformer([("s", preprocessing.StandardScaler(), [0, 1])], remainder="passthrough")
    yield "array-remainder", pipeline.make_pipeline(positions, logistic()), (X, CLASSES), {}
    for strategy in ("mean", "median", "most_frequent", "constant"):
        filled = pipeline.make_pipeline(impute.SimpleImputer(strategy=strategy), logistic())
        yield f"imputed-{strategy}", filled, (GAPS, CLASSES), {}
    words = FRAME[["city", "size"]].where(FRAME["age"] > 0.3)
    for strategy in ("most_frequent", "constant"):
        encoder = preprocessing.OneHotEncoder(handle_unknown="ignore")
        filled = pipeline.make_pipeline(impute.SimpleImputer(strategy=strategy), encoder, logistic())
        yield f"imputed-words-{strategy}", filled, (words, CLASSES), {}
    yield (
        "imputed-indicator",
        pipeline.make_pipeline(impute.SimpleImputer(add_indicator=True), logistic()),
        (GAPS, CLASSES),
        {},
    )
    yield "imputed-neighbours", pipeline.make_pipeline(impute.KNNImputer(), logistic()), (GAPS, CLASSES), {}
    iterative = impute.IterativeImputer(max_iter=2, random_state=0)
    yield "imputed-iterative", pipeline.make_pipeline(iterative, linear_model.Ridge()), (GAPS, TARGET), {}
    for label, settings in (("", {}), ("-ignore", {"handle_unknown": "ignore"}), ("-drop", {"drop": "first"}),
                            ("-binary", {"drop": "if_binary"}),
                            *((("-rare", {"min_frequency": 16, "handle_unknown": "infrequent_if_exist"}),) if VERSION >= (1, 1) else ())):  # fmt: skip
        yield (
            f"one-hot{label}",
            pipeline.make_pipeline(preprocessing.OneHotEncoder(**settings), logistic()),
            (FRAME[["city", "size"]], CLASSES),
            {},
        )
    given = preprocessing.OneHotEncoder(categories=[["Bern", "Oslo", "Rome"], ["L", "M", "S"]])
    yield "one-hot-given", pipeline.make_pipeline(given, logistic()), (FRAME[["city", "size"]], CLASSES), {}
    ordinal = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    yield (
        "ordinal",
        pipeline.make_pipeline(preprocessing.OrdinalEncoder(**ordinal), logistic()),
        (FRAME[["city", "size"]], CLASSES),
        {},
    )
    if VERSION >= (1, 3):
        rare = preprocessing.OrdinalEncoder(min_frequency=16, **ordinal)
        yield "ordinal-rare", pipeline.make_pipeline(rare, logistic()), (FRAME[["city", "size"]], CLASSES), {}
        target = preprocessing.TargetEncoder(cv=2, random_state=0)
        yield "target-encoder", pipeline.make_pipeline(target, logistic()), (FRAME[["city", "size"]], CLASSES), {}
