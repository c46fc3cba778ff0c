"""A template as CloudFormation would see it under given parameters: conditions decided, what they drop dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from troposphere import Template

from cloudformation.config import Settings
from cloudformation.parameters import parameters_of
from cloudformation.stacks import data_stack, network_stack, service_stack

MAKERS: dict[str, Callable[[], Template]] = {"network": network_stack, "data": data_stack, "service": service_stack}
NO_VALUE = object()


def resources(stack: str, **settings: Any) -> dict[str, dict[str, Any]]:
    """Return the resources of a stack that would be made under the settings, their properties resolved.

    References to parameters become their values; references to other resources stay as they are.
    """
    template = MAKERS[stack]().to_dict()
    values = parameters_of(Settings(**({"image_tag": "v1"} | settings)), stack)
    truths: dict[str, bool] = {}
    for name, condition in template.get("Conditions", {}).items():
        truths[name] = _truth(condition, values, template["Conditions"])
    return {
        name: _resolve(resource, values, truths)
        for name, resource in template["Resources"].items()
        if truths.get(resource.get("Condition", ""), True)
    }


def of_type(found: dict[str, dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of the resources of one type, by logical name."""
    return {name: part.get("Properties", {}) for name, part in found.items() if part["Type"] == f"AWS::{kind}"}


def _truth(condition: Any, values: dict[str, str], conditions: dict[str, Any]) -> bool:
    (name, argument), *_ = condition.items()
    if name == "Condition":
        return _truth(conditions[argument], values, conditions)
    if name == "Fn::Equals":
        left, right = (values[side["Ref"]] if isinstance(side, dict) else side for side in argument)
        return bool(left == right)
    inner = [_truth(part, values, conditions) for part in argument]
    return {"Fn::Not": not inner[0], "Fn::And": all(inner), "Fn::Or": any(inner)}[name]


def _resolve(value: Any, values: dict[str, str], truths: dict[str, bool]) -> Any:
    if isinstance(value, list):
        items = (_resolve(item, values, truths) for item in value)
        return [item for item in items if item is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        name, argument = next(iter(value.items()))
        if name == "Ref":
            return NO_VALUE if argument == "AWS::NoValue" else values.get(argument, value)
        if name == "Fn::If":
            return _resolve(argument[1 if truths[argument[0]] else 2], values, truths)
        if name == "Fn::Sub" and isinstance(argument, str):
            for parameter, text in values.items():
                argument = argument.replace(f"${{{parameter}}}", text)
            return argument if "${" not in argument else {"Fn::Sub": argument}
    pairs = ((key, _resolve(item, values, truths)) for key, item in value.items())
    return {key: item for key, item in pairs if item is not NO_VALUE}
