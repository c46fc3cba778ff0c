"""AWS as the account's owner sees it: questions through boto3, deployments through the `aws` command line."""

from __future__ import annotations

import functools
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, WaiterError


class AwsError(Exception):
    """A call or a command failed; the message holds it and what AWS said."""


@dataclass(frozen=True, slots=True)
class Aws:
    """Calls AWS in one region; credentials and endpoints come from the environment, as for the command line."""

    region: str

    def call(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """Call an operation by its name in boto3, all its pages, and return the answer."""
        try:
            client = _client(service, self.region)
            if client.can_paginate(operation):
                pages = client.get_paginator(operation).paginate(**parameters)
                answer: dict[str, Any] = pages.build_full_result()
                return answer
            answer = getattr(client, operation)(**parameters)
        except (BotoCoreError, ClientError) as error:
            raise AwsError(f"{service}.{operation} failed: {error}") from error
        return answer

    def wait(self, service: str, waiter: str, /, **parameters: Any) -> None:
        """Wait until what one of boto3's waiters names is so; AwsError where it will not be."""
        try:
            _client(service, self.region).get_waiter(waiter).wait(**parameters)
        except (BotoCoreError, ClientError, WaiterError) as error:
            raise AwsError(f"Waiting for {waiter} failed: {error}") from error

    def stack(self, name: str) -> dict[str, Any] | None:
        """Return the description of a stack, or None if there is none."""
        try:
            described = self.call("cloudformation", "describe_stacks", StackName=name)
        except AwsError as error:
            if "does not exist" in str(error):
                return None
            raise
        stack: dict[str, Any] = described["Stacks"][0]
        return stack

    def outputs(self, name: str) -> dict[str, str]:
        """Return the outputs of a stack that stands."""
        stack = self.stack(name)
        if stack is None:
            raise AwsError(f"There is no stack {name} in {self.region}. Deploy it first.")
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def resources(self, name: str) -> list[dict[str, Any]]:
        """Return a stack's resources, as CloudFormation describes them; none if there is no stack."""
        if self.stack(name) is None:
            return []
        listed: list[dict[str, Any]] = self.call("cloudformation", "list_stack_resources", StackName=name)[
            "StackResourceSummaries"
        ]
        return listed

    def settled_status(self, name: str, *, pause_seconds: float = 5) -> str:
        """Return the status of a stack once nothing is in progress, or an empty string if there is none."""
        while True:
            stack = self.stack(name)
            status: str = stack["StackStatus"] if stack else ""
            if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
                return status
            time.sleep(pause_seconds)

    def failures(self, name: str) -> list[str]:
        """Return a line for each resource that failed in the stack's last operation, the cause first."""
        events = self.call("cloudformation", "describe_stack_events", StackName=name)["StackEvents"]
        lines = []
        for event in events:  # newest first
            if event["ResourceType"] == "AWS::CloudFormation::Stack" and event["ResourceStatus"] in {
                "CREATE_IN_PROGRESS",
                "UPDATE_IN_PROGRESS",
                "DELETE_IN_PROGRESS",
            }:
                break
            if event["ResourceStatus"].endswith("_FAILED"):
                reason = event.get("ResourceStatusReason", "no reason given")
                lines.append(f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}")
        return lines[::-1]


@functools.cache
def _client(service: str, region: str) -> Any:
    client: Any = boto3.client  # its types know each service by a literal
    return client(service, region_name=region)


def run(command: list[str]) -> None:
    """Run a command with its output on the terminal; AwsError when it fails."""
    if shutil.which(command[0]) is None:
        raise AwsError(f"{command[0]} is not installed, and this needs it: {' '.join(command)}")
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise AwsError(f"{' '.join(command)}\nfailed with status {done.returncode}.")
