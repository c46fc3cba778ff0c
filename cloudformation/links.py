"""How stacks and parts speak of each other: exports, imports, tags, and the reasons for skipped checks."""

from __future__ import annotations

from troposphere import Export, ImportValue, Output, Sub, Tags, Template

# Kept when the stack goes, or its condition turns; gone with a first creation that fails, which held nothing yet.
KEPT = "RetainExceptOnCreate"


def export(template: Template, name: str, value: object, description: str, *, condition: str = "") -> None:
    """Output a value and export it as `<stack name>-<name>`."""
    properties: dict[str, object] = {
        "Value": value,
        "Description": description,
        "Export": Export(Sub(f"${{AWS::StackName}}-{name}")),
    }
    if condition:
        properties["Condition"] = condition
    template.add_output(Output(name, **properties))


def imported(parent: str, name: str) -> ImportValue:
    """Return what the stack named by the parameter `parent` exported as `name`."""
    return ImportValue(Sub(f"${{{parent}}}-{name}"))


def tags(name: str) -> Tags:
    """Return the tag that names a part; the tags of the project and the environment come from the stack."""
    return Tags(Name=Sub(f"${{ProjectName}}-${{EnvironmentName}}-{name}"))


def skipped_checks(**reasons: str) -> dict[str, object]:
    """Return the metadata that tells checkov which checks do not apply here, each with its reason."""
    return {"checkov": {"skip": [{"id": check, "comment": reason} for check, reason in reasons.items()]}}


def refused_controls(reasons: dict[str, str]) -> dict[str, object]:
    """Return the metadata that says which controls of Security Hub a part fails on purpose, each with its reason."""
    return {"SecurityHub": {"refused": reasons}}
