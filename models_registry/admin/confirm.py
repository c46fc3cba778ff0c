"""Confirms an activation, rollback, deactivation or archiving: shows its effect, and applies it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from models_registry import services
from models_registry.admin.base import may_here, refusals_as_messages
from models_registry.artifacts.compatibility import caller_changes
from models_registry.models import Activation, ModelVersion, RegisteredModel, State
from models_registry.permissions import OVERRIDE
from models_registry.templatetags.registry import number, size

# The largest value of the column.
MAX_GENERATION = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference after the activation."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """The differences for clients if `target` becomes the active version, or no version is active."""

    model: RegisteredModel
    target: ModelVersion | None
    current: ModelVersion | None
    live: int
    is_rollback: bool = False
    is_archiving: bool = False
    obstacle: str = ""
    differences: tuple[Difference, ...] = ()
    breaking: tuple[str, ...] = field(default=())

    @property
    def sentence(self) -> str:
        """Return a sentence with the model, the change, and the number of replicas."""
        before, after = (
            f"version {version.number}" if version else "no active version" for version in (self.current, self.target)
        )
        if self.is_archiving:
            after = "archived"
        if before == after:
            return f"{self.model.name}: {before}."
        return f"{self.model.name}: {before} → {after}, {where(self.live)}."

    @property
    def parts(self) -> str:
        """Return how the parts of the artifact are combined, to be confirmed; empty for a single estimator."""
        return str((self.target.report or {}).get("parts") or "") if self.target else ""

    @property
    def advice(self) -> str:
        """Return why the validation advises against it; empty if it does not."""
        return self.target.override_reason if self.target else ""


class ConfirmationForm(forms.Form):
    """A reason for the history, and the generation that the user saw."""

    reason = forms.CharField(
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autofocus": True}),
        help_text="Kept in the history permanently.",
    )
    traffic_percent = forms.FloatField(
        label="Share of the requests, %",
        initial=100,
        min_value=0,
        max_value=100,
        required=False,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
        help_text="Below 100, the version becomes a canary beside the active version.",
    )
    bake_minutes = forms.FloatField(
        label="Minutes until the canary becomes active",
        min_value=0.1,
        max_value=services.MAX_BAKE_MINUTES,
        required=False,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
        help_text="If empty, a user promotes it.",
    )
    override = forms.BooleanField(label="Activate against the validation's advice", widget=UnfoldBooleanWidget())
    seen_generation = forms.IntegerField(min_value=0, max_value=MAX_GENERATION, widget=forms.HiddenInput())

    def __init__(self, *args: Any, needs_reason: bool, needs_override: bool, may_split: bool, **kwargs: Any) -> None:
        """Require a reason and an override if the validation advises against it; `may_split` adds the share."""
        super().__init__(*args, **kwargs)
        if needs_reason:
            self.fields["reason"].required = True
            self.fields[
                "reason"
            ].help_text = "Required, because the validation advises against it. Kept in the history."
        if not needs_override:
            del self.fields["override"]
        if not may_split:
            del self.fields["traffic_percent"], self.fields["bake_minutes"]


def change_to(target: ModelVersion, *, by: str, is_rollback: bool = False) -> Change:
    """Return the effect of activating `target` now, by user `by`."""
    model, current = target.model, target.model.active_version
    return Change(
        model=model,
        target=target,
        current=current,
        live=services.rollout(model).live,
        is_rollback=is_rollback,
        obstacle=_obstacle(target) or ("" if is_rollback else services.second_person_obstacle(target, by=by)),
        differences=tuple(_differences(current, target)) if current else (),
        breaking=tuple(caller_changes(current.schema or {}, target.schema or {})) if current else (),
    )


def change_to_none(model: RegisteredModel) -> Change:
    """Return the effect of deactivating `model` now."""
    obstacle = "" if model.active_version else "No version is active, so there is nothing to change."
    live = services.rollout(model).live
    return Change(model=model, target=None, current=model.active_version, live=live, obstacle=obstacle)


def change_to_archived(model: RegisteredModel) -> Change:
    """Return the effect of archiving `model` now."""
    obstacle = f"{model.name} is archived already. There is nothing to change." if model.archived_at else ""
    live, current = services.rollout(model).live, model.active_version
    return Change(model=model, target=None, current=current, live=live, is_archiving=True, obstacle=obstacle)


def where(live: int) -> str:
    """Return the part of a sentence that names the replicas on which a change takes effect."""
    if live == 0 and not services.has_service():
        return "for this project's own code"
    if live == 0:
        return "as soon as a replica is live (none is now)"
    return f"on {live} live replica{'' if live == 1 else 's'}"


def _obstacle(target: ModelVersion) -> str:
    """Return why `target` cannot be activated; empty if it can."""
    if target.is_active:
        return f"Version {target.number} is active already. There is nothing to change."
    if target.state == State.READY:
        return ""
    if target.state in (State.FOUND, State.CHECKING):
        return f"Version {target.number} cannot be activated yet: {services.open_check(target)}"
    return f"Version {target.number} cannot be activated: it is {target.get_state_display().lower()}. {target.reason}"


def _differences(current: ModelVersion, target: ModelVersion) -> list[Difference]:
    found = [
        Difference(name, _number(current.metrics.get(name)), _number(target.metrics.get(name)))
        for name in {**current.metrics, **target.metrics}
    ]
    found.append(Difference("size", size(current.size_bytes), size(target.size_bytes)))
    if current.format != target.format:
        found.append(Difference("format", current.format, target.format))
    return found


def _number(value: Any) -> str:
    return "–" if value is None else number(value)


def confirm(request: HttpRequest, change: Change, context: dict[str, Any]) -> HttpResponse:
    """Show the effect of `change`; after a valid POST, apply it and return to the model's page.

    The form holds the generation that the user saw: after another change nothing happens, and a message says so.
    """
    advice = change.advice
    # A rollback may repeat an earlier override, with a reason.
    needs_override = bool(advice) and not change.is_rollback
    form = ConfirmationForm(
        request.POST if request.method == "POST" else None,
        initial={"seen_generation": change.model.generation},
        needs_reason=bool(advice),
        needs_override=needs_override,
        may_split=bool(change.target and change.current) and not change.is_rollback,
    )
    if request.method == "POST" and form.is_valid():
        _carry_out(request, change, form.cleaned_data)
        return redirect("admin:models_registry_registeredmodel_change", change.model.pk)
    may_go_on = not change.obstacle and (not needs_override or may_here(request, OVERRIDE))
    page = {**context, "change": change, "form": form, "advice": advice, "may_go_on": may_go_on}
    return TemplateResponse(request, "models_registry/admin/confirm.html", page)


def _carry_out(request: HttpRequest, change: Change, answer: dict[str, Any]) -> None:
    by, reason, seen = request.user.get_username(), answer["reason"], answer["seen_generation"]
    override = bool(answer.get("override")) and may_here(request, OVERRIDE)
    percent = answer.get("traffic_percent")
    with refusals_as_messages(request):
        if change.target is not None and percent is not None and percent < 100:
            services.start_canary(
                change.target,
                percent=percent,
                bake_minutes=answer["bake_minutes"],
                by=by,
                reason=reason,
                override=override,
                seen_generation=seen,
            )
            messages.success(
                request, f"Version {change.target.number} of {change.model.name} is a canary with {percent:g} %."
            )
            return
        if change.is_archiving:
            services.archive(change.model, by=by, reason=reason, seen_generation=seen)
            messages.success(request, f"{change.model.name} is archived. Its versions and its history stay.")
            return
        if change.target is None:
            activation = services.deactivate(change.model, by=by, reason=reason, seen_generation=seen)
        elif change.is_rollback:
            override = may_here(request, OVERRIDE) and bool(change.advice)
            activation = services.roll_back(change.model, by=by, reason=reason, override=override, seen_generation=seen)
        else:
            activation = services.activate(change.target, by=by, reason=reason, override=override, seen_generation=seen)
        _report_result(request, change, activation)


def _report_result(request: HttpRequest, change: Change, activation: Activation | None) -> None:
    name = change.model.name
    if activation is None:
        what = f"Version {change.target.number} was active already" if change.target else "No version was active"
        messages.info(request, f"{what}. Nothing has changed.")
    elif activation.version is None:
        messages.success(request, f"Deactivated {name}. It is unloaded {where(change.live)}.")
    else:
        word = "Rolled back to" if change.is_rollback else "Activated"
        messages.success(
            request, f"{word} {name} version {activation.version.number}. It rolls out {where(change.live)}."
        )
