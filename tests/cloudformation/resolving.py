"""A template as CloudFormation sees it with given parameters: conditions are evaluated."""

from __future__ import annotations

from typing import Any

from cloudformation.conditions import resources_made, truths
from cloudformation.config import Settings
from cloudformation.parameters import parameters_of
from cloudformation.specs import template_of
from cloudformation.stacks import TEMPLATE_MAKERS

NO_VALUE = object()
MAPPINGS = TEMPLATE_MAKERS["service"]().to_dict()["Mappings"]


def resources(stack: str, **settings: Any) -> dict[str, dict[str, Any]]:
    """Return the resources of a stack that would be made under the settings, their properties resolved.

    References to parameters become their values; references to other resources stay as they are.
    """
    asked = Settings(**({"image_tag": "v1"} | settings))
    template = TEMPLATE_MAKERS[template_of(stack, asked)]().to_dict()
    values = parameters_of(asked, stack)
    decided = truths(template, values)
    made = resources_made(template, values)
    return {name: _resolve(template["Resources"][name], values, decided) for name in made}


def of_type(found: dict[str, dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of the resources of one type, by logical name."""
    return {name: part.get("Properties", {}) for name, part in found.items() if part["Type"] == f"AWS::{kind}"}


def _resolve(value: Any, values: dict[str, str], decided: dict[str, bool]) -> Any:
    if isinstance(value, list):
        items = (_resolve(item, values, decided) for item in value)
        return [item for item in items if item is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        name, argument = next(iter(value.items()))
        if name == "Ref":
            return NO_VALUE if argument == "AWS::NoValue" else values.get(argument, value)
        if name == "Fn::FindInMap":
            table, first, second = (_resolve(part, values, decided) for part in argument)
            return MAPPINGS[table][first][second]
        if name == "Fn::If":
            return _resolve(argument[1 if decided[argument[0]] else 2], values, decided)
        if name == "Fn::Sub" and isinstance(argument, str):
            for parameter, text in values.items():
                argument = argument.replace(f"${{{parameter}}}", text)
            return argument if "${" not in argument else {"Fn::Sub": argument}
    pairs = ((key, _resolve(item, values, decided)) for key, item in value.items())
    return {key: item for key, item in pairs if item is not NO_VALUE}
