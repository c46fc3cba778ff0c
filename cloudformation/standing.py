"""What is at AWS: the parameters of the deployed stacks, and whether AWS can be asked at all."""

from __future__ import annotations

from collections.abc import Mapping

from cloudformation.aws import Aws, AwsError
from cloudformation.resolution import Deployed

# A first creation that failed leaves a stack without anything; its parameters are not kept.
_EMPTY = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS", "DELETE_COMPLETE"}
_UNREACHABLE = ("Unable to locate credentials", "Could not connect to the endpoint")


def deployed_stacks(aws: Aws, names: Mapping[str, str]) -> Deployed:
    """Return the parameters of the stacks that stand, of `names` by kind of stack."""
    found: dict[str, dict[str, str]] = {}
    for kind, name in names.items():
        if kind != "network" and "network" not in found:
            break  # every other stack is on it
        stack = aws.stack(name)
        if stack is not None and stack["StackStatus"] not in _EMPTY:
            found[kind] = {part["ParameterKey"]: part["ParameterValue"] for part in stack.get("Parameters", [])}
    return Deployed(found)


def is_unreachable(error: AwsError) -> bool:
    """Return whether the error says that AWS was not asked: no credentials, or no network."""
    return any(text in str(error) for text in _UNREACHABLE)
