"""What a deployment is asked to be, and every reason for which it would not work."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

ENVIRONMENTS = ("dev", "staging", "prod")
NETWORK_MODES = ("public", "nat", "endpoints")
POLICIES = ("manual", "latest")
ARCHITECTURES = ("ARM64", "X86_64")
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 180, 365)
MOST_MIN_TASKS, MOST_MAX_TASKS = 10, 20

# Fargate's own table: CPU units -> the memory sizes (MiB) that it sells with them.
TASK_SIZES: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
}


class ConfigurationError(Exception):
    """The deployment cannot be as asked; the message has a line for every reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPlan:
    """The network's address ranges: one for the network, a pair for each kind of subnet."""

    vpc: str = "10.0.0.0/16"
    public: tuple[str, str] = ("10.0.0.0/24", "10.0.1.0/24")
    private: tuple[str, str] = ("10.0.10.0/24", "10.0.11.0/24")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One deployment. Each field is the template parameter of the same name: `task_cpu` is `TaskCpu`.

    The defaults are those of the templates. `region` is where the stacks are made, and no parameter.
    """

    region: str = "us-east-1"
    # network
    project_name: str = "mlapi"
    environment_name: str = "dev"
    network_mode: str = "public"
    endpoint_zones: int = 1
    # data
    create_database: bool = True
    database_instance_class: str = "db.t4g.micro"
    database_engine_version: str = "17.6"
    model_prefix: str = "models"
    # service
    image_tag: str = ""
    certificate_arn: str = ""
    domain_name: str = ""
    admin_cidr: str = ""
    task_cpu: int = 256
    task_memory: int = 1024
    cpu_architecture: str = "ARM64"
    use_spot: bool = False
    min_tasks: int = 1
    max_tasks: int = 4
    cpu_target_percent: int = 60
    requests_per_task: int = 1500
    models_policy: str = "manual"
    allow_admin_upload: bool = False
    require_api_key: bool = False
    log_retention_days: int = 30
    alarm_email: str = ""
    web_acl_arn: str = ""
    rate_limit: int = 0
    enable_exec: bool = False
    permissions_boundary_arn: str = ""

    @classmethod
    def for_environment(cls, environment: str, *, profile: str = "", region: str = "us-east-1") -> Self:
        """Return what an environment and a profile (if any) stand for, before anything is set by hand."""
        if profile and profile not in PROFILES:
            raise ConfigurationError(
                f"--profile is {profile!r}; expected one of {', '.join(PROFILES)}. "
                "Credentials are chosen by the variable AWS_PROFILE."
            )
        settings = cls(environment_name=environment, region=region)
        if environment == "prod":
            settings = replace(settings, min_tasks=2, endpoint_zones=2, log_retention_days=90)
        return replace(settings, **PROFILES.get(profile, {}))  # type: ignore[arg-type]

    def with_assignments(self, assignments: list[str]) -> Self:
        """Return these settings with each `Name=Value` applied, the later ones winning.

        Without a database one task is the ceiling, unless another is set (and then refused with its reason).
        """
        settings = self
        for assignment in assignments:
            settings = settings.with_assignment(assignment)
        names = {assignment.partition("=")[0] for assignment in assignments}
        if not settings.create_database and "MaxTasks" not in names:
            settings = replace(settings, min_tasks=min(settings.min_tasks, 1), max_tasks=1)
        return settings

    def with_assignment(self, assignment: str) -> Self:
        """Return these settings with one `Name=Value` applied."""
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {assignment}: expected Name=Value, for example TaskCpu=512.")
        field_name = _FIELD_OF_PARAMETER.get(name)
        if field_name is None:
            close = difflib.get_close_matches(name, _FIELD_OF_PARAMETER, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ConfigurationError(
                f"--set {assignment}: no template has a parameter {name}.{hint} "
                f"There are {', '.join(sorted(_FIELD_OF_PARAMETER))}."
            )
        return replace(self, **{field_name: _parsed(name, text, like=getattr(self, field_name))})  # type: ignore[arg-type]

    def parameter(self, name: str) -> str:
        """Return the value of the template parameter `name` as CloudFormation wants it written."""
        value = getattr(self, _FIELD_OF_PARAMETER[name])
        return str(value).lower() if isinstance(value, bool) else str(value)

    @property
    def is_prod(self) -> bool:
        return self.environment_name == "prod"


# The three sizes of bill: what each sets beyond the templates' defaults.
PROFILES: dict[str, dict[str, object]] = {
    "cheapest": {
        "create_database": False,
        "use_spot": True,
        "min_tasks": 1,
        "max_tasks": 1,
        "models_policy": "latest",
        "log_retention_days": 7,
    },
    "standard": {"min_tasks": 2},
    "production": {
        "network_mode": "nat",
        "min_tasks": 2,
        "max_tasks": 8,
        "task_cpu": 1024,
        "task_memory": 2048,
        "endpoint_zones": 2,
        "log_retention_days": 90,
        "rate_limit": 10_000,
    },
}


def parameter_name(field_name: str) -> str:
    """Return the template's name of a setting: `task_cpu` -> `TaskCpu`."""
    return "".join(word.capitalize() for word in field_name.split("_"))


_FIELD_OF_PARAMETER = {parameter_name(field.name): field.name for field in fields(Settings) if field.name != "region"}


def parameter_default(name: str) -> str:
    """Return the default that a template parameter bears."""
    return Settings().parameter(name)


def _parsed(name: str, text: str, *, like: object) -> object:
    if isinstance(like, bool):
        if text.lower() not in {"true", "false"}:
            raise ConfigurationError(f"{name} is {text!r}; expected true or false.")
        return text.lower() == "true"
    if isinstance(like, int):
        if not re.fullmatch(r"\d+", text):
            raise ConfigurationError(f"{name} is {text!r}; expected a whole number.")
        return int(text)
    return text


def require_sound(settings: Settings, addresses: AddressPlan | None = None) -> None:
    """Raise ConfigurationError with every reason for which the deployment would fail or be unsafe."""
    problems = [*problems_of(settings), *address_problems(addresses or AddressPlan())]
    if problems:
        raise ConfigurationError("\n".join(problems))


def problems_of(settings: Settings) -> list[str]:
    """Return a sentence for each parameter that cannot stand, none when all can."""
    return [
        *_choice_problems(settings),
        *_pattern_problems(settings),
        *_size_problems(settings),
        *_certificate_problems(settings),
        *_admin_cidr_problems(settings),
        *_production_problems(settings),
        *_combination_problems(settings),
    ]


def _choice_problems(settings: Settings) -> Iterator[str]:
    choices: dict[str, tuple[object, ...]] = {
        "environment_name": ENVIRONMENTS,
        "network_mode": NETWORK_MODES,
        "endpoint_zones": (1, 2),
        "cpu_architecture": ARCHITECTURES,
        "models_policy": POLICIES,
        "log_retention_days": LOG_RETENTION_DAYS,
    }
    for field_name, allowed in choices.items():
        value = getattr(settings, field_name)
        if value not in allowed:
            listed = ", ".join(str(choice) for choice in allowed)
            yield f"{parameter_name(field_name)} is {value}; expected one of {listed}."


PATTERNS: dict[str, tuple[str, str]] = {
    # an S3 bucket's generated name begins with the stack's, which begins with this one, in lower case
    "project_name": (r"[a-z][a-z0-9-]{1,19}", "2 to 20 lower-case letters, digits and hyphens, a letter first"),
    "model_prefix": (r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*", "a folder like models or team/models"),
    "image_tag": (r"|[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "a tag of a container image"),
    "database_engine_version": (r"17\.\d+", "a full version of PostgreSQL 17 such as 17.6"),
    "database_instance_class": (r"db\.[a-z0-9]+\.[a-z0-9]+", "an RDS class such as db.t4g.micro"),
    "domain_name": (r"|[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "a host name without https://"),
    "certificate_arn": (r"|arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[A-Za-z0-9-]+", "an ACM certificate's ARN"),
    "web_acl_arn": (r"|arn:aws[a-z-]*:wafv2:[a-z0-9-]+:\d{12}:regional/webacl/.+", "the ARN of a regional web ACL"),
    "permissions_boundary_arn": (r"|arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+", "the ARN of an IAM policy"),
    "alarm_email": (r"|[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address"),
    "admin_cidr": (r"|\d{1,3}(\.\d{1,3}){3}/\d{1,2}", "an IPv4 range such as 203.0.113.7/32"),
}  # fmt: skip


def _pattern_problems(settings: Settings) -> Iterator[str]:
    for field_name, (pattern, expected) in PATTERNS.items():
        value = getattr(settings, field_name)
        if not re.fullmatch(pattern, value):
            yield f"{parameter_name(field_name)} is {value!r}; expected {expected}."


def _size_problems(settings: Settings) -> Iterator[str]:
    sizes = TASK_SIZES.get(settings.task_cpu)
    if sizes is None:
        yield f"TaskCpu is {settings.task_cpu}; Fargate sells {', '.join(map(str, TASK_SIZES))} (1024 is one vCPU)."
    elif settings.task_memory not in sizes:
        yield (
            f"TaskMemory is {settings.task_memory} MiB; with TaskCpu {settings.task_cpu} "
            f"Fargate sells {', '.join(map(str, sizes))}."
        )
    if not 1 <= settings.min_tasks <= settings.max_tasks <= MOST_MAX_TASKS or settings.min_tasks > MOST_MIN_TASKS:
        yield (
            f"MinTasks is {settings.min_tasks} and MaxTasks {settings.max_tasks}; "
            f"expected 1 <= MinTasks <= MaxTasks <= {MOST_MAX_TASKS}, and MinTasks <= {MOST_MIN_TASKS}."
        )
    if not 10 <= settings.cpu_target_percent <= 90:
        yield f"CpuTargetPercent is {settings.cpu_target_percent}; expected 10 to 90."
    if settings.requests_per_task < 1:
        yield f"RequestsPerTask is {settings.requests_per_task}; expected one or more requests a minute."
    if settings.rate_limit and not 10 <= settings.rate_limit <= 2_000_000_000:
        yield f"RateLimit is {settings.rate_limit}; expected 0 (none) or at least 10 requests in five minutes."


def _certificate_problems(settings: Settings) -> Iterator[str]:
    for field_name in ("certificate_arn", "web_acl_arn"):
        arn = getattr(settings, field_name)
        parts = arn.split(":")
        region = parts[3] if len(parts) > 3 else ""
        if region and region != settings.region:
            yield (
                f"{parameter_name(field_name)} is in {region}, and the stacks are made in {settings.region}. "
                f"A load balancer takes only what is in its own region: request one in {settings.region}, "
                f"or deploy with --region {region}."
            )
    if settings.domain_name and not settings.certificate_arn:
        yield (
            f"DomainName is {settings.domain_name} without a certificate. "
            "Set CertificateArn too, so that the name is served over HTTPS."
        )


# No caller from the internet has an address in these.
_PRIVATE_RANGES = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


def _admin_cidr_problems(settings: Settings) -> Iterator[str]:
    if not settings.admin_cidr or not re.fullmatch(PATTERNS["admin_cidr"][0], settings.admin_cidr):
        return
    try:
        cidr = ipaddress.IPv4Network(settings.admin_cidr)
    except ValueError as error:
        yield f"AdminCidr is {settings.admin_cidr}: {error}. Expected a range such as 203.0.113.7/32."
        return
    if any(cidr.overlaps(ipaddress.IPv4Network(text)) for text in _PRIVATE_RANGES) and cidr.prefixlen:
        yield (
            f"AdminCidr {cidr} is a range of private addresses"
            f"{' that overlaps the network' if cidr.overlaps(ipaddress.IPv4Network(AddressPlan().vpc)) else ''}. "
            "The balancer sees callers by their public address, so it would admit nobody: give the public address."
        )


def _production_problems(settings: Settings) -> Iterator[str]:
    if not settings.is_prod:
        return
    if settings.min_tasks < 2:
        yield "prod needs two zones: with MinTasks=1 the only task is in one of them. Set MinTasks=2 or more."
    if settings.network_mode == "endpoints" and settings.endpoint_zones < 2:
        yield "prod needs two zones: with EndpointZones=1 both depend on one. Set EndpointZones=2."
    if not settings.create_database:
        yield (
            "prod needs the database: without it the registry, its history and its users are lost "
            "with each task. Set CreateDatabase=true."
        )
    if settings.admin_cidr == "0.0.0.0/0":
        yield "AdminCidr 0.0.0.0/0 opens the admin of prod to everybody. Give the addresses of the people who need it."


def _combination_problems(settings: Settings) -> Iterator[str]:
    if not settings.create_database and settings.max_tasks > 1:
        yield (
            f"MaxTasks is {settings.max_tasks} without a database: each task would have a registry of its own, "
            "and the admin would show another one at each click. Set MaxTasks=1 or CreateDatabase=true."
        )
    if settings.enable_exec and settings.network_mode == "endpoints":
        yield (
            "EnableExec needs the endpoint ssmmessages, which the network mode endpoints does not pay for. "
            "Use the mode public or nat while you look into a task."
        )
    if settings.web_acl_arn and settings.rate_limit:
        yield "WebAclArn and RateLimit are both set; a balancer takes one web ACL. Keep one of them."


def address_problems(addresses: AddressPlan) -> list[str]:
    """Return a sentence for each subnet that overlaps another, or lies outside the network."""
    vpc = ipaddress.IPv4Network(addresses.vpc)
    subnets = [ipaddress.IPv4Network(text) for text in (*addresses.public, *addresses.private)]
    problems = [f"The subnet {s} is not inside the network {vpc}." for s in subnets if not s.subnet_of(vpc)]
    for index, one in enumerate(subnets):
        problems += [
            f"The subnets {one} and {other} overlap; give each its own range."
            for other in subnets[index + 1 :]
            if one.overlaps(other)
        ]
    return problems
