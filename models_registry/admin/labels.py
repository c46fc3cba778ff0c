"""Form fields for a version's aliases and a model's tags."""

from __future__ import annotations

import json
import re
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from models_registry import services
from models_registry.admin.base import refusals_as_messages
from models_registry.models import ModelVersion

JSON_STARTS = ("[", "{")


class AliasesForm(forms.Form):
    """Names that take the place of a version's number."""

    aliases = forms.CharField(
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "champion", "spellcheck": "false"}),
        help_text="Separated by commas. Requests may use an alias instead of the number.",
    )


class TagsField(forms.CharField):
    """Tags, one per line; if all lines have the form `name: value`, they are an object. Other tags are JSON."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 2, "cols": 40})

    def prepare_value(self, value: Any) -> Any:
        """Return tags as lines."""
        if not isinstance(value, dict | list):
            return value
        lines = "\n".join([f"{name}: {text}" for name, text in value.items()] if isinstance(value, dict) else value)
        is_plain = not lines.strip().startswith(JSON_STARTS) and self.to_python(lines) == value
        return lines if is_plain else json.dumps(value, ensure_ascii=False)

    def to_python(self, value: Any) -> Any:
        """Return the lines as stored tags."""
        text = str(super().to_python(value) or "").strip()
        if text.startswith(JSON_STARTS):
            try:
                return json.loads(text)
            except ValueError as error:
                raise forms.ValidationError(f"Text that begins with {text[0]} is read as JSON: {error}.") from error
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        pairs = [re.fullmatch(r"([^:]+):\s+(.+)", line) for line in lines]
        return {pair[1]: pair[2] for pair in pairs if pair} if lines and all(pairs) else lines

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the lines differ from the stored tags."""
        return bool(self.to_python(self.prepare_value(initial)) != self.to_python(data))


def save_aliases(request: HttpRequest, version: ModelVersion, text: str) -> None:
    """Set the aliases of `version` to those in `text`, and report the result as a message."""
    names = [name for name in re.split(r"[\s,]+", text) if name]
    with refusals_as_messages(request):
        if services.set_aliases_of(version, names, by=request.user.get_username()):
            now = ", ".join(sorted(names)) or "none"
            messages.success(request, f"The aliases of {version}: {now}.")
        else:
            messages.info(request, "The aliases are the same. Nothing has changed.")
