"""The settings form of a model's prediction log, with the API's checks."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from models_registry import services
from models_registry.errors import RequestError
from models_registry.models import CaptureSides, RegisteredModel
from models_registry.services.captures import MAX_COLUMN

DEFAULT_PERCENT = 10.0
COLUMNS_LISTED = 40


class ColumnsField(forms.CharField):
    """Column names, one per line; a name may contain commas and spaces."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3})

    def clean(self, value: Any) -> list[str]:
        """Return the names without duplicates."""
        names = list(dict.fromkeys(line.strip() for line in super().clean(value).splitlines() if line.strip()))
        if too_long := [name for name in names if len(name) > MAX_COLUMN]:
            raise forms.ValidationError(f"{too_long[0][:40]}… is longer than {MAX_COLUMN} characters.")
        return names


class CaptureForm(forms.Form):
    """The settings of the log: its share of the requests, the logged values, and the hidden columns."""

    is_on = forms.BooleanField(label="Log predictions", required=False, widget=UnfoldBooleanSwitchWidget())
    percent = forms.FloatField(
        label="Share of the requests, %",
        min_value=0,
        max_value=100,
        required=False,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
        help_text="Each worker applies a change at its next poll.",
    )
    sides = forms.ChoiceField(
        label="Logged values",
        choices=CaptureSides.choices,
        widget=UnfoldAdminSelectWidget(),
        help_text="Drift needs both. Quality needs the predictions.",
    )
    excluded = ColumnsField(
        label="Excluded columns", required=False, help_text="One per line. Their values are not stored."
    )
    hashed = ColumnsField(label="Hashed columns", required=False, help_text="One per line. A hash replaces each value.")

    def clean(self) -> dict[str, Any]:
        """Require a share if the log is on, and one treatment of each column."""
        answer: dict[str, Any] = super().clean() or {}
        if answer.get("is_on") and "percent" in answer and not answer["percent"]:
            self.add_error("percent", "Give a share above 0, or turn the log off.")
        twice = set(answer.get("excluded", ())) & set(answer.get("hashed", ()))
        if twice:
            self.add_error("hashed", f"{min(twice)} is in both lists. Name it in one of them.")
        return answer


def capture_form(model: RegisteredModel, data: Any = None) -> CaptureForm:
    """Return the form with the current settings."""
    hidden = [item if isinstance(item, dict) else {"column": item, "hash": False} for item in model.capture_exclude]
    return CaptureForm(
        data,
        initial={
            "is_on": model.capture_percent > 0,
            "percent": model.capture_percent or DEFAULT_PERCENT,
            "sides": model.capture,
            "excluded": "\n".join(item["column"] for item in hidden if not item["hash"]),
            "hashed": "\n".join(item["column"] for item in hidden if item["hash"]),
        },
    )


def save_capture(form: CaptureForm, model: RegisteredModel, *, by: str) -> bool:
    """Apply the form's settings; False if the registry refuses, and the form then shows the reason."""
    answer = form.cleaned_data
    hashed = [{"column": name, "hash": True} for name in answer["hashed"]]
    try:
        services.set_capture(
            model,
            by=by,
            percent=answer["percent"] if answer["is_on"] else 0,
            sides=answer["sides"],
            exclude=[*answer["excluded"], *hashed],
        )
    except RequestError as error:
        form.add_error(None, str(error))
        return False
    return True
