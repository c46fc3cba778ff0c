"""The parameters of the three templates: their types, limits and wording, each said once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from troposphere import Equals, Not, Parameter, Ref, Template

from cloudformation.config import (
    ARCHITECTURES,
    ENVIRONMENTS,
    LOG_RETENTION_DAYS,
    MOST_MAX_TASKS,
    MOST_MIN_TASKS,
    NETWORK_MODES,
    PATTERNS,
    POLICIES,
    TASK_SIZES,
    Settings,
    parameter_default,
)

_TRUE_OR_FALSE = ("true", "false")


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


_PROJECT = Spec("ProjectName", "What it is", "Project", "Prefix of names and tags.", pattern_of="project_name")
_ENVIRONMENT = Spec(
    "EnvironmentName",
    "What it is",
    "Environment",
    "dev, staging or prod; prod is protected from deletion and spreads over two zones.",
    allowed=ENVIRONMENTS,
)
_CREATE_DATABASE = Spec(
    "CreateDatabase",
    "Registry database",
    "PostgreSQL for the registry",
    "false keeps the registry in SQLite on the task, where it is lost with the task. "
    "The data and the service stack must agree.",
    allowed=_TRUE_OR_FALSE,
)

NETWORK = (
    _PROJECT,
    _ENVIRONMENT,
    Spec(
        "NetworkMode",
        "How tasks reach AWS",
        "Network mode",
        "public: tasks in public subnets with a public address, entered from the balancer only. "
        "nat: private subnets and a NAT gateway. endpoints: private subnets and interface endpoints.",
        allowed=NETWORK_MODES,
    ),
    Spec(
        "EndpointZones",
        "How tasks reach AWS",
        "Zones with interface endpoints",
        "Of the mode endpoints only: each endpoint is paid for in each zone.",
        allowed=(1, 2),
        is_number=True,
    ),
)

DATA = (
    _PROJECT,
    _ENVIRONMENT,
    Spec(
        "ModelPrefix",
        "Models",
        "Folder of the models in the bucket",
        "The service may read what is under it, and nothing else.",
        pattern_of="model_prefix",
    ),
    _CREATE_DATABASE,
    Spec(
        "DatabaseInstanceClass",
        "Registry database",
        "Instance class",
        "db.t4g.micro is plenty for a registry.",
        pattern_of="database_instance_class",
    ),
    Spec(
        "DatabaseEngineVersion",
        "Registry database",
        "PostgreSQL version",
        "A full version of PostgreSQL 17.",
        pattern_of="database_engine_version",
    ),
)

SERVICE = (
    _PROJECT,
    _ENVIRONMENT,
    Spec("ImageTag", "What runs", "Image tag", "A tag pushed to the data stack's repository.", pattern_of="image_tag"),
    _CREATE_DATABASE,
    Spec(
        "ModelsPolicy",
        "What runs",
        "Policy of newly found models",
        "manual: a person activates. latest: a version that passes its checks is activated by itself.",
        allowed=POLICIES,
    ),
    Spec(
        "AllowAdminUpload",
        "What runs",
        "Uploads through the admin",
        "true lets the service write models; by default it can only read them.",
        allowed=_TRUE_OR_FALSE,
    ),
    Spec(
        "RequireApiKey",
        "What runs",
        "Predictions need a key",
        "true refuses predictions without a key of the registry.",
        allowed=_TRUE_OR_FALSE,
    ),
    Spec(
        "CertificateArn",
        "The way in",
        "Certificate",
        "ACM certificate in this region. With it HTTP is redirected to HTTPS; without it the service speaks HTTP.",
        pattern_of="certificate_arn",
    ),
    Spec("DomainName", "The way in", "Domain name", "Host name of the certificate, if any.", pattern_of="domain_name"),
    Spec(
        "AdminCidr",
        "The way in",
        "Addresses that may open the admin and the metrics",
        "For example 203.0.113.7/32. Empty: nobody can from the internet.",
        pattern_of="admin_cidr",
    ),
    Spec(
        "WebAclArn", "The way in", "Web ACL", "A regional WAF web ACL that you already have.", pattern_of="web_acl_arn"
    ),
    Spec(
        "RateLimit",
        "The way in",
        "Requests per address in five minutes",
        "Above 0 makes a web ACL that refuses an address beyond it (WAF costs extra). 0: none.",
        is_number=True,
        minimum=0,
    ),
    Spec(
        "TaskCpu",
        "Size",
        "CPU units of a task",
        "1024 is one vCPU; one worker process runs on each.",
        allowed=tuple(TASK_SIZES),
        is_number=True,
    ),
    Spec(
        "TaskMemory",
        "Size",
        "Memory of a task (MiB)",
        "Must be a size that Fargate sells with the CPU units.",
        allowed=tuple(sorted({size for sizes in TASK_SIZES.values() for size in sizes})),
        is_number=True,
    ),
    Spec(
        "CpuArchitecture",
        "Size",
        "Processor",
        "ARM64 is a fifth cheaper; the image must be built for it.",
        allowed=ARCHITECTURES,
    ),
    Spec(
        "UseSpot",
        "Size",
        "Spot capacity",
        "true costs up to 70 % less; AWS may take a task away at two minutes' notice.",
        allowed=_TRUE_OR_FALSE,
    ),
    Spec("MinTasks", "Size", "Fewest tasks", "Two or more in prod.", is_number=True, minimum=1, maximum=MOST_MIN_TASKS),
    Spec("MaxTasks", "Size", "Most tasks", "At least MinTasks.", is_number=True, minimum=1, maximum=MOST_MAX_TASKS),
    Spec(
        "CpuTargetPercent",
        "Size",
        "CPU to hold (%)",
        "Tasks are added above it.",
        is_number=True,
        minimum=10,
        maximum=90,
    ),
    Spec(
        "RequestsPerTask",
        "Size",
        "Requests per task and minute to hold",
        "Tasks are added above it.",
        is_number=True,
        minimum=1,
    ),
    Spec(
        "LogRetentionDays",
        "Watching it",
        "Days that logs are kept",
        "Of the service's log group.",
        allowed=LOG_RETENTION_DAYS,
        is_number=True,
    ),
    Spec(
        "AlarmEmail",
        "Watching it",
        "Address for alarms",
        "Must confirm by mail. Empty: none.",
        pattern_of="alarm_email",
    ),
    Spec(
        "EnableExec",
        "Watching it",
        "A shell in the task",
        "true allows aws ecs execute-command; the container's root file system is then writable.",
        allowed=_TRUE_OR_FALSE,
    ),
    Spec(
        "PermissionsBoundaryArn",
        "Watching it",
        "Permissions boundary",
        "Policy that bounds both roles, where your account demands one.",
        pattern_of="permissions_boundary_arn",
    ),
)

NETWORK_STACK = "NetworkStack"
DATA_STACK = "DataStack"
PARENTS = {"network": (), "data": (NETWORK_STACK,), "service": (NETWORK_STACK, DATA_STACK)}
SPECS = {"network": NETWORK, "data": DATA, "service": SERVICE}


def stack_name(settings: Settings, stack: str) -> str:
    """Return the name under which a stack is made: `mlapi-dev-network`."""
    return f"{settings.project_name}-{settings.environment_name}-{stack}"


def parameters_of(settings: Settings, stack: str) -> dict[str, str]:
    """Return the parameters with which a stack is deployed, the parents' names among them."""
    parents = {name: stack_name(settings, name.removesuffix("Stack").lower()) for name in PARENTS[stack]}
    return parents | {spec.name: settings.parameter(spec.name) for spec in SPECS[stack]}


def add_parameters(template: Template, stack: str) -> None:
    """Give the template its parameters, with the groups and labels that the console shows."""
    for parent in PARENTS[stack]:
        what = parent.removesuffix("Stack").lower()
        _add(
            template,
            Parameter(
                parent,
                Type="String",
                Default=f"{Settings().project_name}-{Settings().environment_name}-{what}",
                Description=f"Name of the {what} stack, whose exports this one uses.",
                AllowedPattern="[A-Za-z][A-Za-z0-9-]{0,127}",
            ),
            group="Stacks below",
            label=f"The {what} stack",
        )
    for spec in SPECS[stack]:
        _add(template, _parameter(spec), group=spec.group, label=spec.label)


def _add(template: Template, parameter: Parameter, *, group: str, label: str) -> None:
    template.add_parameter(parameter)
    template.add_parameter_to_group(parameter, group)
    template.set_parameter_label(parameter, label)


def _parameter(spec: Spec) -> Parameter:
    properties: dict[str, object] = {
        "Type": "Number" if spec.is_number else "String",
        "Description": spec.description,
    }
    if spec.name != "ImageTag":  # what runs is always named, never assumed
        properties["Default"] = parameter_default(spec.name)
    if spec.allowed:
        properties["AllowedValues"] = [str(value) for value in spec.allowed]
    if spec.pattern_of:
        pattern, expected = PATTERNS[spec.pattern_of]
        properties["AllowedPattern"] = f"^({pattern})$"
        properties["ConstraintDescription"] = f"expected {expected}"
    if spec.minimum is not None:
        properties["MinValue"] = spec.minimum
    if spec.maximum is not None:
        properties["MaxValue"] = spec.maximum
    return Parameter(spec.name, **properties)


def add_rules(template: Template) -> None:
    """Refuse, before anything is made, the task sizes that Fargate does not sell and a ceiling under the floor."""
    for cpu, sizes in TASK_SIZES.items():
        template.add_rule(
            f"MemoryFitsCpu{cpu}",
            {
                "RuleCondition": Equals(Ref("TaskCpu"), str(cpu)),
                "Assertions": [
                    {
                        "Assert": _contains(sizes, "TaskMemory"),
                        "AssertDescription": f"With TaskCpu {cpu} Fargate sells {', '.join(map(str, sizes))} MiB.",
                    }
                ],
            },
        )
    for ceiling in range(1, MOST_MIN_TASKS):
        template.add_rule(
            f"MinTasksUpTo{ceiling}",
            {
                "RuleCondition": Equals(Ref("MaxTasks"), str(ceiling)),
                "Assertions": [
                    {
                        "Assert": _contains(range(1, ceiling + 1), "MinTasks"),
                        "AssertDescription": f"MinTasks must not exceed MaxTasks, which is {ceiling}.",
                    }
                ],
            },
        )
    template.add_rule(
        "ProdSpreadsOverTwoZones",
        {
            "RuleCondition": Equals(Ref("EnvironmentName"), "prod"),
            "Assertions": [
                {"Assert": Not(Equals(Ref("MinTasks"), "1")), "AssertDescription": "prod needs MinTasks of 2 or more."},
                {"Assert": Equals(Ref("CreateDatabase"), "true"), "AssertDescription": "prod needs the database."},
            ],
        },
    )


def _contains(allowed: Iterable[int], parameter: str) -> dict[str, list[object]]:
    # troposphere has no class for the functions that only rules may use
    return {"Fn::Contains": [[str(value) for value in allowed], Ref(parameter)]}
