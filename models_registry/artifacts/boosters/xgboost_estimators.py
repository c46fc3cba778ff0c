"""Replacements for XGBoost's classes in files: they read the stored state, and never run XGBoost's code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models_registry.artifacts.boosters import xgboost_document
from models_registry.artifacts.boosters.estimators import Boosted, BoostedClassifier, BoostedRegressor
from models_registry.artifacts.boosters.model import BoostedModel
from models_registry.errors import BrokenArtifact, NoPrediction

State = dict[str, Any]


def _broken(what: str) -> BrokenArtifact:
    return BrokenArtifact(f"The artifact's XGBoost model {what}. Publish it again from its training script.")


class Booster(BoostedRegressor):
    """Replaces `xgboost.Booster`, and predicts like its `predict`: scores, probabilities, or class numbers."""

    model: BoostedModel
    blob: bytes

    def __setstate__(self, state: State) -> None:
        """Read the model from the state in a pickle."""
        blob = state.get("handle") if isinstance(state, dict) else None
        if not isinstance(blob, bytes | bytearray):
            raise _broken("has no content, so it was probably never trained")
        self.load(bytes(blob), names=state.get("feature_names"), best=state.get("best_iteration"))

    def load(self, blob: bytes, *, names: Any = None, best: Any = None) -> None:
        """Use the model in `blob`; older versions stored names and best iteration separately."""
        self.blob = blob
        self.model = _with_older(xgboost_document.decode(blob), names, best)
        self.take(self, iterations=None)

    def predict(self, rows: Any) -> Any:
        """Return the predictions of `Booster.predict`; for multi:softmax these are class numbers."""
        answers = self._answers(rows)
        if self.model_.objective == "multi:softmax":
            return answers.argmax(axis=1).astype(np.float64)
        return answers[:, 0] if answers.shape[1] == 1 else answers


def _with_older(model: BoostedModel, names: Any, best: Any) -> BoostedModel:
    if not model.feature_names and isinstance(names, list) and len(names) == model.n_features:
        model = replace(model, feature_names=tuple(str(name)[:1000] for name in names))
    if model.best_iteration is None and isinstance(best, int) and 0 <= best < model.n_iterations:
        model = replace(model, best_iteration=best)
    return model


class _Wrapper(Boosted):
    """Base of the replacements for XGBoost's scikit-learn estimators."""

    def __setstate__(self, state: State) -> None:
        """Read the part of a pickled state that predictions need; training parameters are ignored."""
        booster = state.get("_Booster") if isinstance(state, dict) else None
        if booster is None:
            return  # an unfitted template inside a search
        if not isinstance(booster, Booster):
            raise _broken("has an object in the place of its booster that is not a booster")
        objective = state.get("objective")
        if objective is not None and not isinstance(objective, str):
            raise NoPrediction(
                "The XGBoost model was trained with a function as its objective, which is not served. Train it with "
                "the name of an objective, or export it as ONNX."
            )
        self.take_booster(booster, missing=state.get("missing", np.nan), state=state)

    def take_booster(self, booster: Booster, *, missing: Any, state: State) -> None:
        """Predict with `booster` up to the best iteration, like the wrapper."""
        best = booster.model.best_iteration
        self.take(booster, iterations=None if best is None else best + 1, missing=missing)


class XGBRegressor(_Wrapper, BoostedRegressor):
    """Replaces `xgboost.XGBRegressor`."""


class XGBRFRegressor(XGBRegressor):
    """Replaces `xgboost.XGBRFRegressor`."""


class XGBRanker(XGBRegressor):
    """Replaces `xgboost.XGBRanker`."""


class XGBClassifier(_Wrapper, BoostedClassifier):
    """Replaces `xgboost.XGBClassifier`."""

    def take_booster(self, booster: Booster, *, missing: Any, state: State) -> None:
        """Predict the labels of the training data; older versions of XGBoost encode them themselves."""
        super().take_booster(booster, missing=missing, state=state)
        encoder = state.get("_le")
        self.take_classes(getattr(encoder, "classes_", state.get("classes_")))


class XGBRFClassifier(XGBClassifier):
    """Replaces `xgboost.XGBRFClassifier`."""


_BY_KIND = {"classifier": XGBClassifier, "regressor": XGBRegressor, "ranker": XGBRanker}


def open_xgboost(path: Path) -> Any:
    """Return the model in a `.ubj` or `.json` file, as the class that wrote it: a wrapper, or the booster."""
    booster = Booster()
    booster.load(path.read_bytes())
    written = _written_by(booster.model)
    cls = _BY_KIND.get(written.get("kind", ""))
    if cls is None:
        return booster
    estimator = cls()
    estimator.take_booster(booster, missing=np.nan, state=written)
    return estimator


def _written_by(model: BoostedModel) -> State:
    """Return the wrapper that wrote a file, and its classes if the wrapper is an older one."""
    text = dict(model.attributes).get("scikit_learn", "")
    try:
        meta = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(meta, dict):
        return {}
    kind = meta.get("_estimator_type") or str(meta.get("type", "")).removeprefix("XGB").removeprefix("RF").lower()
    encoder = meta.get("_le")
    labels = encoder.get("classes_") if isinstance(encoder, dict) else None
    plain = isinstance(labels, list) and all(isinstance(one, str | int | float) for one in labels)
    return {"kind": kind, "classes_": labels if plain else None}
