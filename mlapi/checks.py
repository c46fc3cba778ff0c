"""System checks of the HTTP settings."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from mlapi.sign_in.balancer import is_load_balancer_arn


@register()
def check_https(**_: Any) -> list[CheckMessage]:
    """W001: a proxy terminates TLS, but its header is not trusted."""
    if not settings.SECURE or settings.TRUSTED_PROXIES:
        return []
    return [
        Warning(
            "MLAPI_HTTPS is on, but MLAPI_TRUSTED_PROXIES is 0: the service treats every request as plain HTTP, "
            "and the CSRF check refuses its login form.",
            hint="Set MLAPI_TRUSTED_PROXIES to the number of proxies in front, 1 for a load balancer.",
            id="mlapi.W001",
        )
    ]


@register()
def check_log_of_features(**_: Any) -> list[CheckMessage]:
    """W002: the log contains the inputs of requests."""
    if not settings.MLAPI_LOG_FEATURES or settings.DEBUG:
        return []
    return [
        Warning(
            "MLAPI_LOG_FEATURES is on: the log has the inputs of requests, which may be personal data.",
            hint="Turn it off after debugging, or protect the log like other personal data.",
            id="mlapi.W002",
        )
    ]


@register()
def check_sign_in(**_: Any) -> list[CheckMessage]:
    """E001 to E003, W003: the configuration of a sign-in cannot work."""
    found: list[CheckMessage] = []
    issuer, signer = settings.MLAPI_OIDC_ISSUER, settings.MLAPI_ALB_SIGNER
    if settings.OIDC_LOGIN and not settings.MLAPI_OIDC_CLIENT_ID:
        found.append(
            Error(
                "MLAPI_OIDC_ISSUER is set, but MLAPI_OIDC_CLIENT_ID is not.",
                hint="Set MLAPI_OIDC_CLIENT_ID to the name under which the provider knows this service.",
                id="mlapi.E001",
            )
        )
    if issuer and not (issuer.startswith("https://") or urlsplit(issuer).hostname in {"localhost", "127.0.0.1"}):
        found.append(
            Error(
                f"MLAPI_OIDC_ISSUER is {issuer!r}; expected an address with https://.",
                hint="Use the issuer from the provider's /.well-known/openid-configuration.",
                id="mlapi.E002",
            )
        )
    if signer and not is_load_balancer_arn(signer):
        found.append(
            Error(
                f"MLAPI_ALB_SIGNER is {signer!r}; expected the ARN of an Application Load Balancer.",
                hint="It looks like arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/NAME/ID.",
                id="mlapi.E003",
            )
        )
    if (issuer or signer) and not settings.MLAPI_SIGN_IN_GROUPS:
        found.append(
            Warning(
                "MLAPI_SIGN_IN_GROUPS is empty: no user of the identity provider is admitted.",
                hint="Map the provider's groups: MLAPI_SIGN_IN_GROUPS=ml-admins=superuser,ml-team=Operators.",
                id="mlapi.W003",
            )
        )
    return found
