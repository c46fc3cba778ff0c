"""The permissions of a deployed role, by an evaluator of IAM's own rules."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.cloudformation.conftest import TOOLS, Emulator

# An action, a resource, and the context of the call where a policy asks for one.
Call = tuple[str, str] | tuple[str, str, dict[str, str]]


def decide(aws: Emulator, role: str, calls: Iterable[Call]) -> list[str]:
    """Return for each call what the role's inline policies decide."""
    iam = aws.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    asked = {
        "policies": [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names],
        "calls": [
            {"action": action, "resource": resource, "context": context[0] if context else {}}
            for action, resource, *context in calls
        ],
    }
    done = subprocess.run(
        [TOOLS / "python", Path(__file__).with_name("evaluate.py")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    decisions: list[str] = json.loads(done.stdout)
    return decisions
