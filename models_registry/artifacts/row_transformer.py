"""A fitted transformer without `predict`, served as a model that answers what it transforms rows to."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from models_registry.errors import InputError

# Of labels, not of rows: they come beside a model, which answers in their words.
LABEL_ENCODERS = frozenset({"LabelEncoder", "LabelBinarizer", "MultiLabelBinarizer"})
# What one answer may hold, 64 MB as float64: most zeros of a vectorizer's sparse answer are written out in JSON.
MAX_NUMBERS = 8_000_000


class RowTransformer(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Answers what `transformer` makes of each row."""

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer
        self.transformer_ = transformer

    def predict(self, rows: Any) -> Any:
        """Return values of shape (rows, columns); InputError where these are more than MAX_NUMBERS."""
        return self.transform(rows)

    def transform(self, rows: Any) -> Any:
        """Return what `predict` does."""
        values = self.transformer_.transform(rows)
        shape: tuple[int, ...] = getattr(values, "shape", ())
        if len(shape) == 2 and shape[0] * shape[1] > MAX_NUMBERS:
            raise InputError(
                f"The answer to {shape[0]} rows has {shape[1]} values for each; one answer holds at most "
                f"{MAX_NUMBERS}. Send at most {MAX_NUMBERS // shape[1]} rows at a time.",
                code="answer_too_large",
            )
        return values


def transforms_rows(value: Any) -> bool:
    """Return whether `value` is a transformer of rows that has no predictions."""
    return (
        not isinstance(value, type)
        and callable(getattr(value, "transform", None))
        and not callable(getattr(value, "predict", None))
        and type(value).__name__ not in LABEL_ENCODERS
    )
