"""What a deployment would change of a stack that stands: read from a change set of CloudFormation, which then goes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from cloudformation.aws import Aws, AwsError
from cloudformation.conditions import resources_made
from cloudformation.plan import Deployment
from cloudformation.stacks import TEMPLATE_MAKERS

# What cannot be made again: replaced or removed only where somebody names it.
DATA_TYPES = frozenset(
    {
        "AWS::ECR::Repository",
        "AWS::KMS::Key",
        "AWS::Logs::LogGroup",
        "AWS::RDS::DBInstance",
        "AWS::S3::Bucket",
        "AWS::SecretsManager::Secret",
    }
)
_REPLACING = {"Replace", "MayReplace"}
_PAUSE_SECONDS = 1.0
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that would change. `action` is Add, Modify, Replace, MayReplace, Remove or Import."""

    action: str
    resource: str
    kind: str
    properties: tuple[str, ...] = ()

    @property
    def endangers_data(self) -> bool:
        return self.kind in DATA_TYPES and self.action in _REPLACING | {"Remove"}

    def __str__(self) -> str:
        because = f": {', '.join(self.properties)}" if self.properties else ""
        return f"{self.action:<10} {self.resource} ({self.kind}){because}"


@dataclass(frozen=True, slots=True)
class Preview:
    """What is known of a stack's changes. Where `is_new` all is made; `unknown` says why nothing is known."""

    stack: str
    changes: tuple[Change, ...] = ()
    is_new: bool = False
    unknown: str = ""

    def replaces(self, resource: str) -> bool:
        """Return whether the resource would be, or might be, another one afterwards."""
        return any(change.resource == resource and change.action in _REPLACING for change in self.changes)

    @property
    def is_unchanged(self) -> bool:
        return not (self.is_new or self.unknown or self.changes)

    def __str__(self) -> str:
        if self.is_new:
            return "   The stack is made."
        if self.unknown:
            return f"   What changes is known once the stacks before stand as planned: {self.unknown}"
        if not self.changes:
            return "   Nothing changes."
        return "\n".join(["   What changes:", *(f"     {change}" for change in self.changes)])


def preview(aws: Aws, deployment: Deployment) -> Preview:
    """Return what deploying a stack would change, by a change set that is made, read and deleted."""
    if deployment.deployed is None:
        return Preview(deployment.stack, is_new=True)
    name = f"plan-{uuid.uuid4().hex[:12]}"
    of_set = {"StackName": deployment.stack, "ChangeSetName": name}
    try:
        aws.call("cloudformation", "create_change_set", **of_set, **_described(deployment))
        described = _finished(lambda: aws.call("cloudformation", "describe_change_set", **of_set))
    except AwsError as error:
        if "No export named" in str(error):
            return Preview(deployment.stack, unknown=str(error).rpartition("failed: ")[2])
        raise
    aws.call("cloudformation", "delete_change_set", **of_set)
    seen = _read(deployment.stack, described)
    known = {change.resource for change in seen.changes}
    return replace(
        seen, changes=(*seen.changes, *(gone for gone in _dropped(deployment) if gone.resource not in known))
    )


def require_data_kept(previews: Iterable[Preview], allowed: Iterable[str]) -> None:
    """Raise AwsError if data would be replaced or removed without being named."""
    named = set(allowed)
    endangered = [
        f"  {preview.stack}: {change}"
        for preview in previews
        for change in preview.changes
        if change.endangers_data and change.resource not in named
    ]
    if endangered:
        flags = " ".join(f"--allow-data-loss {line.split()[2]}" for line in endangered)
        raise AwsError(
            "Nothing was changed, since this would replace or remove what holds data:\n"
            + "\n".join(endangered)
            + "\nRead in docs/aws.md, under Restore, what is kept and what is lost. "
            f"If that is what you mean, add {flags}"
        )


def _described(deployment: Deployment) -> dict[str, Any]:
    deployed = deployment.deployed or {}
    parameters = [
        {"ParameterKey": name, "UsePreviousValue": True}
        if deployed.get(name) == value
        else {"ParameterKey": name, "ParameterValue": value}
        for name, value in deployment.parameters.items()
    ]
    return {
        "ChangeSetType": "UPDATE",
        "TemplateBody": deployment.template.read_text(),
        "Parameters": parameters,
        "Tags": [{"Key": key, "Value": value} for key, value in deployment.tags.items()],
        "Capabilities": list(deployment.capabilities),
        **({"RoleARN": deployment.role_arn} if deployment.role_arn else {}),
    }


def _dropped(deployment: Deployment) -> list[Change]:
    """Return what the parameters alone take away: the conditions of the template, decided before and after.

    A change set says so too; an emulator of CloudFormation may not.
    """
    template = TEMPLATE_MAKERS[deployment.template.stem]().to_dict()
    now = deployment.parameters
    before = now | {name: value for name, value in (deployment.deployed or {}).items() if name in now}
    made = resources_made(template, now)
    return [Change("Remove", name, kind) for name, kind in resources_made(template, before).items() if name not in made]


def _finished(describe: Callable[[], Any]) -> dict[str, Any]:
    while True:
        described: dict[str, Any] = describe()
        if not described["Status"].endswith(("_PENDING", "_IN_PROGRESS")):
            return described
        time.sleep(_PAUSE_SECONDS)


def _read(stack: str, described: dict[str, Any]) -> Preview:
    reason = described.get("StatusReason", "")
    if described["Status"] != "FAILED":
        changes = (part["ResourceChange"] for part in described.get("Changes", []))
        return Preview(stack, tuple(_change(part) for part in changes))
    if any(text in reason for text in _NO_CHANGES):
        return Preview(stack)
    if "No export named" in reason:
        return Preview(stack, unknown=reason)
    raise AwsError(f"CloudFormation cannot say what would change of {stack}: {reason}")


def _change(part: dict[str, Any]) -> Change:
    action = part["Action"]
    if action == "Modify":
        action = {"True": "Replace", "Conditional": "MayReplace"}.get(part.get("Replacement", "False"), "Modify")
    targets = [detail["Target"] for detail in part.get("Details", [])]
    names = {target.get("Name") or target["Attribute"] for target in targets}
    return Change(action, part["LogicalResourceId"], part["ResourceType"], tuple(sorted(names)))
