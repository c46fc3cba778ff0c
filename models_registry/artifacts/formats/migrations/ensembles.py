"""Changes of boosting and other ensembles."""

from typing import Any

import numpy as np

from models_registry.artifacts.formats.migrations.change import State, Written
from models_registry.artifacts.formats.migrations.stand_ins import RemovedObject
from models_registry.artifacts.structures.trees import check_tree

_LOSS_NAMES = {
    "deviance": "log_loss", "auto": "log_loss", "binary_crossentropy": "log_loss",
    "categorical_crossentropy": "log_loss", "ls": "squared_error", "least_squares": "squared_error",
    "lad": "absolute_error", "least_absolute_deviation": "absolute_error", "squared_loss": "squared_error",
    "log": "log_loss",
}  # fmt: skip


def renamed_losses(written: Written) -> None:
    """Rename the value of the parameter `loss`."""
    loss = written.state.get("loss")
    if isinstance(loss, str):
        written.state["loss"] = _LOSS_NAMES.get(loss, loss)


def _is_gone(state: State) -> bool:
    return isinstance(state.get("_loss", RemovedObject()), RemovedObject)


def gradient_boosting_loss(written: Written) -> None:
    """Replace a loss of scikit-learn 1.3 and older by one of sklearn/_loss, and count the trees of a stage."""
    state = written.state
    estimators = state.get("estimators_")
    if estimators is None:
        return
    state.setdefault("n_trees_per_iteration_", int(estimators.shape[1]))
    if _is_gone(state):
        state["_loss"] = _loss_of(written, state["n_trees_per_iteration_"], quantile=state.get("alpha"))
    state.pop("loss_", None)


def first_scores(written: Written) -> None:
    """Replace the initial estimator of 0.20 and older by one of sklearn.dummy."""
    state = written.state
    init = state.get("init_")
    if not isinstance(init, RemovedObject) or "estimators_" not in state:
        return
    said = vars(init)
    if "n_classes" in said:
        state["init_"] = "zero"
    elif "mean" in said or "quantile" in said:
        state["init_"] = _constant(float(said["mean" if "mean" in said else "quantile"]))
    elif "prior" in said:
        # The exponential loss started with half of the logarithm.
        logarithm = float(said["prior"]) * (2.0 if state.get("loss") == "exponential" else 1.0)
        state["init_"] = _prior([1 / (1 + np.exp(logarithm)), 1 / (1 + np.exp(-logarithm))])
    elif "priors" in said:
        state["init_"] = _prior(said["priors"])
        state["_loss"] = _multinomial(len(said["priors"]), begins_with_probabilities=True)
    else:
        raise written.refuse("its first scores are not known")


def _constant(value: float) -> Any:
    from sklearn.dummy import DummyRegressor

    dummy = DummyRegressor(strategy="constant", constant=value)
    dummy.constant_ = np.array([[value]])
    dummy.n_outputs_ = 1
    return dummy


def _prior(probabilities: Any) -> Any:
    """Return the estimator that predicts these probabilities, of shape (n_classes,)."""
    from sklearn.dummy import DummyClassifier

    dummy = DummyClassifier(strategy="prior")
    dummy.class_prior_ = np.array(probabilities, dtype=np.float64)
    dummy.classes_ = np.arange(len(dummy.class_prior_))
    dummy.n_classes_ = len(dummy.class_prior_)
    dummy.n_outputs_, dummy._strategy, dummy.sparse_output_ = 1, "prior", False
    return dummy


def histogram_boosting_loss(written: Written) -> None:
    """Replace a loss of scikit-learn 1.0 and older by one of sklearn/_loss."""
    state = written.state
    if "_predictors" in state and _is_gone(state):
        state["_loss"] = _loss_of(written, state["n_trees_per_iteration_"], quantile=state.get("quantile"))
    state.pop("loss_", None)


def baseline_of_classes(written: Written) -> None:
    """Transpose the initial scores of histogram boosting to a row; for several classes they were a column."""
    baseline = written.state.get("_baseline_prediction")
    if isinstance(baseline, np.ndarray) and baseline.ndim == 2:
        written.state["_baseline_prediction"] = baseline.reshape(1, -1)


def _loss_of(written: Written, trees: int, *, quantile: Any) -> Any:
    from sklearn._loss import loss as losses
    from sklearn.base import is_classifier

    name = written.state.get("loss")
    if name == "log_loss" and is_classifier(written.target):
        return losses.HalfBinomialLoss() if trees == 1 else _multinomial(trees)
    if name == "quantile":
        return losses.PinballLoss(quantile=quantile)
    if name == "huber":
        return losses.HuberLoss(quantile=quantile)
    made = {
        "exponential": losses.ExponentialLoss, "squared_error": losses.HalfSquaredError,
        "absolute_error": losses.AbsoluteError, "poisson": losses.HalfPoissonLoss, "gamma": losses.HalfGammaLoss,
    }.get(str(name))  # fmt: skip
    if made is None:
        raise written.refuse(f"it has the loss {name!r}")
    return made()


def _multinomial(classes: int, *, begins_with_probabilities: bool = False) -> Any:
    """Return the multiclass loss with the earlier initial scores: logarithms that are not centred.

    Up to 0.20 the probabilities themselves were the initial scores.
    """
    from sklearn._loss.loss import HalfMultinomialLoss

    from models_registry.artifacts.formats.migrations.former import PlainProbabilities, UncentredLogarithms

    loss = HalfMultinomialLoss(n_classes=classes)
    loss.link = PlainProbabilities() if begins_with_probabilities else UncentredLogarithms()
    return loss


def adaptive_scores(written: Written) -> None:
    """Preserve the scores of SAMME.R, which 1.6 removed, and those of SAMME before 1.3."""
    from sklearn.ensemble import AdaBoostClassifier

    from models_registry.artifacts.formats.migrations.former import (
        SammeClassifier,
        SammeOfProbabilities,
        SammeRClassifier,
    )

    algorithm = written.state.get("algorithm", "SAMME")
    is_older = written.is_older_than((1, 3))
    if algorithm not in {"SAMME", "SAMME.R", "deprecated"}:
        raise written.refuse(f"it has the algorithm {algorithm!r}")
    if (algorithm == "SAMME.R" or is_older) and type(written.target) is not AdaBoostClassifier:
        raise written.refuse(f"it has the algorithm {algorithm!r}")
    if algorithm == "SAMME.R":
        written.become(SammeRClassifier)
    elif written.is_older_than((0, 22)):
        written.become(SammeOfProbabilities)
    elif is_older:
        written.become(SammeClassifier)


def isolation_threshold(written: Written) -> None:
    """Preserve the threshold of behaviour="old", the default up to 0.21, which differs from decision_function's."""
    from sklearn.ensemble import IsolationForest

    from models_registry.artifacts.formats.migrations.former import ThresholdIsolationForest

    if "_threshold_" in written.state and type(written.target) is IsolationForest:
        written.become(ThresholdIsolationForest)


def isolation_paths(written: Written) -> None:
    """Compute the path lengths that 1.3 stores, from validated trees."""
    state = written.state
    if "estimators_" not in state or "_decision_path_lengths" in state:
        return
    from sklearn.ensemble._iforest import _average_path_length

    trees = [member.tree_ for member in state["estimators_"]]
    for tree in trees:
        # Traverses the nodes without bounds checks, before the structure of the whole model is validated.
        check_tree(tree)
    length_of = _path_length_of_before if written.is_older_than((0, 21)) else _average_path_length
    state["_average_path_length_per_tree"] = tuple(length_of(tree.n_node_samples) for tree in trees)
    state["_decision_path_lengths"] = tuple(tree.compute_node_depths() for tree in trees)


def _path_length_of_before(counts: Any) -> Any:
    """Return the mean path lengths for leaves of these sizes, up to 0.20 (sklearn/ensemble/iforest.py of 0.20)."""
    counts = np.asarray(counts, dtype=np.float64)
    several = np.maximum(counts, 2.0)
    lengths = 2.0 * (np.log(several - 1.0) + np.euler_gamma) - 2.0 * (several - 1.0) / several
    return np.where(counts <= 1, 1.0, lengths)


def stacking_labels(written: Written) -> None:
    """Create the label encoder that 1.2 renamed and extended to several outputs."""
    if "_label_encoder" in written.state or "classes_" not in written.state:
        return
    from sklearn.preprocessing import LabelEncoder

    encoder = LabelEncoder()
    encoder.classes_ = written.state["classes_"]
    written.state["_label_encoder"] = written.state.get("_le", encoder)
