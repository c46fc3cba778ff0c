"""Stand in for LightGBM's classes in files: their states are taken, their code is never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models_registry.artifacts.boosters import lightgbm_text
from models_registry.artifacts.boosters.estimators import Boosted, BoostedClassifier, BoostedRegressor
from models_registry.artifacts.boosters.model import BoostedModel
from models_registry.errors import BrokenArtifact

State = dict[str, Any]
# The attribute has lost its place twice: it is `handle` up to 4.0, `_handle` since.
_HANDLES = ("_handle", "handle")


def _broken(what: str) -> BrokenArtifact:
    return BrokenArtifact(f"The artifact's LightGBM model {what}. Publish it again from its training script.")


class Booster(BoostedRegressor):
    """Stands for `lightgbm.Booster`, and answers as its `predict` does: with the best iterations, where known."""

    model: BoostedModel
    blob: str

    def __setstate__(self, state: State) -> None:
        """Read the model out of the state that a pickle holds."""
        texts = [state.get(name) for name in _HANDLES] if isinstance(state, dict) else []
        text = next((one for one in texts if isinstance(one, str)), None)
        if text is None:
            raise _broken("holds no text of a model; it was probably never trained")
        self.load(text, best=state.get("best_iteration"))

    def load(self, text: str, *, best: Any = None) -> None:
        """Take the model in `text`; a file holds the best iterations alone."""
        self.blob = text
        self.model = lightgbm_text.decode(text)
        self.take(self, iterations=best if isinstance(best, int) and best > 0 else None)


class _Wrapper(Boosted):
    """What LightGBM's estimators for scikit-learn share."""

    def __setstate__(self, state: State) -> None:
        """Take what a prediction needs of the state that a pickle holds; parameters of the training are left."""
        booster = state.get("_Booster") if isinstance(state, dict) else None
        if booster is None:
            return  # a template inside of a search, never fitted
        if not isinstance(booster, Booster):
            raise _broken("is not a booster")
        self.take_booster(booster, state)

    def take_booster(self, booster: Booster, state: State) -> None:
        """Answer by `booster`, with the iterations that it keeps."""
        kept = booster.model_.n_iterations
        self.take(booster, iterations=kept)


class LGBMRegressor(_Wrapper, BoostedRegressor):
    """Stands for `lightgbm.LGBMRegressor`."""


class LGBMRanker(LGBMRegressor):
    """Stands for `lightgbm.LGBMRanker`."""


class LGBMClassifier(_Wrapper, BoostedClassifier):
    """Stands for `lightgbm.LGBMClassifier`."""

    def take_booster(self, booster: Booster, state: State) -> None:
        """Answer with the labels of the training."""
        super().take_booster(booster, state)
        encoder = state.get("_le")
        self.take_classes(getattr(encoder, "classes_", state.get("_classes")))


def open_lightgbm(path: Path) -> Any:
    """Return the booster in a text of LightGBM, which does not tell the wrapper that trained it."""
    booster = Booster()
    booster.load(lightgbm_text.text_of(path))
    return booster
