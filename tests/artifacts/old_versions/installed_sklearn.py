# ruff: noqa: F401
"""scikit-learn of the environment that runs `generate.py`: what its version lacks is made as Missing."""

import functools
import importlib

import scipy.linalg

if not hasattr(scipy.linalg, "pinv2"):
    # scikit-learn 0.24 and older import it; scipy 1.9, the first for Python 3.11, calls it pinv.
    scipy.linalg.pinv2 = scipy.linalg.pinv

import sklearn
from sklearn import (
    calibration,
    cluster,
    compose,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_extraction,
    feature_selection,
    gaussian_process,
    impute,
    isotonic,
    kernel_approximation,
    kernel_ridge,
    linear_model,
    metrics,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    semi_supervised,
    svm,
    tree,
)

try:
    from sklearn.utils import all_estimators
except ImportError:
    from sklearn.utils.testing import all_estimators

for experiment in ("enable_halving_search_cv", "enable_iterative_imputer", "enable_hist_gradient_boosting"):
    try:
        importlib.import_module("sklearn.experimental." + experiment)
    except ImportError:
        continue

VERSION = tuple(int(part) for part in sklearn.__version__.split(".")[:2])


class Missing:
    """Stands for an estimator, or a form of one, that the version does not have: it cannot be fitted."""

    def __init__(self, *arguments, **settings):
        self.settings = settings

    def fit(self, *arguments, **settings):
        raise NotImplementedError("not in this version")

    transform = predict = fit


class Lenient:
    """A module whose absent classes, and classes that do not know a parameter, are made as Missing."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        found = getattr(self.module, name, Missing)
        if isinstance(found, type(sklearn)):
            return Lenient(found)
        return (
            functools.wraps(found, updated=())(lambda *a, **k: made(found, a, k)) if isinstance(found, type) else found
        )


def made(kind, arguments, settings):
    """Return an instance, or Missing where the version has no such parameter."""
    try:
        return kind(*arguments, **settings)
    except (TypeError, ValueError):
        return Missing()


if VERSION < (1, 1):
    for name, module in list(globals().items()):
        if getattr(module, "__name__", "").startswith("sklearn.") and isinstance(module, type(sklearn)):
            globals()[name] = Lenient(module)
