"""Quality of a model's logged predictions with known ground truth, by scikit-learn's metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from models_registry.artifacts.labels import class_of, classes_of, label_text
from models_registry.artifacts.schema import Schema

# Above this number, labels are not listed individually.
MAX_LABELS_LISTED = 100


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """A logged prediction, and its label if it is known."""

    at: datetime
    version: int
    prediction: Any
    confidence: float | None
    label: Any = None


@dataclass(frozen=True, slots=True)
class Quality:
    """Metrics of some rows of one version; `metrics` is empty if no row has a label."""

    logged_rows: int
    labelled_rows: int
    metrics: dict[str, Any]

    @property
    def labelled_share(self) -> float | None:
        """The share of the logged rows with a known label."""
        return self.labelled_rows / self.logged_rows if self.logged_rows else None


@dataclass(frozen=True, slots=True)
class VersionQuality:
    """One version over the whole window, and by day (UTC) of the prediction."""

    number: int
    kind: str
    total: Quality
    days: tuple[tuple[date, Quality], ...]


def quality_by_version(rows: Sequence[JoinedRow], schemas: dict[int, Schema]) -> tuple[VersionQuality, ...]:
    """Return the quality of each version in `schemas` that has rows, highest number first."""
    found: dict[int, dict[date, list[JoinedRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.version in schemas:
            found[row.version][row.at.date()].append(row)
    return tuple(
        VersionQuality(
            number,
            schemas[number].kind,
            quality_of([row for of_day in days.values() for row in of_day], schemas[number]),
            tuple((day, quality_of(days[day], schemas[number])) for day in sorted(days)),
        )
        for number, days in sorted(found.items(), reverse=True)
    )


def quality_of(rows: Sequence[JoinedRow], schema: Schema) -> Quality:
    """Return the metrics for rows of one version."""
    if schema.kind == "regressor":
        labelled = [row for row in rows if _is_number(row.label) and _is_number(row.prediction)]
        metrics = _regression(labelled) if labelled else {}
    else:
        labelled = [row for row in rows if row.label is not None]
        metrics = _classification(labelled, classes_of(schema)) if labelled else {}
    return Quality(len(rows), len(labelled), metrics)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _regression(rows: Sequence[JoinedRow]) -> dict[str, Any]:
    """Return MAE, RMSE and R2; R2 is None for a single row."""
    from sklearn import metrics

    actual, predicted = [row.label for row in rows], [row.prediction for row in rows]
    return {
        "mae": float(metrics.mean_absolute_error(actual, predicted)),
        "rmse": float(metrics.root_mean_squared_error(actual, predicted)),
        "r2": float(metrics.r2_score(actual, predicted)) if len(rows) > 1 else None,
    }


def _classification(rows: Sequence[JoinedRow], classes: dict[str, Any]) -> dict[str, Any]:
    from sklearn import metrics

    # A file with labels of several types stores them as text.
    actual = [label_text(class_of(row.label, classes)) for row in rows]
    predicted = [label_text(class_of(row.prediction, classes)) for row in rows]
    labels = sorted({*actual, *predicted})
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        actual, predicted, labels=labels, zero_division=0
    )
    known = support > 0
    listed = sorted(range(len(labels)), key=lambda index: (-support[index], labels[index]))[:MAX_LABELS_LISTED]
    return {
        "accuracy": float(metrics.accuracy_score(actual, predicted)),
        # Computed by its definition: balanced_accuracy_score warns about predicted labels that are in no row.
        "balanced_accuracy": float(np.mean(recall[known])),
        "f1_macro": float(np.mean(f1)),
        **_ranking(rows, actual, predicted, list(classes)),
        "labels": [
            {
                "label": labels[index],
                "rows": int(support[index]),
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
            }
            for index in listed
        ],
    }


def _ranking(
    rows: Sequence[JoinedRow], actual: Sequence[str], predicted: Sequence[str], classes: Sequence[str]
) -> dict[str, float | None]:
    """Return log loss and ROC AUC of a binary classifier.

    The log has only the probability of the predicted class: with two classes, the other probability follows from it.
    AUC needs rows of both classes.
    """
    from sklearn import metrics

    confidences = [row.confidence for row in rows]
    if len(classes) != 2 or None in confidences or not {*actual, *predicted} <= set(classes):
        return {"log_loss": None, "roc_auc": None}
    positive = classes[1]
    is_positive = [label == positive for label in actual]
    held = np.asarray(confidences, dtype=float)
    scores = np.where([label == positive for label in predicted], held, 1 - held)
    return {
        "log_loss": float(metrics.log_loss(is_positive, scores, labels=[False, True])),
        "roc_auc": float(metrics.roc_auc_score(is_positive, scores)) if len(set(is_positive)) == 2 else None,
    }
