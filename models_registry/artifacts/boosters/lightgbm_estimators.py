"""Replacements for LightGBM's classes in files: they read the stored state, and never run LightGBM's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models_registry.artifacts.boosters import lightgbm_text
from models_registry.artifacts.boosters.estimators import Boosted, BoostedClassifier, BoostedRegressor
from models_registry.artifacts.boosters.model import BoostedModel
from models_registry.errors import BrokenArtifact

State = dict[str, Any]
# LightGBM renamed the attribute: `handle` up to 4.0, `_handle` since.
_HANDLES = ("_handle", "handle")


def _broken(what: str) -> BrokenArtifact:
    return BrokenArtifact(f"The artifact's LightGBM model {what}. Publish it again from its training script.")


class Booster(BoostedRegressor):
    """Replaces `lightgbm.Booster`, and predicts like its `predict`: with the best iterations, if known."""

    model: BoostedModel
    blob: str

    def __setstate__(self, state: State) -> None:
        """Read the model from the state in a pickle."""
        texts = [state.get(name) for name in _HANDLES] if isinstance(state, dict) else []
        text = next((one for one in texts if isinstance(one, str)), None)
        if text is None:
            raise _broken("has no content, so it was probably never trained")
        self.load(text, best=state.get("best_iteration"))

    def load(self, text: str, *, best: Any = None) -> None:
        """Use the model in `text`; a file holds only the best iterations."""
        self.blob = text
        self.model = lightgbm_text.decode(text)
        self.take(self, iterations=best if isinstance(best, int) and best > 0 else None)


class _Wrapper(Boosted):
    """Base of the replacements for LightGBM's scikit-learn estimators."""

    def __setstate__(self, state: State) -> None:
        """Read the part of a pickled state that predictions need; training parameters are ignored."""
        booster = state.get("_Booster") if isinstance(state, dict) else None
        if booster is None:
            return  # an unfitted template inside a search
        if not isinstance(booster, Booster):
            raise _broken("has an object in the place of its booster that is not a booster")
        self.take_booster(booster, state)

    def take_booster(self, booster: Booster, state: State) -> None:
        """Predict with `booster` and its kept iterations."""
        kept = booster.model_.n_iterations
        self.take(booster, iterations=kept)


class LGBMRegressor(_Wrapper, BoostedRegressor):
    """Replaces `lightgbm.LGBMRegressor`."""


class LGBMRanker(LGBMRegressor):
    """Replaces `lightgbm.LGBMRanker`."""


class LGBMClassifier(_Wrapper, BoostedClassifier):
    """Replaces `lightgbm.LGBMClassifier`."""

    def take_booster(self, booster: Booster, state: State) -> None:
        """Predict the labels of the training data."""
        super().take_booster(booster, state)
        encoder = state.get("_le")
        self.take_classes(getattr(encoder, "classes_", state.get("_classes")))


def open_lightgbm(path: Path) -> Any:
    """Return the booster in a LightGBM text file, which does not name its scikit-learn wrapper."""
    booster = Booster()
    booster.load(lightgbm_text.text_of(path))
    return booster
