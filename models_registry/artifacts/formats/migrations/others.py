"""Changes of other estimators."""

import inspect
from functools import cache
from typing import Any

import numpy as np

from models_registry.artifacts.formats.migrations.change import State, Written


def equal_priors(state: State) -> Any:
    """Return the equal class probabilities that 1.5 and older assumed."""
    count = len(state["classes_"])
    return np.full(count, 1 / count)


def kernel_gamma(state: State) -> Any:
    """Return the kernel's gamma: the parameter's value, or one divided by the number of features."""
    gamma = state.get("gamma")
    return gamma if gamma is not None else 1 / int(state["X_fit_"].shape[1])


def calibrated_member(written: Written) -> None:
    """Rename a calibrated classifier's calibrators and classes to the names of 0.24."""
    state = written.state
    if "calibrators_" in state:
        state.setdefault("calibrators", state["calibrators_"])
    if state.get("classes") is None and "classes_" in state:
        state["classes"] = state["classes_"]


def no_scale(state: State) -> Any:
    """Return the scale of targets that were only centred."""
    return 1.0


def bandwidth(state: State) -> Any:
    """Return the bandwidth of a density, which could only be a number."""
    return state["bandwidth"]


def probability(state: State) -> Any:
    """Return whether a support vector machine has probabilities."""
    return state.get("probability", False)


def private_spline(written: Written) -> None:
    """Rename a spline's arrays as in scipy 1.16, which made `t` and `c` properties."""
    state = written.state
    if "t" in state and "_t" not in state:
        state["_t"] = np.asarray(state.pop("t"))
    if "c" in state and "_c" not in state:
        state["_c"] = np.asarray(state.pop("c"))
    state["_asarray"] = np.asarray


def later_parameters(written: Written) -> None:
    """Add the parameters that an estimator's version did not have, with defaults that preserve its behaviour."""
    for name, default in _defaults_of(type(written.target)):  # type: ignore[arg-type]
        written.state.setdefault(name, default)


@cache
def _defaults_of(cls: type) -> tuple[tuple[str, Any], ...]:
    parameters = inspect.signature(cls).parameters.values()
    return tuple((one.name, one.default) for one in parameters if one.default is not one.empty)


def without_number_of_features(written: Written) -> None:
    """Remove the number of features of an estimator that uses none: it was None in 0.24."""
    if written.state.get("n_features_in_", 0) is None:
        del written.state["n_features_in_"]


def default_strategy(written: Written) -> None:
    """Set the strategy that was the default during its deprecation (0.22 and 0.23), and the fitted attribute."""
    if written.state.get("strategy") == "warn":
        written.state["strategy"] = "stratified"
    if "classes_" in written.state:
        written.state.setdefault("_strategy", written.state.get("strategy"))


def number_of_neighbours(state: State) -> Any:
    """Return the number of rows that a neighbours estimator stores."""
    return int(state["_fit_X"].shape[0])


def label_of_outliers(state: State) -> Any:
    """Return the label of rows without neighbours, one for each output, in the form of the fitted attribute."""
    label, classes = state.get("outlier_label"), state.get("classes_")
    return None if label is None else [label] * (len(classes) if isinstance(classes, list) else 1)


def uncentred_components(written: Written) -> None:
    """Refuse components that were found without centring and scaling the rows."""
    if "components_" in written.state and "mean_" not in written.state:
        raise written.refuse("it has normalize_components=False")


def interpolation(written: Written) -> None:
    """Rename an isotonic regression's thresholds to their public names, and set its interpolation function."""
    state = written.state
    for old, new in (("_necessary_X_", "X_thresholds_"), ("_necessary_y_", "y_thresholds_")):
        if old in state:
            state.setdefault(new, state[old])


def penalty_of_transform(written: Written) -> None:
    """Refuse a factorization whose penalty has another meaning since 1.0; without a penalty nothing changes."""
    # 1.0 and 1.1 keep the parameter's name with the value "deprecated".
    if written.state.get("alpha", 0) not in (0, "deprecated"):
        raise written.refuse("it has a penalty (alpha)")


def number_of_features(written: Written) -> None:
    """Derive `n_features_in_`, which 0.24 added, from other attributes."""
    state = written.state
    if "n_features_in_" in state or not written.is_older_than((1, 0)):
        return
    count = _counted_elsewhere(state)
    if count is not None:
        state["n_features_in_"] = count
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


def _counted_elsewhere(state: State) -> int | None:
    """Return the number of features if an attribute has one entry for each, under its own name."""
    fitted_shape = state.get("shape_fit_")
    if isinstance(fitted_shape, tuple) and len(fitted_shape) == 2:
        return int(fitted_shape[1])
    if "initial_imputer_" in state:
        return len(state["initial_imputer_"].statistics_)
    # RFE stores the number of selected features as n_features_.
    for name in ("ranking_", "x_mean_", "n_bins_", "categories_"):
        if isinstance(state.get(name), np.ndarray | list):
            return len(state[name])
    return None


# Their attributes of these names have another form.
_OTHER_FORMS = frozenset({"GaussianMixture", "BayesianGaussianMixture", "TfidfTransformer", "SVC", "NuSVC"})
