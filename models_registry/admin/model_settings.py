"""The form for a model's settings."""

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
from models_registry.admin.labels import TagsField
from models_registry.models import Policy, RegisteredModel


class SettingsForm(forms.Form):
    """The settings of a model."""

    policy = forms.ChoiceField(choices=Policy.choices, widget=UnfoldAdminSelectWidget())
    latest_percent = forms.FloatField(
        min_value=0,
        max_value=100,
        required=False,
        label="Initial share of a new version, %",
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
        help_text="For policy “latest”. Below 100, a new version starts as a canary.",
    )
    latest_bake_minutes = forms.FloatField(
        min_value=0.1,
        max_value=services.MAX_BAKE_MINUTES,
        required=False,
        label="Minutes until such a canary becomes active",
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
    )
    acceleration = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Serve the verified compiled form if there is one. Takes effect at the replicas' next poll.",
    )
    description = forms.CharField(
        required=False, max_length=5000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "cols": 40})
    )
    tags = TagsField(required=False, help_text="One per line, e.g. 'team: risk'.")


def settings_of(model: RegisteredModel) -> dict[str, Any]:
    """Return the current values of the form's fields."""
    return {name: getattr(model, name) for name in SettingsForm.base_fields}
