"""A model's shadow: its agreement with the active version, its start and its end."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from models_registry import services
from models_registry.admin.base import may_here, refusals_as_messages
from models_registry.admin.confirm import MAX_GENERATION
from models_registry.models import ModelVersion, RegisteredModel, State
from models_registry.permissions import OVERRIDE
from models_registry.services.shadows import DEFAULT_PERCENT

SHADOWS_SHOWN = 8


class StartForm(forms.Form):
    """The version, and the share of requests."""

    version = forms.TypedChoiceField(coerce=int, widget=UnfoldAdminSelectWidget())
    percent = forms.FloatField(
        label="Share of the requests, %",
        initial=DEFAULT_PERCENT,
        min_value=0,
        max_value=100,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
    )

    def __init__(self, model: RegisteredModel, data: Any = None) -> None:
        """Offer the versions that are not active."""
        super().__init__(data)
        others = model.versions.kept().exclude(pk=model.active_version_id or 0).newest_first()
        found = others.values_list("number", "state")
        self.choices = [
            (number, f"version {number}" if state == State.READY else f"version {number}, {State(state).label.lower()}")
            for number, state in found
        ]
        self.fields["version"].choices = self.choices  # type: ignore[attr-defined]  # a choice field


class ReasonForm(forms.Form):
    """A reason for the record."""

    reason = forms.CharField(
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autofocus": True}),
        help_text="Kept with the shadow permanently.",
    )


class ShadowConfirmationForm(ReasonForm):
    """A reason, and the generation that the user saw."""

    override = forms.BooleanField(label="Start against the validation's advice", widget=UnfoldBooleanWidget())
    seen_generation = forms.IntegerField(min_value=0, max_value=MAX_GENERATION, widget=forms.HiddenInput())

    def __init__(self, data: Any, *, advice: str, generation: int) -> None:
        """Require a reason and an override if the validation advises against the version."""
        super().__init__(data, initial={"seen_generation": generation})
        self.fields["reason"].required = bool(advice)
        if not advice:
            del self.fields["override"]


def shadow_context(model: RegisteredModel) -> dict[str, Any]:
    """Return the template context of a model's shadow."""
    shadow = services.current_shadow(model)
    ended = model.shadows.exclude(ended_at=None).select_related("version", "active_version")
    return {
        "shadow": shadow,
        "figures": services.shadow_figures(shadow) if shadow else None,
        "start_form": StartForm(model),
        "ended_shadows": [(item, services.shadow_figures(item)) for item in ended[:SHADOWS_SHOWN]],
    }


def start_context(request: HttpRequest, version: ModelVersion, percent: float) -> dict[str, Any]:
    """Return the context of the confirmation page; `form` is valid if the user has confirmed."""
    model, advice = version.model, version.override_reason
    obstacle = services.shadow_obstacle(version, by=request.user.get_username())
    may_go_on = not obstacle and (not advice or may_here(request, OVERRIDE))
    data = request.POST if request.method == "POST" else None
    return {
        "version": version,
        "percent": percent,
        "obstacle": obstacle,
        "advice": advice,
        "may_go_on": may_go_on,
        "running": services.current_shadow(model),
        "live": services.rollout(model).live,
        "form": ShadowConfirmationForm(data, advice=advice, generation=model.generation),
    }


def start(request: HttpRequest, version: ModelVersion, percent: float, answer: dict[str, Any]) -> None:
    """Start the shadow, and report the result as a message."""
    with refusals_as_messages(request):
        started = services.start_shadow(
            version,
            percent=percent,
            by=request.user.get_username(),
            reason=answer["reason"],
            override=bool(answer.get("override")) and may_here(request, OVERRIDE),
            seen_generation=answer["seen_generation"],
        )
        if started is None:
            messages.info(request, f"Version {version.number} gets these copies already. Nothing has changed.")
        else:
            messages.success(request, f"Version {version.number} gets copies of {percent:g} % of the requests.")


def end(request: HttpRequest, model: RegisteredModel, reason: str) -> None:
    """End the shadow, and report the result as a message."""
    ended = services.end_shadow(model, by=request.user.get_username(), reason=reason)
    if ended is None:
        messages.info(request, "No shadow was running. Nothing has changed.")
    else:
        messages.success(request, f"Version {ended.version.number} gets no more copies.")
