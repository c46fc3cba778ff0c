"""Checks the settings before a deployment: every reason why it would fail or be unsafe, as a sentence."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator

from cloudformation import config, door_problems
from cloudformation.config import AddressPlan, ConfigurationError, Settings, parameter_name


def require_sound(settings: Settings, addresses: AddressPlan | None = None) -> None:
    """Raise ConfigurationError with every reason why the deployment would fail or be unsafe."""
    problems = [*problems_of(settings), *address_problems(addresses or AddressPlan())]
    if problems:
        raise ConfigurationError("\n".join(problems))


def require_deployable(settings: Settings) -> None:
    """Raise ConfigurationError with every reason against a deployment of the settings.

    Stricter than `require_sound`, which suffices for a cost estimate.
    """
    problems = [*problems_of(settings), *address_problems(AddressPlan()), *_missing_problems(settings)]
    if problems:
        raise ConfigurationError("\n".join(problems))


def problems_of(settings: Settings) -> list[str]:
    """Return a sentence for each invalid parameter; empty if all are valid."""
    return [
        *_choice_problems(settings),
        *_pattern_problems(settings),
        *_size_problems(settings),
        *_certificate_problems(settings),
        *_admin_cidr_problems(settings),
        *_production_problems(settings),
        *_zone_problems(settings),
        *_variable_problems(settings),
        *_combination_problems(settings),
        *door_problems.problems(settings),
    ]


def _choice_problems(settings: Settings) -> Iterator[str]:
    choices: dict[str, tuple[object, ...]] = {
        "environment_name": config.ENVIRONMENTS,
        "network_mode": config.NETWORK_MODES,
        "door": config.DOORS,
        "endpoint_zones": (1, 2),
        "cpu_architecture": config.ARCHITECTURES,
        "models_policy": config.POLICIES,
        "models_signatures": config.SIGNATURES,
        "deployment_strategy": config.DEPLOYMENT_STRATEGIES,
        "sign_in_at": ("balancer", "service"),
        "live_target_group": ("main", "alternate"),
        "log_retention_days": config.LOG_RETENTION_DAYS,
        "flow_logs": config.FLOW_LOGS,
    }
    for field_name, allowed in choices.items():
        value = getattr(settings, field_name)
        if value not in allowed:
            listed = ", ".join(str(choice) for choice in allowed)
            yield f"{parameter_name(field_name)} is {value}; expected one of {listed}."


def _pattern_problems(settings: Settings) -> Iterator[str]:
    for field_name, (pattern, expected) in config.PATTERNS.items():
        value = getattr(settings, field_name)
        if not re.fullmatch(pattern, value):
            yield f"{parameter_name(field_name)} is {value!r}; expected {expected}."


def _size_problems(settings: Settings) -> Iterator[str]:
    sizes = config.TASK_SIZES.get(settings.task_cpu)
    if sizes is None:
        sold = ", ".join(map(str, config.TASK_SIZES))
        yield f"TaskCpu is {settings.task_cpu}; Fargate offers {sold} (1024 is one vCPU)."
    elif settings.task_memory not in sizes:
        yield (
            f"TaskMemory is {settings.task_memory} MiB; with TaskCpu {settings.task_cpu} "
            f"Fargate offers {', '.join(map(str, sizes))}."
        )
    if (
        not 1 <= settings.min_tasks <= settings.max_tasks <= config.MAX_MAX_TASKS
        or settings.min_tasks > config.MAX_MIN_TASKS
    ):
        yield (
            f"MinTasks is {settings.min_tasks} and MaxTasks {settings.max_tasks}; "
            f"expected 1 <= MinTasks <= MaxTasks <= {config.MAX_MAX_TASKS}, and MinTasks <= {config.MAX_MIN_TASKS}."
        )
    if not 10 <= settings.cpu_target_percent <= 90:
        yield f"CpuTargetPercent is {settings.cpu_target_percent}; expected 10 to 90."
    limits = {
        "start_grace_seconds": (config.MIN_START_GRACE_SECONDS, config.MAX_START_GRACE_SECONDS),
        "models_discovery_seconds": (1, 3600),
        "log_sample_percent": (0, 100),
    }
    for field_name, (least, most) in limits.items():
        value = getattr(settings, field_name)
        if not least <= value <= most:
            yield f"{parameter_name(field_name)} is {value}; expected {least} to {most}."
    if settings.rate_limit and not 10 <= settings.rate_limit <= 2_000_000_000:
        yield f"RateLimit is {settings.rate_limit}; expected 0 (none) or at least 10 requests in five minutes."


def _certificate_problems(settings: Settings) -> Iterator[str]:
    for field_name in ("certificate_arn", "web_acl_arn", "key_arn"):
        arn = getattr(settings, field_name)
        parts = arn.split(":")
        region = parts[3] if len(parts) > 3 else ""
        if region and region != settings.region:
            yield (
                f"{parameter_name(field_name)} is in {region}, and the stacks are made in {settings.region}. "
                f"A stack can only use resources of its own region: request one in {settings.region}, "
                f"or deploy with --region {region}."
            )
    if settings.domain_name and not settings.certificate_arn:
        yield (
            f"DomainName is {settings.domain_name} without a certificate. "
            "Set CertificateArn too, so that the name is served over HTTPS."
        )


# No client on the internet has an address in these.
_PRIVATE_RANGES = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


def _admin_cidr_problems(settings: Settings) -> Iterator[str]:
    if not settings.admin_cidr or not re.fullmatch(config.PATTERNS["admin_cidr"][0], settings.admin_cidr):
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
            "The balancer sees the public addresses of clients, so no client would be admitted: give public addresses."
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


def _missing_problems(settings: Settings) -> Iterator[str]:
    if settings.is_prod and settings.door == "balancer" and not settings.certificate_arn:
        yield (
            "prod needs a certificate: without one, keys, passwords and predictions cross the internet unencrypted. "
            "Request one in ACM and set CertificateArn, in cloudformation/environments/prod.toml or with --set."
        )


def _zone_problems(settings: Settings) -> Iterator[str]:
    zones = (settings.first_zone, settings.second_zone)
    if any(zones) and (not all(zones) or len(set(zones)) == 1):
        yield (
            f"FirstZone is {zones[0] or 'empty'} and SecondZone {zones[1] or 'empty'}; expected two different zones "
            "or none. `aws ec2 describe-availability-zones` lists yours."
        )
    for zone in filter(None, zones):
        if zone[:-1] != settings.region:
            yield f"The zone {zone} is not in {settings.region}, where the stacks are made."


def _variable_problems(settings: Settings) -> Iterator[str]:
    text = settings.environment_variables
    if not text:
        return
    try:
        variables = json.loads(text)
    except ValueError as error:
        yield f'EnvironmentVariables is not valid JSON: {error}. Expected e.g. {{"MLAPI_MAX_BODY_MB": "64"}}.'
        return
    for name, value in variables.items() if isinstance(variables, dict) else ():
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) or not isinstance(value, str):
            yield f"EnvironmentVariables has {name}: {value!r}; expected a name in capitals and a text in quotes."
        elif name in config.OWN_VARIABLES:
            own = config.OWN_VARIABLES[name]
            instead = f"Set the parameter {own} instead." if own else "The template sets it."
            yield f"EnvironmentVariables has {name}. {instead}"


def _combination_problems(settings: Settings) -> Iterator[str]:
    if settings.models_signatures != "off" and not settings.signature_key:
        yield (
            f"ModelsSignatures is {settings.models_signatures} without a public key. Set SignatureKey to the "
            "base64 lines of the public key's PEM file, joined."
        )
    if not settings.create_database and settings.max_tasks > 1:
        yield (
            f"MaxTasks is {settings.max_tasks} without a database: each task would have its own registry, "
            "and the admin would show a different one at each click. Set MaxTasks=1 or CreateDatabase=true."
        )
    if settings.enable_exec and settings.network_mode == "endpoints":
        yield (
            "EnableExec needs the endpoint ssmmessages, which the network mode endpoints does not include. "
            "Use the mode public or nat while you look into a task."
        )
    for name, is_set in (("RateLimit", settings.rate_limit), ("ManagedRules", settings.managed_rules)):
        if settings.web_acl_arn and is_set:
            yield f"WebAclArn and {name} are both set; a balancer takes one web ACL. Keep one of them."


def address_problems(addresses: AddressPlan) -> list[str]:
    """Return a sentence for each subnet that overlaps another, or is outside the network."""
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
