"""Which of a template's resources exist under given parameters: its conditions, decided as CloudFormation does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def truths(template: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, bool]:
    """Return each condition of a template, true or false under the parameters' values."""
    conditions = template.get("Conditions", {})
    return {name: _truth(condition, values, conditions) for name, condition in conditions.items()}


def resources_made(template: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, str]:
    """Return the types of the resources that exist under the parameters' values, by logical name."""
    decided = truths(template, values)
    return {
        name: part["Type"]
        for name, part in template["Resources"].items()
        if decided.get(part.get("Condition", ""), True)
    }


def _truth(condition: Mapping[str, Any], values: Mapping[str, str], conditions: Mapping[str, Any]) -> bool:
    (name, argument), *_ = condition.items()
    if name == "Condition":
        return _truth(conditions[argument], values, conditions)
    if name == "Fn::Equals":
        left, right = (values[side["Ref"]] if isinstance(side, dict) else side for side in argument)
        return bool(left == right)
    inner = [_truth(part, values, conditions) for part in argument]
    return {"Fn::Not": not inner[0], "Fn::And": all(inner), "Fn::Or": any(inner)}[name]
