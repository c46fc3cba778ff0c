"""From settings to the commands that make them true: which stacks, in which order, with which parameters."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from cloudformation.config import Settings, require_sound
from cloudformation.parameters import parameters_of, stack_name
from cloudformation.stacks import STACKS, TEMPLATES

CAPABILITIES = {"network": (), "data": (), "service": ("CAPABILITY_IAM",)}


@dataclass(frozen=True, slots=True)
class Deployment:
    """One stack as it will be deployed."""

    stack: str
    template: Path
    parameters: dict[str, str]
    capabilities: tuple[str, ...]
    region: str
    tags: dict[str, str]

    def command(self) -> list[str]:
        """Return the `aws` command that deploys it; saying it twice changes nothing the second time."""
        command = ["aws", "cloudformation", "deploy", "--region", self.region]
        command += ["--stack-name", self.stack, "--template-file", str(self.template)]
        command += ["--no-fail-on-empty-changeset"]
        if self.capabilities:
            command += ["--capabilities", *self.capabilities]
        command += ["--parameter-overrides", *(f"{name}={value}" for name, value in self.parameters.items())]
        return [*command, "--tags", *(f"{name}={value}" for name, value in self.tags.items())]

    def as_json(self) -> dict[str, object]:
        return {
            "stack": self.stack,
            "template": str(self.template),
            "parameters": self.parameters,
            "capabilities": list(self.capabilities),
        }


def plan(settings: Settings) -> list[Deployment]:
    """Return the three stacks in their order, or raise ConfigurationError with every reason against them."""
    require_sound(settings)
    return [
        Deployment(
            stack=stack_name(settings, stack),
            template=_shown(TEMPLATES / f"{stack}.yaml"),
            parameters=parameters_of(settings, stack),
            capabilities=CAPABILITIES[stack],
            region=settings.region,
            # tags of a stack become tags of all that it makes
            tags={"Project": settings.project_name, "Environment": settings.environment_name},
        )
        for stack in STACKS
    ]


def as_text(deployments: list[Deployment]) -> str:
    """Return the plan as a person reads it: each stack, its parameters, its command."""
    parts = []
    for number, deployment in enumerate(deployments, start=1):
        lines = [f"{number}. {deployment.stack}  ({deployment.template})"]
        lines += [f"     {name} = {value}" for name, value in deployment.parameters.items()]
        lines += ["", shell_text(deployment.command()), ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def shell_text(command: list[str]) -> str:
    """Return a command as it is typed into a shell, its long ones an option a line."""
    return shlex.join(command).replace(" --", " \\\n  --")


def _shown(path: Path) -> Path:
    # as short as it can be typed from here
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
