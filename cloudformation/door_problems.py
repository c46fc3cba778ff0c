"""Reasons against a door, a sign-in, a shift of traffic or a night that could not work as asked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from cloudformation.config import PATTERNS, Settings, parameter_name


def problems(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each."""
    yield from _http_api_problems(settings)
    yield from _sign_in_problems(settings)
    yield from _emergency_problems(settings)
    yield from _shift_problems(settings)
    yield from _grpc_problems(settings)
    yield from _night_problems(settings)


def _http_api_problems(settings: Settings) -> Iterator[str]:
    if settings.door != "http-api":
        return
    if settings.certificate_arn and not settings.domain_name:
        yield (
            "CertificateArn is set without DomainName. The HTTP API's own address has a certificate; set DomainName "
            "too, or remove CertificateArn."
        )
    for name in ("rate_limit", "web_acl_arn", "managed_rules"):
        if getattr(settings, name):
            yield (
                f"{parameter_name(name)} needs a load balancer: an HTTP API takes no web ACL. Set ThrottlePerSecond, "
                f"which all callers share, and --unset {parameter_name(name)}; or set Door=balancer."
            )
    if settings.requests_per_task:
        yield "RequestsPerTask needs a load balancer, which counts them. Unset it; CpuTargetPercent scales the tasks."
    if settings.oidc_issuer:
        yield "OidcIssuer needs a load balancer: with an HTTP API there is no sign-in. Unset it, or set Door=balancer."
    if settings.deployment_strategy != "ROLLING":
        yield (
            f"DeploymentStrategy {settings.deployment_strategy} needs a load balancer, whose rules ECS moves. "
            "Set DeploymentStrategy=ROLLING, or Door=balancer."
        )
    for name in ("throttle_per_second", "throttle_burst"):
        if not 1 <= getattr(settings, name) <= 10_000:
            yield f"{parameter_name(name)} is {getattr(settings, name)}; expected 1 to 10000, an account's own limit."


def _sign_in_problems(settings: Settings) -> Iterator[str]:
    if not settings.oidc_issuer:
        return
    needed = ["oidc_client_id", "oidc_client_secret_arn", "sign_in_groups", "certificate_arn"]
    if settings.sign_in_at == "balancer":
        needed += ["oidc_authorization_endpoint", "oidc_token_endpoint", "oidc_user_info_endpoint"]
    missing = [parameter_name(name) for name in needed if not getattr(settings, name)]
    if missing:
        yield (
            f"OidcIssuer is set, and {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not. "
            f"Signing in at the {settings.sign_in_at} needs {'it' if len(missing) == 1 else 'them'}; the provider's "
            "page /.well-known/openid-configuration has its endpoints."
        )
    region = settings.oidc_client_secret_arn.split(":")[3] if settings.oidc_client_secret_arn.count(":") > 3 else ""
    if region and region != settings.region:
        yield f"OidcClientSecretArn is in {region}, and the stacks are made in {settings.region}. Keep it there."
    if settings.network_mode == "endpoints":
        yield (
            "OidcIssuer needs a way to the internet: the tasks fetch the balancer's public key, or speak to the "
            "provider. The network mode endpoints has none. Use public or nat."
        )


def _emergency_problems(settings: Settings) -> Iterator[str]:
    cidr = settings.emergency_cidr
    if not cidr or not re.fullmatch(PATTERNS["emergency_cidr"][0], cidr):
        return
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        yield f"EmergencyCidr is {cidr}: {error}. Expected a range such as 203.0.113.7/32."
        return
    if network.prefixlen < 16:
        yield f"EmergencyCidr {cidr} opens a way around the sign-in to {network.num_addresses:,} addresses. Give yours."
    if not settings.oidc_issuer or settings.sign_in_at != "balancer":
        yield "EmergencyCidr is set without a sign-in at the balancer, so there is nothing to go around. Remove it."


def _shift_problems(settings: Settings) -> Iterator[str]:
    if settings.deployment_strategy == "ROLLING":
        return
    strategy = settings.deployment_strategy
    if not settings.certificate_arn or not settings.domain_name:
        yield f"DeploymentStrategy {strategy} needs CertificateArn and DomainName: its smoke test speaks HTTPS."
    if settings.oidc_issuer:
        yield (
            f"DeploymentStrategy {strategy} and OidcIssuer do not go together: the rules that ECS moves may only "
            "forward, and the template would be too large. Set DeploymentStrategy=ROLLING, or remove OidcIssuer."
        )
    if settings.night_from:
        yield "Nights go with DeploymentStrategy ROLLING alone. Remove NightFrom and NightUntil, or set ROLLING."
    if not settings.create_database:
        yield (
            f"DeploymentStrategy {settings.deployment_strategy} without a database: the new image would begin with an "
            "empty registry beside the old one. Set CreateDatabase=true, or DeploymentStrategy=ROLLING."
        )
    if not 3 <= settings.shift_percent <= 50:
        yield f"ShiftPercent is {settings.shift_percent}; expected 3 to 50."
    if settings.bake_minutes > 1440:
        yield f"BakeMinutes is {settings.bake_minutes}; expected at most 1440."


def _grpc_problems(settings: Settings) -> Iterator[str]:
    if not settings.enable_grpc:
        return
    if settings.door == "http-api":
        yield "EnableGrpc needs a load balancer: an HTTP API does not speak gRPC. Unset it, or set Door=balancer."
        return
    if not settings.certificate_arn:
        yield "EnableGrpc needs CertificateArn: a load balancer speaks gRPC over HTTPS only. Set it, or unset this."
    if settings.deployment_strategy != "ROLLING":
        yield (
            f"DeploymentStrategy {settings.deployment_strategy} and EnableGrpc do not go together: a service of ECS "
            "takes five target groups, and a shift of traffic uses four. Set DeploymentStrategy=ROLLING, or "
            "EnableGrpc=false."
        )


def _night_problems(settings: Settings) -> Iterator[str]:
    if settings.night_from and settings.oidc_issuer:
        yield "Nights and OidcIssuer do not go together: the template would be too large. Remove one of them."
    if bool(settings.night_from) != bool(settings.night_until):
        yield "NightFrom and NightUntil belong together. Set both, or neither."
    if not settings.night_from:
        return
    if settings.night_from.lstrip("0") == settings.night_until.lstrip("0"):
        yield f"NightFrom and NightUntil are both {settings.night_from}; a night needs a beginning and an end."
    if settings.night_tasks > settings.min_tasks:
        yield f"NightTasks is {settings.night_tasks}, more than MinTasks {settings.min_tasks}: that is no night."
    if settings.is_prod and settings.night_tasks < 2:
        yield f"prod needs two zones at night too: NightTasks is {settings.night_tasks}. Set NightTasks=2, or no night."
