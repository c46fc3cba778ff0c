# ruff: noqa: BLE001
"""Every public estimator of the version, with settings as close to the default as fit."""

import numpy as np
from installed_sklearn import (
    all_estimators,
    linear_model,
    preprocessing,
    sklearn,
    tree,
)
from training_data import CLASSES, RECORDS, TARGET, TEXTS, X

SKIPPED = {"SparseCoder", "FrozenEstimator", "CheckingClassifier"}
REQUIRED = {
    "ClassifierChain": lambda kind: kind(linear_model.LogisticRegression()),
    "RegressorChain": lambda kind: kind(linear_model.Ridge()),
    "ColumnTransformer": lambda kind: kind([("s", preprocessing.StandardScaler(), [0, 1])]),
    "FeatureUnion": lambda kind: kind([("s", preprocessing.StandardScaler())]),
    "Pipeline": lambda kind: kind([("s", preprocessing.StandardScaler()), ("m", linear_model.Ridge())]),
    "GridSearchCV": lambda kind: kind(linear_model.Ridge(), {"alpha": [1, 2]}, cv=2),
    "HalvingGridSearchCV": lambda kind: kind(linear_model.Ridge(), {"alpha": [1, 2]}, cv=2),
    "RandomizedSearchCV": lambda kind: kind(linear_model.Ridge(), {"alpha": [1, 2]}, n_iter=2, cv=2),
    "HalvingRandomSearchCV": lambda kind: kind(linear_model.Ridge(), {"alpha": [1, 2]}, cv=2),
    "VotingClassifier": lambda kind: kind([("m", linear_model.LogisticRegression())]),
    "StackingClassifier": lambda kind: kind([("m", linear_model.LogisticRegression())], cv=2),
    "VotingRegressor": lambda kind: kind([("m", linear_model.Ridge())]),
    "StackingRegressor": lambda kind: kind([("m", linear_model.Ridge())], cv=2),
    "SelectFromModel": lambda kind: kind(tree.DecisionTreeClassifier()),
    "RFE": lambda kind: kind(linear_model.LogisticRegression()),
    "RFECV": lambda kind: kind(linear_model.LogisticRegression(), cv=2),
    "SequentialFeatureSelector": lambda kind: kind(linear_model.LogisticRegression(), cv=2, n_features_to_select=2),
    "MultiOutputRegressor": lambda kind: kind(linear_model.Ridge()),
    "SelfTrainingClassifier": lambda kind: kind(linear_model.LogisticRegression()),
}
SETTINGS = {
    "n_estimators": 4, "max_iter": 20, "random_state": 0, "cv": 2, "n_components": 2, "n_clusters": 2, "n_init": 1,
    "n_quantiles": 10,
}  # fmt: skip
ATTEMPTS = (
    (X, CLASSES), (X, TARGET), (X,), (TEXTS,), (X, np.c_[CLASSES, 1 - CLASSES]), (RECORDS,), (CLASSES,),
    (X[:, 0], TARGET), (X @ X.T, CLASSES),
)  # fmt: skip


def plain():
    """Yield every public estimator of the version."""
    for name, kind in all_estimators():
        if name in SKIPPED or name.startswith("_"):
            continue
        if name in REQUIRED:
            plain_one = REQUIRED[name](kind)
        else:
            try:
                plain_one = kind()
            except TypeError:
                plain_one = kind(linear_model.LogisticRegression())
        known = plain_one.get_params(deep=False)
        plain_one.set_params(**{key: value for key, value in SETTINGS.items() if key in known})
        for arguments in ATTEMPTS:
            try:
                sklearn.base.clone(plain_one).fit(*arguments)
            except Exception:
                continue
            yield name, plain_one, arguments, {}
            break
        else:
            print("fits nothing:", name)
