"""From settings to the commands that make them true: which stacks, in which order, with which parameters."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudformation.config import ConfigurationError, Settings
from cloudformation.parameters import parameters_of, stack_name
from cloudformation.problems import require_deployable
from cloudformation.resolution import NOTHING, Deployed
from cloudformation.specs import template_of
from cloudformation.stacks import STACKS, TEMPLATES

CAPABILITIES = {"network": (), "data": (), "service": ("CAPABILITY_IAM",), "monitoring": ()}


@dataclass(frozen=True, slots=True)
class Deployment:
    """One stack as it will be deployed. `deployed` are its present parameters, None if it does not stand."""

    kind: str
    stack: str
    template: Path
    parameters: dict[str, str]
    capabilities: tuple[str, ...]
    region: str
    tags: dict[str, str]
    role_arn: str = ""
    deployed: Mapping[str, str] | None = None

    @property
    def overrides(self) -> dict[str, str]:
        """The parameters that a command has to name; CloudFormation keeps the value of every other."""
        deployed = self.deployed or {}
        return {name: value for name, value in self.parameters.items() if deployed.get(name) != value}

    def command(self) -> list[str]:
        """Return the `aws` command that deploys it; saying it twice changes nothing the second time."""
        command = ["aws", "cloudformation", "deploy", "--region", self.region]
        command += ["--stack-name", self.stack, "--template-file", str(self.template)]
        command += ["--no-fail-on-empty-changeset"]
        if self.capabilities:
            command += ["--capabilities", *self.capabilities]
        if self.role_arn:
            command += ["--role-arn", self.role_arn]
        if self.overrides:
            command += ["--parameter-overrides", *(f"{name}={value}" for name, value in self.overrides.items())]
        return [*command, "--tags", *(f"{name}={value}" for name, value in self.tags.items())]

    def as_json(self) -> dict[str, object]:
        return {
            "stack": self.stack,
            "template": str(self.template),
            "parameters": self.parameters,
            "capabilities": list(self.capabilities),
        }


def plan(settings: Settings, deployed: Deployed = NOTHING) -> list[Deployment]:
    """Return the stacks in the order in which they are deployed.

    Raises:
        ConfigurationError: with every reason against the settings.
    """
    require_deployable(settings)
    _require_door_free(settings, deployed)
    return [
        Deployment(
            kind=stack,
            stack=stack_name(settings, stack),
            template=_shown(TEMPLATES / f"{template_of(stack, settings)}.yaml"),
            parameters=parameters_of(settings, stack),
            capabilities=CAPABILITIES[stack],
            region=settings.region,
            # tags of a stack become tags of all that it makes
            tags={"Project": settings.project_name, "Environment": settings.environment_name},
            role_arn=settings.role_arn,
            deployed=deployed.parameters(stack),
        )
        for stack in order(settings, deployed)
    ]


def order(settings: Settings, deployed: Deployed = NOTHING) -> tuple[str, ...]:
    """Return the kinds of the stacks as they have to follow each other.

    What the service uses is made before the service and taken away after it: where tasks leave the private subnets,
    or the balancer goes, the network follows the service, and where the registry leaves its database, the data does.
    """
    values = deployed.values()
    if "service" not in deployed.stacks:
        return STACKS
    after = set()
    if settings.network_mode == "public" and values.get("NetworkMode", "public") != "public":
        after.add("network")
    if settings.door != "balancer" and values.get("Door", "balancer") == "balancer":
        after.add("network")
    if not settings.create_database and values.get("CreateDatabase") == "true":
        after.add("data")
    before = [stack for stack in STACKS if stack not in after and stack != "monitoring"]
    return (*before, *(stack for stack in STACKS if stack in after), "monitoring")


def _require_door_free(settings: Settings, deployed: Deployed) -> None:
    """Raise ConfigurationError if the alarms of another door would forbid the service to change it."""
    standing = deployed.values().get("Door", "balancer")
    if settings.door == standing or not {"service", "monitoring"} <= set(deployed.stacks):
        return
    monitoring = stack_name(settings, "monitoring")
    raise ConfigurationError(
        f"Door is {settings.door}, and the service that stands has {standing}. {monitoring} watches that one, and "
        "CloudFormation takes away nothing that another stack uses. Delete it first; it holds no data, and this "
        f"deployment creates it again:\n  aws cloudformation delete-stack --region {settings.region} "
        f"--stack-name {monitoring}\nThe address of the service changes too: read docs/aws-doors.md, under From one "
        "door to the other."
    )


def as_text(deployments: Iterable[Deployment], changes: Mapping[str, str] | None = None) -> str:
    """Return the plan as a person reads it: each stack, its parameters, what changes, its command."""
    parts = []
    for number, deployment in enumerate(deployments, start=1):
        lines = [f"{number}. {deployment.stack}  ({deployment.template})"]
        lines += [f"     {_parameter_line(deployment, name)}" for name in deployment.parameters]
        if changes:
            lines += ["", changes[deployment.stack]]
        lines += ["", shell_text(deployment.command()), ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _parameter_line(deployment: Deployment, name: str) -> str:
    value = deployment.parameters[name]
    if deployment.deployed is None or name not in deployment.overrides:
        return f"{name} = {value}"
    before = deployment.deployed.get(name)
    return f"{name} = {value}  (new)" if before is None else f"{name} = {value}  (was {before or 'empty'})"


def shell_text(command: list[str]) -> str:
    """Return a command as it is typed into a shell, its long ones an option a line."""
    return shlex.join(command).replace(" --", " \\\n  --")


def _shown(path: Path) -> Path:
    # as short as it can be typed from here
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
