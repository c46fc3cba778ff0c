"""The client's address behind proxies: only the configured number of proxies is trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from django.conf import settings
from django.http import HttpRequest

Network = IPv4Network | IPv6Network


def client_address(peer: str, forwarded_for: str, *, trusted_proxies: int) -> str:
    """Return the client's address: the peer's, or the one that the outermost of `trusted_proxies` proxies saw.

    Each proxy appends its caller's address to one header. The client itself can write any entries further left.
    """
    if trusted_proxies < 1:
        return peer
    entries = [entry.strip() for entry in forwarded_for.split(",") if entry.strip()]
    if not entries:
        return peer
    # With fewer entries than proxies, the client bypassed the outer ones; a trusted proxy still wrote the first entry.
    return _address(entries[-min(trusted_proxies, len(entries))]) or peer


def proxy_header(suffix: str) -> str:
    """Return the header in which the proxies report the client's address (`For`) or scheme (`Proto`)."""
    return f"{settings.PROXY_HEADERS}-{suffix}"


def _address(entry: str) -> str:
    """Return an address without its port; empty if it is not an address."""
    bare = entry[1:].partition("]")[0] if entry.startswith("[") else entry
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""


def client_address_of(request: HttpRequest) -> str:
    """Return the address that login throttling counts by."""
    return client_address(
        str(request.META.get("REMOTE_ADDR") or ""),
        request.headers.get(proxy_header("For"), ""),
        trusted_proxies=settings.TRUSTED_PROXIES,
    )


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Return whether an address is in one of the networks. An IPv4 address may be written as IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return any((mapped or ip) in network for network in networks)
