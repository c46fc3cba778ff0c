"""Warnings of libraries that say nothing about an artifact."""

import warnings


def ignore_missing_names() -> None:
    """Ignore scikit-learn's warning that an array has no feature names.

    The schema has ordered the columns by name; an array is faster than a frame with the same names.
    """
    warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)
