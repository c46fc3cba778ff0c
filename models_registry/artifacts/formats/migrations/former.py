"""Estimators that compute like an older scikit-learn, where the installed version computes differently."""

from typing import Any

import numpy as np
from sklearn._loss.link import MultinomialLogit
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import AdaBoostClassifier, IsolationForest
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.preprocessing import QuantileTransformer
from sklearn.preprocessing._data import BOUNDS_THRESHOLD
from sklearn.utils.extmath import softmax
from sklearn.utils.validation import check_is_fitted


class UncentredLogarithms(MultinomialLogit):  # type: ignore[misc]
    """The link of multiclass gradient boosting up to scikit-learn 1.3, which differs by a constant per row.

    sklearn/ensemble/_gb_losses.py of 1.3, MultinomialDeviance.get_init_raw_predictions.
    """

    def link(self, y_pred: Any, out: Any = None) -> Any:
        """Return the logarithms of probabilities of shape (n_rows, n_classes)."""
        return np.log(y_pred, out=out)


class PlainProbabilities(MultinomialLogit):  # type: ignore[misc]
    """The link of multiclass gradient boosting up to scikit-learn 0.20, which started with the probabilities.

    sklearn/ensemble/gradient_boosting.py of 0.20, PriorProbabilityEstimator.
    """

    def link(self, y_pred: Any, out: Any = None) -> Any:
        """Return the probabilities, of shape (n_rows, n_classes)."""
        return np.positive(y_pred, out=out)


class SammeClassifier(AdaBoostClassifier):  # type: ignore[misc]
    """AdaBoost by the votes of its members, up to scikit-learn 1.2 (algorithm="SAMME").

    A vote counts for one class, and against none of the others. sklearn/ensemble/_weight_boosting.py of 1.2,
    `decision_function`.
    """

    def decision_function(self, rows: Any) -> Any:
        """Return the scores: shape (n_rows,) for two classes, else (n_rows, n_classes)."""
        check_is_fitted(self)
        rows = self._check_X(rows)
        classes = self.classes_[:, np.newaxis]
        members = zip(self.estimators_, self.estimator_weights_, strict=False)
        score = sum((member.predict(rows) == classes).T * weight for member, weight in members)
        score = score / np.sum(self.estimator_weights_)
        if self.n_classes_ == 2:
            return score[:, 1] - score[:, 0]
        return score


class SammeOfProbabilities(SammeClassifier):
    """AdaBoost by votes up to scikit-learn 0.21, with the weighted mean of the members' probabilities.

    sklearn/ensemble/weight_boosting.py of 0.21, `predict_proba`.
    """

    def predict_proba(self, rows: Any) -> Any:
        """Return the probabilities, of shape (n_rows, n_classes)."""
        check_is_fitted(self)
        rows = self._check_X(rows)
        if self.n_classes_ == 1:
            return np.ones((rows.shape[0], 1))
        members = zip(self.estimators_, self.estimator_weights_, strict=False)
        mean = sum(member.predict_proba(rows) * weight for member, weight in members) / self.estimator_weights_.sum()
        share = np.exp(mean / (self.n_classes_ - 1))
        return share / share.sum(axis=1, keepdims=True)


class SammeRClassifier(AdaBoostClassifier):  # type: ignore[misc]
    """AdaBoost by the probabilities of its members, the default up to scikit-learn 1.5 (algorithm="SAMME.R").

    Zhu, Zou, Rosset, Hastie: Multi-class AdaBoost (2009), algorithm 4; sklearn/ensemble/_weight_boosting.py of 1.5,
    `_samme_proba` and `decision_function`.
    """

    def decision_function(self, rows: Any) -> Any:
        """Return the scores: shape (n_rows,) for two classes, else (n_rows, n_classes)."""
        check_is_fitted(self)
        rows = self._check_X(rows)
        score = sum(self._member_score(member, rows) for member in self.estimators_)
        score = score / np.sum(self.estimator_weights_)
        if self.n_classes_ == 2:
            return score[:, 1] - score[:, 0]
        return score

    def _member_score(self, member: Any, rows: Any) -> Any:
        probability = member.predict_proba(rows)
        # Probabilities of zero are increased slightly, so that the logarithm is defined.
        log = np.log(np.clip(probability, np.finfo(probability.dtype).eps, None))
        return (self.n_classes_ - 1) * (log - log.sum(axis=1, keepdims=True) / self.n_classes_)


class _OneVsRestProbabilities:
    """Probabilities from one logistic function per class, normalized to the sum 1.

    sklearn/linear_model/_base.py, LinearClassifierMixin._predict_proba_lr.
    """

    def predict_proba(self, rows: Any) -> Any:
        """Return the probabilities, of shape (n_rows, n_classes)."""
        return self._predict_proba_lr(rows)  # type: ignore[attr-defined]


class _TwoClassSoftmax:
    """Probabilities of two classes as a softmax over the score and its negative.

    sklearn/linear_model/_logistic.py of 1.7, LogisticRegression.predict_proba.
    """

    def predict_proba(self, rows: Any) -> Any:
        """Return the probabilities, of shape (n_rows, 2)."""
        score = self.decision_function(rows)  # type: ignore[attr-defined]
        return softmax(np.c_[-score, score], copy=False)


class OneVsRestDiscriminantAnalysis(_OneVsRestProbabilities, LinearDiscriminantAnalysis):  # type: ignore[misc]
    """Linear discriminant analysis of three classes or more, up to scikit-learn 0.20."""


class ThresholdIsolationForest(IsolationForest):  # type: ignore[misc]
    """IsolationForest(behaviour="old"), up to scikit-learn 0.21: the outlier threshold is not 0.

    sklearn/ensemble/iforest.py of 0.21, `predict`.
    """

    def predict(self, rows: Any) -> Any:
        """Return 1 for inliers, -1 for outliers: shape (n_rows,)."""
        return np.where(self.decision_function(rows) < self._threshold_, -1, 1)


class ClippedQuantileTransformer(QuantileTransformer):  # type: ignore[misc]
    """QuantileTransformer up to scikit-learn 0.20, which kept uniform outputs away from 0 and 1, too.

    sklearn/preprocessing/data.py of 0.20, `_transform_col`.
    """

    def _transform_col(self, column: Any, quantiles: Any, inverse: bool) -> Any:
        if inverse or self.output_distribution != "uniform":
            return super()._transform_col(column, quantiles, inverse)
        with np.errstate(invalid="ignore"):
            is_lowest = column - BOUNDS_THRESHOLD < quantiles[0]
            is_highest = column + BOUNDS_THRESHOLD > quantiles[-1]
        found = super()._transform_col(column, quantiles, inverse)
        found[is_highest] = 1.0
        found[is_lowest] = 0.0
        edge = BOUNDS_THRESHOLD - np.spacing(1)
        return np.clip(found, edge, 1 - edge)


class OneVsRestLogisticRegression(_OneVsRestProbabilities, LogisticRegression):  # type: ignore[misc]
    """Logistic regression with multi_class="ovr", up to scikit-learn 1.7."""


class OneVsRestLogisticRegressionCV(_OneVsRestProbabilities, LogisticRegressionCV):  # type: ignore[misc]
    """Logistic regression with multi_class="ovr" and a cross-validated penalty, up to scikit-learn 1.7."""


class SoftmaxLogisticRegression(_TwoClassSoftmax, LogisticRegression):  # type: ignore[misc]
    """Logistic regression of two classes with multi_class="multinomial", up to scikit-learn 1.7."""


class SoftmaxLogisticRegressionCV(_TwoClassSoftmax, LogisticRegressionCV):  # type: ignore[misc]
    """Logistic regression of two classes, "multinomial", with a cross-validated penalty, up to scikit-learn 1.7."""


class FrequencyTransformer(TfidfTransformer):  # type: ignore[misc]
    """TfidfTransformer(use_idf=False) up to scikit-learn 1.0, whose fit set no attributes."""

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: there was nothing to fit."""
        return True
