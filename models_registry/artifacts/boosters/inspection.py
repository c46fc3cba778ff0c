"""Inspects XGBoost and LightGBM files: they hold only numbers and texts, and no code."""

from pathlib import Path

from models_registry.artifacts.boosters import lightgbm_text, xgboost_document
from models_registry.artifacts.boosters.model import BoostedModel
from models_registry.artifacts.inspection_notes import InspectionNotes, claim


def inspect_xgboost(path: Path, notes: InspectionNotes, *, limit: int) -> None:
    """Note the contents and problems of an XGBoost file; this validates its trees."""
    claim(notes, path.stat().st_size, limit)
    model = xgboost_document.decode(path.read_bytes())
    if model.version:
        notes.note_version("xgboost", model.version)
    notes.outline.append(outline_of(model))


def inspect_lightgbm(path: Path, notes: InspectionNotes, *, limit: int) -> None:
    """Note the contents of a LightGBM text file; this validates its trees. The noted version is the text format's."""
    claim(notes, path.stat().st_size, limit)
    notes.outline.append(outline_of(lightgbm_text.read(path)))


def outline_of(model: BoostedModel) -> str:
    """Return a one-line description of a model."""
    trees = "linear" if model.forest is None else f"{model.forest.n_trees} trees"
    return f"{model.library} {model.objective[:40]} ({trees}, {model.n_features} features)"
