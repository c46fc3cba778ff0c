"""Which value each parameter gets: from the command line, the environment's file, what is deployed, or a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cloudformation.config import PROFILES, ConfigurationError, Settings, known_parameter, require_profile
from cloudformation.environments import EnvironmentFile
from cloudformation.parameters import stack_name
from cloudformation.specs import SPECS

# They say which stacks are meant, so no stack can answer them.
_NAMING = {"ProjectName", "EnvironmentName"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks for: each field as on the command line, `assignments` in their order."""

    environment: str = "dev"
    region: str = ""
    region_of_shell: str = ""
    profile: str = ""
    assignments: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deployed:
    """The parameters of the stacks that stand, by kind of stack: `{"data": {"CreateDatabase": "true"}}`."""

    stacks: Mapping[str, Mapping[str, str]]

    def parameters(self, stack: str) -> Mapping[str, str] | None:
        """Return a stack's parameters, or None if it does not stand."""
        return self.stacks.get(stack)

    def values(self) -> dict[str, str]:
        """Return the deployed value of each parameter, the first stack's where two have it."""
        found: dict[str, str] = {}
        for stack in SPECS:
            for name, value in self.stacks.get(stack, {}).items():
                found.setdefault(name, value)
        return found


NOTHING = Deployed({})


def requested(request: Request, file: EnvironmentFile, deployed: Deployed = NOTHING) -> Settings:
    """Return the settings of a deployment.

    The command line wins over the file, the file over what is deployed, and that over the defaults of the environment.
    What is `unset` goes back to its default.
    """
    _refuse_unset_problems(request, file)
    require_profile(request.profile, "--profile")
    # The file is reviewed; a variable left in somebody's shell is not.
    region = request.region or file.region or request.region_of_shell or "us-east-1"
    settings = Settings.for_environment(request.environment, region=region)
    settings = _with_deployed(settings, deployed, unset=set(request.unset))
    settings = _with_profile(settings, file.profile).with_assignments(
        [f"{name}={value}" for name, value in file.assignments.items()], source=str(file.path)
    )
    settings = _with_profile(settings, request.profile)
    settings = settings.with_assignments(list(request.assignments), source="--set")
    asked = {assignment.partition("=")[0] for assignment in request.assignments} | file.assignments.keys()
    if "ImageTag" in asked and "ImageDigest" not in asked:
        settings = replace(settings, image_digest="")  # the deployed one is another image's
    return _with_one_registry(settings, asked)


def names_of(settings: Settings) -> dict[str, str]:
    """Return the stacks' names by their kind."""
    return {stack: stack_name(settings, stack) for stack in SPECS}


def _with_deployed(settings: Settings, deployed: Deployed, *, unset: set[str]) -> Settings:
    kept = {
        name: value
        for name, value in deployed.values().items()
        # a parameter of an older template is dropped by the deployment itself
        if known_parameter(name) and name not in unset | _NAMING
    }
    return settings.with_assignments([f"{name}={value}" for name, value in kept.items()], source="deployed")


def _with_profile(settings: Settings, profile: str) -> Settings:
    return replace(settings, **PROFILES[profile]) if profile else settings  # type: ignore[arg-type]


def _with_one_registry(settings: Settings, asked: set[str]) -> Settings:
    """Without a database one task is the ceiling, unless another is asked for (and then refused with its reason)."""
    if settings.create_database or "MaxTasks" in asked:
        return settings
    return replace(settings, min_tasks=min(settings.min_tasks, 1), max_tasks=1)


def _refuse_unset_problems(request: Request, file: EnvironmentFile) -> None:
    assigned = {assignment.partition("=")[0] for assignment in request.assignments}
    for name in request.unset:
        if not known_parameter(name):
            raise ConfigurationError(f"--unset {name}: no template has a parameter {name}.")
        if name in {"ImageTag", *_NAMING}:
            raise ConfigurationError(f"--unset {name}: every deployment needs one. Set another with --set {name}=…")
        if name in assigned:
            raise ConfigurationError(f"--unset {name} and --set {name}=… contradict each other. Keep one of them.")
        if name in file.assignments:
            raise ConfigurationError(f"--unset {name}: {file.path} sets it. Remove the line there instead.")
