"""Lists the parts of an estimator as indented lines, from stand-ins for its state."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_LINES = 60
_DEEPEST = 8
_MAX_CHILDREN = 2_000
_MAX_PER_ROUND = 50
_MAX_NAME_LENGTH = 80
_STEPS = ("steps", "transformer_list", "transformers", "estimators")
_LISTS = ("estimators_", "_predictors", "calibrated_classifiers_")
_INNER = ("best_estimator_", "estimator_", "regressor_", "estimator", "regressor")


@dataclass(slots=True)
class Inert:
    """A stand-in for an object: its type's name and the state in the file."""

    name: str
    state: dict[Any, Any] = field(default_factory=dict)

    @property
    def short_name(self) -> str:
        """The type's name without its module."""
        return self.name.rpartition(".")[2][:_MAX_NAME_LENGTH]


@dataclass(slots=True)
class InertArray:
    """A stand-in for an array; only an object array has items."""

    items: list[Any]


def object_tree_of(root: Any) -> list[str]:
    """Return the outline of an estimator's stand-in, at most MAX_LINES lines."""
    lines: list[str] = []
    _describe(root, label="", depth=0, lines=lines)
    return lines[:MAX_LINES]


def _describe(value: Any, *, label: str, depth: int, lines: list[str]) -> None:
    if len(lines) > MAX_LINES or depth > _DEEPEST:
        return
    name = value.short_name if isinstance(value, Inert) else _plain_name(value)
    many = _many(value)
    lines.append("  " * depth + (f"{label}: " if label else "") + name + (f" ({many})" if many else ""))
    if isinstance(value, Inert) and not many:
        for child_label, child in _children(value):
            _describe(child, label=child_label, depth=depth + 1, lines=lines)


def _plain_name(value: Any) -> str:
    return value[:_MAX_NAME_LENGTH] if isinstance(value, str) else type(value).__name__.removeprefix("Inert")


def _children(value: Inert) -> Iterator[tuple[str, Any]]:
    for attribute in _STEPS:
        steps = _items(value.state.get(attribute))
        named = [step for step in steps if isinstance(step, tuple | list) and len(step) > 1 and type(step[0]) is str]
        if named:
            for step in named:
                yield step[0][:_MAX_NAME_LENGTH], step[1]
            return
    for attribute in _INNER:
        inner = value.state.get(attribute)
        if isinstance(inner, Inert):
            yield attribute, inner
            return


def _many(value: Any) -> str:
    if not isinstance(value, Inert):
        return ""
    for attribute in _LISTS:
        counts = Counter(item.short_name for item in _flat(value.state.get(attribute)) if isinstance(item, Inert))
        if counts and not any(_items(value.state.get(steps)) for steps in _STEPS):
            return ", ".join(f"{count} × {name}" for name, count in counts.most_common(5))
    return ""


def _flat(value: Any) -> Iterator[Any]:
    for item in _items(value):
        if isinstance(item, list | tuple | InertArray):
            yield from _items(item)[:_MAX_PER_ROUND]
        else:
            yield item


def _items(value: Any) -> list[Any]:
    if isinstance(value, InertArray):
        value = value.items
    return list(value[:_MAX_CHILDREN]) if isinstance(value, list | tuple) else []
