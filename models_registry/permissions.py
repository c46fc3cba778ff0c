"""The registry's rights by name, and the one place that asks for them."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet

VIEW = "models_registry.view_registeredmodel"
VIEW_VERSIONS = "models_registry.view_modelversion"
CHANGE = "models_registry.change_registeredmodel"
PUBLISH = "models_registry.publish_modelversion"
LOG = "models_registry.view_predictionlog"
ACTIVATE = "models_registry.activate_modelversion"
DOWNLOAD = "models_registry.download_modelversion"
TRY = "models_registry.try_modelversion"
SCORE = "models_registry.start_batchjob"
OVERRIDE = "models_registry.override_check"
MANAGE_KEYS = "models_registry.manage_apikey"

Row = TypeVar("Row", bound=Model)


def may(user: Any, right: str) -> bool:
    """Return whether `user` has a right."""
    return bool(user.has_perm(right))


def visible(user: Any, right: str, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Return those of `rows` for which `user` has a right."""
    return rows if may(user, right) else rows.none()
