"""Changes of linear models and projections."""

from typing import Any

import numpy as np

from models_registry.artifacts.formats.migrations.change import Written


def logistic_probabilities(written: Written) -> None:
    """Preserve the probabilities of multi_class, which 1.8 removed: it uses a softmax for three classes or more.

    Up to 1.7, `predict_proba` was one-vs-rest for "ovr", for two classes and for liblinear; else a softmax.
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
    """Divide the coefficients by the scale of the inputs; `predict` of 1.4 and older divided the rows instead."""
    state = written.state
    if "_coef_" in state:  # 1.1 and 1.2: 1.3 renamed it, and transposed the public attribute
        state["coef_"] = state.pop("_coef_")
    elif "coef_" in state and written.is_older_than((1, 1)):
        state["coef_"] = np.asarray(state["coef_"]).T
        state["intercept_"] = state["_y_mean"]
    if "coef_" in state and written.is_older_than((1, 5)):
        state["coef_"] = np.asarray(state["coef_"]) / state["_x_std"]
    state.setdefault("_predict_1d", False)


def classes_of_binarizer(state: dict[str, Any]) -> Any:
    """Return the labels of a RidgeClassifier."""
    return state["_label_binarizer"].classes_


def private_centres(written: Written) -> None:
    """Rename a projection's centres and scales, which 0.24 made private."""
    for name in ("x_mean", "y_mean", "x_std", "y_std"):
        if f"{name}_" in written.state:
            written.state.setdefault(f"_{name}", written.state[f"{name}_"])


def generalized_linear_loss(written: Written) -> None:
    """Replace a distribution and a link of 1.0 and older by a loss of sklearn/_loss."""
    from sklearn._loss import loss as losses

    state = written.state
    if "coef_" not in state or "_base_loss" in state:
        return
    name = type(written.target).__name__
    if name == "PoissonRegressor":
        state["_base_loss"] = losses.HalfPoissonLoss()
    elif name == "GammaRegressor":
        state["_base_loss"] = losses.HalfGammaLoss()
    elif name == "TweedieRegressor" and type(state.get("power")) in (int, float):
        is_identity = state.get("link") == "identity" or (state.get("link") == "auto" and state["power"] <= 0)
        kind = losses.HalfTweedieLossIdentity if is_identity else losses.HalfTweedieLoss
        state["_base_loss"] = kind(power=state["power"])
    else:
        raise written.refuse("its distribution no longer exists")


def private_support(written: Written) -> None:
    """Rename the attributes of a support vector machine that 0.22 made private."""
    for old, new in (("n_support_", "_n_support"), ("probA_", "_probA"), ("probB_", "_probB")):
        if old in written.state:
            written.state.setdefault(new, written.state.pop(old))


def counted_support(written: Written) -> None:
    """Set the count of support vectors of regression and one-class models: it was uninitialized memory."""
    from sklearn.svm import SVR, NuSVR, OneClassSVM

    is_older = written.is_older_than((0, 22))
    if is_older and isinstance(written.target, SVR | NuSVR | OneClassSVM) and "support_" in written.state:
        written.state["_n_support"] = np.full(2, len(written.state["support_"]), dtype=np.int32)


def independent_probabilities(written: Written) -> None:
    """Preserve the probabilities of discriminant analysis for three classes: one logistic function per class."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    from models_registry.artifacts.formats.migrations.former import OneVsRestDiscriminantAnalysis

    is_several = type(written.target) is LinearDiscriminantAnalysis and len(written.state.get("classes_", ())) > 2
    if is_several and written.is_older_than((0, 21)):
        written.become(OneVsRestDiscriminantAnalysis)
