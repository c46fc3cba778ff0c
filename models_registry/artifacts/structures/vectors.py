"""Support vectors, sparse matrices, splines, vocabularies and random states."""

from typing import Any

import numpy as np
import scipy.sparse

from models_registry.artifacts.structures.bounds import are_within, refuse
from models_registry.errors import UnsafeStructure

_TWISTER_WORDS = 624
_LARGEST_INDEX = 2**31 - 1


def check_sparse(matrix: Any) -> None:
    """Refuse a sparse matrix with an index outside of its shape."""
    try:
        if matrix.format in {"csr", "csc", "bsr"}:
            matrix.check_format(full_check=True)
        elif matrix.format == "coo":
            matrix._check()
    except Exception as error:
        # scipy raises one of many types (ValueError, TypeError, AttributeError, IndexError).
        raise refuse(f"holds a sparse matrix that contradicts itself ({error})") from error


def check_support_vectors(model: Any) -> None:
    """Refuse a support vector machine whose vectors, coefficients and counts do not match."""
    count = len(model.support_)
    classes = len(model._n_support)
    pairs = classes * (classes - 1) // 2
    is_classifier = model._impl in {"c_svc", "nu_svc"}
    if is_classifier and (classes != len(model.classes_) or int(np.sum(model._n_support)) != count):
        raise refuse("holds another number of support vectors than it declares")
    if (np.asarray(model._n_support) < 0).any():
        raise refuse("holds a negative number of support vectors")
    coefficients = model._dual_coef_
    if scipy.sparse.issparse(coefficients):
        fits = coefficients.data.shape == ((classes - 1) * count,)
    else:
        fits = coefficients.shape == (classes - 1, count)
    vectors = model.support_vectors_
    by_index = model.kernel == "precomputed" or callable(model.kernel)
    if by_index:
        fits = fits and are_within(model.support_, model.shape_fit_[0])
    elif vectors.shape != (count, model.n_features_in_):
        fits = False
    if not fits or model._intercept_.shape != (pairs,):
        raise refuse("holds support vectors whose shapes do not fit together")
    for probabilities in (model._probA, model._probB):
        if probabilities.shape not in {(0,), (pairs,)}:
            raise refuse("holds support vectors whose probabilities do not fit")


def check_spline(spline: Any) -> None:
    """Refuse a spline with too few coefficients for its knots."""
    knots, coefficients, degree = np.asarray(spline.t), np.asarray(spline.c), spline.k
    plain = isinstance(degree, int | np.integer) and degree >= 0 and knots.ndim == 1
    if not plain or not np.isfinite(knots).all() or (np.diff(knots) < 0).any():
        raise refuse("holds a spline whose knots are not sorted")
    if getattr(getattr(spline, "_asarray", None), "__name__", "asarray") != "asarray":
        raise refuse("holds a spline with a function of its own")
    if len(knots) < 2 * (degree + 1) or coefficients.ndim < 1 or len(coefficients) < len(knots) - degree - 1:
        raise refuse("holds a spline with too few coefficients")


def check_vocabulary(vectorizer: Any) -> None:
    """Refuse a vocabulary whose indices are not 0, 1, 2, …, and a vectorizer that would open a request's paths."""
    if getattr(vectorizer, "input", "content") != "content":
        raise UnsafeStructure(
            f"The artifact's {type(vectorizer).__name__} has input={vectorizer.input!r}, so it would open files that "
            "a request names. Fit it with input='content'."
        )
    vocabulary = getattr(vectorizer, "vocabulary_", None)
    if vocabulary is None:
        return
    if type(vocabulary) is not dict:
        raise refuse(f"holds a vocabulary that is a {type(vocabulary).__name__}, not a plain dictionary")
    numbers = np.array(list(vocabulary.values()))
    if len(numbers) and (numbers.dtype.kind not in "iu" or not (np.sort(numbers) == np.arange(len(numbers))).all()):
        raise refuse("holds a vocabulary whose numbers are not those of its columns")


def check_hasher(hasher: Any) -> None:
    """Refuse a hasher whose number of columns is not valid."""
    if not isinstance(hasher.n_features, int | np.integer) or not 0 < hasher.n_features <= _LARGEST_INDEX:
        raise refuse(f"holds a hasher of {str(hasher.n_features)[:80]} columns")


def check_random_state(generator: Any) -> None:
    """Refuse a Mersenne Twister whose position is outside of its state."""
    bits = getattr(generator, "bit_generator", None) or generator._bit_generator
    state = bits.state
    if state["bit_generator"] == "MT19937" and not 0 <= state["state"]["pos"] <= _TWISTER_WORDS:
        raise refuse("holds a random state that points outside of itself")
