"""Prediction log settings of each model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from django.db import transaction

from models_registry.errors import RequestError
from models_registry.inference.capture import EXCLUDE, HASH, Capture
from models_registry.models import CaptureSides, RegisteredModel
from models_registry.services.feature_bins import drop_hidden_bins
from models_registry.services.prepared import PreparedQuery

log = structlog.get_logger(__name__)

MAX_COLUMN = 1000


def read_captures() -> dict[str, Capture]:
    """Return the settings of the logged models by name, with one query if there are none, else two."""
    if not _CAPTURED.exists():
        return {}
    models = RegisteredModel.objects.filter(capture_percent__gt=0)
    return {
        name: Capture(
            percent,
            inputs=sides != CaptureSides.OUTPUT,
            outputs=sides != CaptureSides.INPUT,
            hidden=_hidden(exclude),
        )
        for name, percent, sides, exclude in models.values_list("name", "capture_percent", "capture", "capture_exclude")
    }


_CAPTURED = PreparedQuery(lambda _: RegisteredModel.objects.filter(capture_percent__gt=0).values_list("pk"))


def set_capture(
    model: RegisteredModel,
    *,
    by: str,
    percent: float | None = None,
    sides: str | None = None,
    exclude: Sequence[Any] | None = None,
) -> None:
    """Change the sampling rate, the logged sides, and the hidden columns of `model`.

    None leaves a setting unchanged. `exclude` has names, and {"column": name, "hash": true}. Raises RequestError for a
    column that no version has.
    """
    values: dict[str, Any] = {}
    if percent is not None:
        values["capture_percent"] = percent
    if sides is not None:
        values["capture"] = CaptureSides(sides)
    if exclude is not None:
        values["capture_exclude"] = _checked(exclude, model)
    if not values:
        return
    RegisteredModel.objects.filter(pk=model.pk).update(**values)
    if exclude is not None:
        model.refresh_from_db(fields=["capture_exclude"])
        drop_hidden_bins(model)
    transaction.on_commit(lambda: log.info("capture_changed", model=model.name, by=by, **values))


def _hidden(exclude: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (item, EXCLUDE) if isinstance(item, str) else (item["column"], HASH if item["hash"] else EXCLUDE)
        for item in exclude
    )


def known_columns(model: RegisteredModel) -> list[str]:
    """Return the inputs of all versions of `model`, each once, newest version first."""
    schemas = model.versions.newest_first().values_list("schema", flat=True)
    return list(dict.fromkeys(item["name"] for schema in schemas if schema for item in schema["inputs"]))


def _checked(exclude: Sequence[Any], model: RegisteredModel) -> list[Any]:
    known = known_columns(model)
    for item in exclude:
        name = item if isinstance(item, str) else item["column"]
        # A misspelt column would be logged without notice.
        if known and name not in known:
            raise RequestError(f"capture_exclude names {name!r:.100}, which no version of {model.name} has.")
    return list(exclude)
