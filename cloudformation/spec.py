"""A parameter of a template, and those that several stacks take."""

from __future__ import annotations

from dataclasses import dataclass

from cloudformation.config import DEPLOYMENT_STRATEGIES, ENVIRONMENTS, NETWORK_MODES

TRUE_OR_FALSE = ("true", "false")


@dataclass(frozen=True, slots=True)
class Spec:
    """A parameter as the console shows it. `pattern_of` names the setting whose pattern it must match."""

    name: str
    group: str
    label: str
    description: str
    allowed: tuple[object, ...] = ()
    pattern_of: str = ""
    is_number: bool = False
    minimum: int | None = None
    maximum: int | None = None


PROJECT = Spec("ProjectName", "What it is", "Project", "Prefix of names and tags.", pattern_of="project_name")
ENVIRONMENT = Spec(
    "EnvironmentName",
    "What it is",
    "Environment",
    "dev, staging or prod; prod is protected from deletion and spreads over two zones.",
    allowed=ENVIRONMENTS,
)
CREATE_DATABASE = Spec(
    "CreateDatabase",
    "Registry database",
    "PostgreSQL for the registry",
    "false keeps the registry in SQLite on the task, where it is lost with the task. "
    "The stacks data, service and monitoring must agree.",
    allowed=TRUE_OR_FALSE,
)

KEY = Spec(
    "KeyArn",
    "Encryption",
    "Customer key",
    "A key of the stack key. Empty: AWS's own keys. The stacks data and service must agree.",
    pattern_of="key_arn",
)

NETWORK_MODE = Spec(
    "NetworkMode",
    "How tasks reach AWS",
    "Network mode",
    "public: tasks in public subnets with a public address, entered from the balancer only. "
    "nat: private subnets and a NAT gateway. endpoints: private subnets and interface endpoints. "
    "The network and the service stack must agree.",
    allowed=NETWORK_MODES,
)

STRATEGY = Spec("DeploymentStrategy", "How a new image takes over", "Strategy",
    "ROLLING: task by task. BLUE_GREEN, LINEAR, CANARY: beside the old one, after a smoke test, at once or in steps. "
    "The service and the monitoring stack must agree.", allowed=DEPLOYMENT_STRATEGIES)  # fmt: skip
