"""A connection of the worker, and what is read from it and sent to it."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gunicorn.workers.gthread import TConn

from mlapi.http1 import PlainRequest

# What is larger is none of a few rows. What is smaller is waited for here, so that no thread waits for a slow caller.
LARGEST_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was read, and what its application is told of it."""

    request: PlainRequest
    told: Mapping[str, Any]

    def also(self, told: Mapping[str, Any]) -> Asked:
        """Return the same of which more is told."""
        return Asked(self.request, {**self.told, **told})


@dataclass(frozen=True, slots=True)
class Unsent:
    """What of an answer is still to be sent, and whether it says that the connection stays."""

    data: bytes
    keeps: bool


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection, with what is the same for all of its requests."""

    def __init__(self, cfg: Any, sock: Any, client: Any, server: Any, base: dict[str, Any] | None = None) -> None:
        """Note where it comes from; without `base`, none of its requests takes the short way."""
        super().__init__(cfg, sock, client, server)
        self.set_timeout()
        self.base: dict[str, Any] = {}
        self.received = b""
        self.has_asked = False
        self.refused_at = -math.inf
        self.secure_headers: dict[str, str] = {}
        if base is not None:
            self.base = {
                **base,
                "REMOTE_ADDR": client[0],
                "REMOTE_PORT": str(client[1]),
                "SERVER_NAME": server[0],
                "SERVER_PORT": str(server[1]),
            }
            if _is_trusted(client[0], cfg):
                self.secure_headers = cfg.secure_scheme_headers


class Together:
    """A socket that keeps the first small piece of an answer, its head, for the next."""

    def __init__(self, sock: Any) -> None:
        """Write to `sock`."""
        self._sock = sock
        self._held = b""
        self._is_first = True

    def sendall(self, data: bytes) -> None:
        """Send `data` after what is held."""
        if self._is_first:
            self._is_first = False
            self._held = data
        elif len(data) <= LARGEST_BYTES:
            held, self._held = self._held, b""
            self._sock.sendall(held + data)
        else:  # a large body is not copied for its head's sake
            self.flush()
            self._sock.sendall(data)

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, b""
        if held:
            self._sock.sendall(held)

    def __getattr__(self, name: str) -> Any:
        """Do everything else with the socket itself, after what is held."""
        self.flush()
        return getattr(self._sock, name)


def _is_trusted(address: str, cfg: Any) -> bool:
    """Say whether a peer may tell by which scheme it was asked (gunicorn's forwarded_allow_ips)."""
    if "*" in cfg.forwarded_allow_ips:
        return True
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in cfg.forwarded_allow_networks())
