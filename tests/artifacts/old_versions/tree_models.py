# ruff: noqa: PLR0912
"""Trees, forests and boosting, by the settings that change what is stored."""

import numpy as np
import pandas as pd
from installed_sklearn import (
    VERSION,
    dummy,
    ensemble,
    linear_model,
    tree,
)
from training_data import CLASSES, FRAME, GAPS, ROWS, TARGET, THREE, WEIGHTS, X


def trees():
    for kind in (tree.DecisionTreeClassifier, tree.ExtraTreeClassifier):
        for label, settings in (("", {}), ("-depth", {"max_depth": 3}), ("-balanced", {"class_weight": "balanced"})):
            yield kind.__name__ + label, kind(random_state=0, **settings), (X, THREE), {}
    yield "tree-weights", tree.DecisionTreeClassifier(max_depth=3), (X, THREE), {"sample_weight": WEIGHTS}
    yield "tree-multioutput", tree.DecisionTreeClassifier(max_depth=3), (X, np.c_[CLASSES, THREE]), {}
    yield "tree-one-class", tree.DecisionTreeClassifier(), (X, np.zeros(ROWS, int)), {}
    yield "tree-labels", tree.DecisionTreeClassifier(max_depth=3), (X, np.array(["a", "b", "c"])[THREE]), {}
    for criterion in ("squared_error", "absolute_error", "friedman_mse", "poisson"):
        yield f"tree-{criterion}", tree.DecisionTreeRegressor(criterion=criterion, max_depth=3), (X, TARGET), {}
    if VERSION >= (1, 3):
        yield "tree-gaps", tree.DecisionTreeClassifier(max_depth=3), (GAPS, THREE), {}
    if VERSION >= (1, 4):
        yield "forest-gaps", ensemble.RandomForestClassifier(5, max_depth=3), (GAPS, THREE), {}
    forest = {"n_estimators": 7, "max_depth": 3, "random_state": 0}
    yield "forest", ensemble.RandomForestClassifier(**forest), (X, THREE), {}
    yield "forest-oob", ensemble.RandomForestClassifier(oob_score=True, **forest), (X, CLASSES), {}
    yield "forest-balanced", ensemble.RandomForestClassifier(class_weight="balanced", **forest), (X, THREE), {}
    yield "forest-multioutput", ensemble.RandomForestClassifier(**forest), (X, np.c_[CLASSES, THREE]), {}
    yield "extra-trees", ensemble.ExtraTreesClassifier(**forest), (X, THREE), {}
    yield "forest-regressor", ensemble.RandomForestRegressor(**forest), (X, TARGET), {}
    yield "extra-trees-regressor", ensemble.ExtraTreesRegressor(**forest), (X, np.c_[TARGET, -TARGET]), {}
    yield "embedding", ensemble.RandomTreesEmbedding(n_estimators=3, max_depth=3, random_state=0), (X,), {}
    yield "bagging-trees", ensemble.BaggingClassifier(n_estimators=4, random_state=0), (X, THREE), {}
    yield "isolation", ensemble.IsolationForest(n_estimators=7, random_state=0), (X,), {}
    yield (
        "isolation-contaminated",
        ensemble.IsolationForest(n_estimators=7, contamination=0.1, random_state=0),
        (X,),
        {},
    )
    yield (
        "isolation-samples",
        ensemble.IsolationForest(n_estimators=7, max_samples=20, max_features=2, random_state=0),
        (X,),
        {},
    )
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        boosting = ensemble.GradientBoostingRegressor(loss=loss, n_estimators=5, random_state=0)
        yield f"gradient-{loss}", boosting, (X, TARGET), {}
    for loss in ("ls", "lad") if VERSION < (1, 0) else ():
        boosting = ensemble.GradientBoostingRegressor(loss=loss, n_estimators=5, random_state=0)
        yield f"gradient-{loss}", boosting, (X, TARGET), {}
    if VERSION < (1, 1):
        boosting = ensemble.GradientBoostingClassifier(loss="deviance", n_estimators=5, random_state=0)
        yield "gradient-deviance", boosting, (X, CLASSES), {}
        yield "sgd-log", linear_model.SGDClassifier(loss="log", random_state=0), (X, CLASSES), {}
        settings = {"max_iter": 4, "min_samples_leaf": 5}
        for loss in ("least_squares", "least_absolute_deviation"):
            yield f"histogram-{loss}", ensemble.HistGradientBoostingRegressor(loss=loss, **settings), (X, TARGET), {}
    for loss in ("log_loss", "exponential"):
        boosting = ensemble.GradientBoostingClassifier(loss=loss, n_estimators=5, random_state=0)
        yield f"gradient-{loss}", boosting, (X, CLASSES), {}
    yield "gradient-three", ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0), (X, THREE), {}
    for name, init in (
        ("zero", "zero"),
        ("dummy", dummy.DummyClassifier(strategy="prior")),
        ("logistic", linear_model.LogisticRegression()),
    ):
        boosting = ensemble.GradientBoostingClassifier(n_estimators=3, init=init, random_state=0)
        yield f"gradient-init-{name}", boosting, (X, CLASSES), {}
    boosting = ensemble.GradientBoostingRegressor(n_estimators=20, n_iter_no_change=2, random_state=0)
    yield "gradient-stopping", boosting, (X, TARGET), {}
    for loss in ("squared_error", "absolute_error", "poisson", *(("quantile",) if VERSION >= (1, 1) else ()),
                 *(("gamma",) if VERSION >= (1, 3) else ())):  # fmt: skip
        settings = {"quantile": 0.5} if loss == "quantile" else {}
        boosting = ensemble.HistGradientBoostingRegressor(loss=loss, max_iter=4, min_samples_leaf=5, **settings)
        yield f"histogram-{loss}", boosting, (GAPS, TARGET), {}
    histogram = {"max_iter": 4, "min_samples_leaf": 5, "random_state": 0}
    yield "histogram-two", ensemble.HistGradientBoostingClassifier(**histogram), (GAPS, CLASSES), {}
    yield "histogram-three", ensemble.HistGradientBoostingClassifier(**histogram), (GAPS, THREE), {}
    codes = np.c_[THREE, X[:, 1:]]
    by_category = ensemble.HistGradientBoostingClassifier(categorical_features=[0], **histogram)
    yield "histogram-categories", by_category, (codes, CLASSES), {}
    stopping = ensemble.HistGradientBoostingClassifier(early_stopping=True, scoring="accuracy", **histogram)
    yield "histogram-stopping", stopping, (X, CLASSES), {}
    yield (
        "histogram-loss-stopping",
        ensemble.HistGradientBoostingClassifier(early_stopping=True, **histogram),
        (X, CLASSES),
        {},
    )
    if VERSION >= (1, 4):
        frame = FRAME.assign(size=pd.Categorical(FRAME["size"]))[["age", "size"]]
        from_dtype = ensemble.HistGradientBoostingClassifier(categorical_features="from_dtype", **histogram)
        yield "histogram-from-dtype", from_dtype, (frame, CLASSES), {}
    algorithms = ({"algorithm": "SAMME"}, {"algorithm": "SAMME.R"}) if VERSION < (1, 6) else ({},)
    for settings in algorithms:
        algorithm = settings.get("algorithm", "SAMME")
        for label, classes in (("two", CLASSES), ("three", THREE)):
            adaptive = ensemble.AdaBoostClassifier(n_estimators=5, random_state=0, **settings)
            yield f"ada-{algorithm}-{label}", adaptive, (X, classes), {}
    if VERSION >= (1, 2):
        stumps = tree.DecisionTreeClassifier(max_depth=2)
        adaptive = ensemble.AdaBoostClassifier(stumps, n_estimators=5, random_state=0)
        yield "ada-depth-two", adaptive, (X, THREE), {}
    yield "ada-regressor", ensemble.AdaBoostRegressor(n_estimators=5, random_state=0), (X, TARGET), {}
