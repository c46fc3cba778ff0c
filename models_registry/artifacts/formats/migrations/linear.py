"""Linear models and projections."""

from typing import Any

import numpy as np

from models_registry.artifacts.formats.migrations.change import Written


def logistic_probabilities(written: Written) -> None:
    """Keep the probabilities of multi_class, which 1.8 removed: it answers by a softmax for three classes or more.

    Up to 1.7 `predict_proba` was one-vs-rest for "ovr", for two classes and for liblinear; else a softmax.
    """
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

    from models_registry.artifacts.formats.migrations import former

    state = written.state
    classes, multi_class = state.get("classes_"), state.get("multi_class")
    kinds: dict[type, tuple[type, type]] = {
        LogisticRegression: (former.OneVsRestLogisticRegression, former.SoftmaxLogisticRegression),
        LogisticRegressionCV: (former.OneVsRestLogisticRegressionCV, former.SoftmaxLogisticRegressionCV),
    }
    if classes is None or multi_class is None or type(written.target) not in kinds:
        return
    one_vs_rest, softmax = kinds[type(written.target)]
    is_two = len(classes) <= 2
    # "warn" was the default of 0.20 and 0.21, and meant "ovr".
    is_ovr = multi_class in {"ovr", "warn"} or (multi_class != "multinomial" and state.get("solver") == "liblinear")
    if is_ovr and not is_two:
        written.become(one_vs_rest)
    elif multi_class == "multinomial" and is_two:
        written.become(softmax)


def scaled_coefficients(written: Written) -> None:
    """Divide the coefficients by the scale of the inputs, by which `predict` of 1.4 and older divided the rows."""
    state = written.state
    if "_coef_" in state:  # 1.1 and 1.2: 1.3 renamed it, and turned the public attribute around
        state["coef_"] = state.pop("_coef_")
    elif "coef_" in state and written.is_older_than((1, 1)):
        raise written.refuse("whose coefficients have another form")
    if "coef_" in state and written.is_older_than((1, 5)):
        state["coef_"] = np.asarray(state["coef_"]) / state["_x_std"]
    state.setdefault("_predict_1d", False)


def classes_of_binarizer(state: dict[str, Any]) -> Any:
    """Return the labels of a RidgeClassifier."""
    return state["_label_binarizer"].classes_
