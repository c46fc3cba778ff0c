"""Compares labels from outside with a classifier's own labels."""

from __future__ import annotations

from typing import Any

from models_registry.artifacts.schema import Schema


def label_text(value: Any) -> str:
    """Return a label as text: the same text for 1 and 1.0; booleans as in JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def classes_of(schema: Schema) -> dict[str, Any]:
    """Return the classes of a single-output classifier by their text; empty if unknown."""
    classes = schema.classes or ()
    if len(classes) == 1 and isinstance(classes[0], tuple):
        classes = classes[0]
    return {label_text(value): value for value in classes}


def class_of(label: Any, classes: dict[str, Any]) -> Any:
    """Return the model's class for a label: 1, 1.0, "1" and true are equal; without a match, the label itself."""
    text = label_text(label)
    aliases = {"true": "1", "True": "true", "1": "true", "false": "0", "False": "false", "0": "false"}
    for name in (text, aliases.get(text, text), _whole(text)):
        if name in classes:
            return classes[name]
    return label


def _whole(text: str) -> str:
    """Return "1" for "1.0"."""
    return text.removesuffix(".0")
