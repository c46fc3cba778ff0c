"""The form above a page's figures: version and time window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget

from models_registry.admin.charts import WINDOW_NAMES
from models_registry.models import RegisteredModel
from models_registry.monitoring.usage_report import WINDOWS, Window


class VersionForm(forms.Form):
    """The version."""

    # The form value for no version.
    no_version = "all"

    version = forms.TypedChoiceField(required=False, coerce=int, empty_value=None, widget=UnfoldAdminSelectWidget())

    def __init__(self, model: RegisteredModel, data: Any) -> None:
        """Offer the versions of `model`."""
        super().__init__(data)
        numbers = model.versions.kept().newest_first().values_list("number", flat=True)
        choices = [("", self.no_version), *((number, f"version {number}") for number in numbers)]
        self.fields["version"].choices = choices  # type: ignore[attr-defined]  # a choice field


def window_field() -> forms.ChoiceField:
    """Return a form field for the window of a report."""
    return forms.ChoiceField(
        label="Time", required=False, choices=list(WINDOW_NAMES.items()), widget=UnfoldAdminSelectWidget()
    )


def window_of(answer: Mapping[str, Any], default: str) -> Window:
    """Return the window in a form; the default if the form is not valid."""
    return WINDOWS[answer.get("window") or default]
