"""What belongs to no larger kind."""

from typing import Any

import numpy as np

from models_registry.artifacts.formats.migrations.change import State, Written


def equal_priors(state: State) -> Any:
    """Return the same probability for each class, which 1.5 and older assumed."""
    count = len(state["classes_"])
    return np.full(count, 1 / count)


def kernel_gamma(state: State) -> Any:
    """Return the kernel's gamma: that of the parameter, or one through the number of features."""
    gamma = state.get("gamma")
    return gamma if gamma is not None else 1 / int(state["X_fit_"].shape[1])


def bandwidth(state: State) -> Any:
    """Return the bandwidth of a density, which was a number only."""
    return state["bandwidth"]


def probability(state: State) -> Any:
    """Return whether a support vector machine has probabilities."""
    return state.get("probability", False)


def private_spline(written: Written) -> None:
    """Give a spline its arrays under the names of scipy 1.16, which made `t` and `c` properties."""
    state = written.state
    if "t" in state and "_t" not in state:
        state["_t"] = np.asarray(state.pop("t"))
    if "c" in state and "_c" not in state:
        state["_c"] = np.asarray(state.pop("c"))
    state["_asarray"] = np.asarray


def number_of_features(written: Written) -> None:
    """Find `n_features_in_`, which 0.24 added, in what the estimator kept before."""
    state = written.state
    if "n_features_in_" in state or not written.is_older_than((1, 0)):
        return
    for name in ("n_features_", "n_features", "_n_features", "n_input_features_"):
        if isinstance(state.get(name), int | np.integer):
            state["n_features_in_"] = int(state[name])
            return
    for name in ("coef_", "components_", "theta_", "feature_log_prob_", "_fit_X", "scale_", "statistics_",
                 "cluster_centers_", "means_"):  # fmt: skip
        shape = np.shape(state.get(name, 0.0)) if not hasattr(state.get(name), "shape") else state[name].shape
        if shape and type(written.target).__name__ not in _OTHER_FORMS:
            state["n_features_in_"] = int(shape[-1])
            return


# Their attributes of these names have another form.
_OTHER_FORMS = frozenset({"GaussianMixture", "BayesianGaussianMixture", "TfidfTransformer", "SVC", "NuSVC"})
