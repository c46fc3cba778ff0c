"""Settings of the service that depend on its entry point: a load balancer or an HTTP API."""

from __future__ import annotations

from typing import Protocol

from troposphere import If, Join, Ref, Tags

HAS_DOMAIN = "HasDomain"
CONTAINER = "mlapi"
READINESS_PATH = "/health"
DRAIN_SECONDS = 30  # for so long a leaving task may still get requests; the container serves on meanwhile


class Door(Protocol):
    """One way in, as a form of the service's template has it."""

    @property
    def form(self) -> str:
        """Return the template's form."""

    @property
    def host(self) -> object:
        """Return the host name that AWS gives it."""

    @property
    def url(self) -> object:
        """Return where callers reach the service."""

    @property
    def https(self) -> object:
        """Return `on` where callers come by HTTPS, else `off`."""

    @property
    def health_check(self) -> list[str]:
        """Return the command by which the container's health is checked."""

    def variables(self) -> list[object]:
        """Return further environment variables of the container."""

    def port_mappings(self) -> list[object]:
        """Return further ports of the container."""

    def service_options(self) -> dict[str, object]:
        """Return the properties by which the ECS service hands its tasks to the door."""

    def deployment_options(self) -> dict[str, object]:
        """Return further properties of the deployment configuration."""

    def service_tags(self) -> Tags:
        """Return tags by which the service waits for what it needs of the door."""


def hosts(door: Door) -> If:
    """Return the host names that requests may carry."""
    return If(HAS_DOMAIN, Join(",", [door.host, Ref("DomainName")]), door.host)
