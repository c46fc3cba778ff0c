"""Serves a fitted transformer without `predict` as a model that predicts the transformed rows."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from models_registry.errors import InputError

# Transformers of labels, not of rows: they belong to a model, and decode its predictions.
LABEL_ENCODERS = frozenset({"LabelEncoder", "LabelBinarizer", "MultiLabelBinarizer"})
# Limit of one result: 64 MB as float64, because JSON also writes a sparse result's zeros.
MAX_NUMBERS = 8_000_000


class RowTransformer(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Predicts the result of `transformer` for each row."""

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer
        self.transformer_ = transformer

    def predict(self, rows: Any) -> Any:
        """Return values of shape (rows, columns); InputError if there are more than MAX_NUMBERS values."""
        return self.transform(rows)

    def transform(self, rows: Any) -> Any:
        """Return the output of the transformer, like `predict`."""
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
    """Return whether `value` is a transformer of rows without predictions."""
    return (
        not isinstance(value, type)
        and callable(getattr(value, "transform", None))
        and not callable(getattr(value, "predict", None))
        and type(value).__name__ not in LABEL_ENCODERS
    )
