"""The newest logged requests of a model, for users with the permission."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from models_registry import services
from models_registry.admin.choosing import VersionForm
from models_registry.errors import StorageError
from models_registry.models import RegisteredModel
from models_registry.monitoring.log_reading import LogFilter

ROWS_SHOWN = 50
MAX_COLUMNS_SHOWN = 12


class LogForm(VersionForm):
    """The filter of rows."""

    prediction = forms.CharField(required=False, max_length=200, widget=UnfoldAdminTextInputWidget())
    request_id = forms.CharField(
        label="Request id", required=False, max_length=200, widget=UnfoldAdminTextInputWidget()
    )


def log_context(request: HttpRequest, model: RegisteredModel) -> dict[str, Any]:
    """Return the template context of the log."""
    form = LogForm(model, request.GET)
    wanted = LogFilter(**form.cleaned_data) if form.is_valid() else LogFilter()
    problem = ""
    try:
        rows = services.logged_rows(model, wanted, limit=ROWS_SHOWN)
    except StorageError as error:
        rows, problem = [], str(error)
    names = list(dict.fromkeys(name for row in rows for name in row.inputs))
    columns = names if len(names) <= MAX_COLUMNS_SHOWN else []
    return {
        "form": form,
        "problem": problem,
        "is_on": model.capture_percent > 0,
        "columns": columns,
        "rows": [(row, [row.inputs.get(name) for name in columns] if columns else [row.inputs]) for row in rows],
        "limit": ROWS_SHOWN,
    }
