"""Reads a file of XGBoost or LightGBM: a document of numbers, which names nothing that could run."""

from pathlib import Path

from models_registry.artifacts.boosters import lightgbm_text, xgboost_document
from models_registry.artifacts.boosters.model import BoostedModel
from models_registry.artifacts.inspection_notes import InspectionNotes, claim


def inspect_xgboost(path: Path, notes: InspectionNotes, *, limit: int) -> None:
    """Note what a file of XGBoost claims and betrays; its trees are validated on the way."""
    claim(notes, path.stat().st_size, limit)
    model = xgboost_document.decode(path.read_bytes())
    if model.version:
        notes.note_version("xgboost", model.version)
    notes.outline.append(outline_of(model))


def inspect_lightgbm(path: Path, notes: InspectionNotes, *, limit: int) -> None:
    """Note what a text of LightGBM claims; its trees are validated on the way. Its version is that of the text."""
    claim(notes, path.stat().st_size, limit)
    notes.outline.append(outline_of(lightgbm_text.read(path)))


def outline_of(model: BoostedModel) -> str:
    """Return one line that says what a model is made of."""
    trees = "linear" if model.forest is None else f"{model.forest.n_trees} trees"
    return f"{model.library} {model.objective[:40]} ({trees}, {model.n_features} features)"
