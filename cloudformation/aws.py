"""The `aws` command line, run as a person would run it: the same words, their output passed on, errors as sentences."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import Any


class AwsError(Exception):
    """A command failed; the message holds the command and what it said."""


@dataclass(frozen=True, slots=True)
class Aws:
    """Runs `aws` in one region; credentials and endpoints come from the environment, as for a person."""

    region: str

    def call(self, *words: str) -> Any:
        """Run `aws WORDS --output json` and return what it answered."""
        command = ["aws", *words, "--region", self.region, "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AwsError(f"{' '.join(command)}\nfailed: {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def stack(self, name: str) -> dict[str, Any] | None:
        """Return the description of a stack, or None where there is none."""
        try:
            described = self.call("cloudformation", "describe-stacks", "--stack-name", name)
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

    def settled_status(self, name: str, *, pause_seconds: float = 5) -> str:
        """Return the status of a stack once nothing is in progress, or an empty string where there is none."""
        while True:
            stack = self.stack(name)
            status: str = stack["StackStatus"] if stack else ""
            if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
                return status
            time.sleep(pause_seconds)

    def failures(self, name: str) -> list[str]:
        """Return a line for each resource that failed in the stack's last operation, the cause first."""
        events = self.call("cloudformation", "describe-stack-events", "--stack-name", name)["StackEvents"]
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


def run(command: list[str]) -> None:
    """Run a command with its output on the terminal; AwsError when it fails."""
    if shutil.which(command[0]) is None:
        raise AwsError(f"{command[0]} is not installed, and this needs it: {' '.join(command)}")
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise AwsError(f"{' '.join(command)}\nfailed with status {done.returncode}.")
