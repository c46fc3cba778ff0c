"""Asks for a yes, and carries the activation, rollback or deactivation out."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from models_registry import services
from models_registry.admin.base import OVERRIDE, told_in_words
from models_registry.admin.confirmation import Change, ConfirmationForm, where
from models_registry.models import Activation


def confirm(request: HttpRequest, change: Change, context: dict[str, Any]) -> HttpResponse:
    """Show what `change` would bring; with a valid POST, carry it out and return to the model's page.

    The form bears the generation that the person saw: where somebody else came first, nothing changes and it is said.
    """
    advice = change.advice
    # What was overruled once may come back by a rollback, with a reason.
    needs_override = bool(advice) and not change.is_rollback
    form = ConfirmationForm(
        request.POST if request.method == "POST" else None,
        initial={"seen_generation": change.model.generation},
        needs_reason=bool(advice),
        needs_override=needs_override,
    )
    if request.method == "POST" and form.is_valid():
        _carry_out(request, change, form.cleaned_data)
        return redirect("admin:models_registry_registeredmodel_change", change.model.pk)
    may_go_on = not change.obstacle and (not needs_override or request.user.has_perm(OVERRIDE))
    page = {**context, "change": change, "form": form, "advice": advice, "may_go_on": may_go_on}
    return TemplateResponse(request, "models_registry/admin/confirm.html", page)


def _carry_out(request: HttpRequest, change: Change, answer: dict[str, Any]) -> None:
    by, reason, seen = request.user.get_username(), answer["reason"], answer["seen_generation"]
    override = bool(answer.get("override")) and request.user.has_perm(OVERRIDE)
    with told_in_words(request):
        if change.target is None:
            activation = services.deactivate(change.model, by=by, reason=reason, seen_generation=seen)
        elif change.is_rollback:
            override = request.user.has_perm(OVERRIDE) and bool(change.advice)
            activation = services.roll_back(change.model, by=by, reason=reason, override=override, seen_generation=seen)
        else:
            activation = services.activate(change.target, by=by, reason=reason, override=override, seen_generation=seen)
        _tell(request, change, activation)


def _tell(request: HttpRequest, change: Change, activation: Activation | None) -> None:
    name = change.model.name
    if activation is None:
        what = f"Version {change.target.number} was active already" if change.target else "No version was active"
        messages.info(request, f"{what}; nothing has changed.")
    elif activation.version is None:
        messages.success(request, f"Deactivated {name}; it is put down {where(change.live)}.")
    else:
        word = "Rolled back to" if change.is_rollback else "Activated"
        messages.success(
            request, f"{word} {name} version {activation.version.number}; it rolls out {where(change.live)}."
        )
