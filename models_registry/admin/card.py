"""A model's card, in Markdown, and the notes on a version, in plain text."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextareaWidget

from models_registry import services
from models_registry.models import ModelVersion, RegisteredModel
from models_registry.services.texts import MAX_CARD_LENGTH, MAX_NOTES_LENGTH


class CardForm(forms.Form):
    """The card's Markdown."""

    card = forms.CharField(
        label="Model card",
        required=False,
        max_length=MAX_CARD_LENGTH,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 24, "autofocus": True}),
        help_text="Markdown with tables. Raw HTML is shown as text, an image as its description.",
    )


class NotesForm(forms.Form):
    """The notes' text."""

    notes = forms.CharField(
        required=False,
        max_length=MAX_NOTES_LENGTH,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="Plain text, e.g. what a review found.",
    )


def save_card(request: HttpRequest, model: RegisteredModel, card: str) -> None:
    """Store the card, and report the result as a message."""
    if services.set_card(model, card, by=request.user.get_username()):
        messages.success(request, f"The card of {model.name} is {'saved' if model.card else 'removed'}.")
    else:
        messages.info(request, "The card is the same. Nothing has changed.")


def save_notes(request: HttpRequest, version: ModelVersion, notes: str) -> None:
    """Store the notes, and report the result as a message."""
    if services.set_notes(version, notes, by=request.user.get_username()):
        messages.success(request, f"The notes on {version} are {'saved' if version.notes else 'removed'}.")
    else:
        messages.info(request, "The notes are the same. Nothing has changed.")
