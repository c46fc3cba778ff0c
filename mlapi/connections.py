"""A connection of the worker, and what is read from it and sent to it."""

from __future__ import annotations

import ipaddress
import math
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn

from mlapi.http1 import Patience, PlainRequest

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


class HeadTooSlowError(Exception):
    """The head of a request did not come in time. No OSError: gunicorn ends the connection of those unanswered."""


class PatientSocket:
    """What gunicorn's parser reads from: a socket that is waited for no longer than there is patience."""

    def __init__(self, sock: Any, patience: Patience) -> None:
        """Read from `sock`, whose own timeout is that of its writers and is kept."""
        self._sock = sock
        self.patience = patience
        self._until: float | None = None

    def recv(self, size: int) -> bytes:
        """Return what has come, of at most `size` bytes; TimeoutError where the caller is too slow."""
        if self._until is None:
            return self.patience.receive(lambda seconds: self._recv(size, seconds))
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the rest of a body that nobody wants does not end")
        return self._recv(size, left)

    def gettimeout(self) -> None:
        """Return what `settimeout` is to be told once the rest of a body was read."""

    def settimeout(self, seconds: float | None) -> None:
        """Read for so long in all, whatever comes: gunicorn reads the rest of a body that nobody wants."""
        self._until = None if seconds is None else time.monotonic() + seconds

    def _recv(self, size: int, seconds: float) -> bytes:
        before = self._sock.gettimeout()
        self._sock.settimeout(seconds)
        try:
            data: bytes = self._sock.recv(size)
        finally:
            self._sock.settimeout(before)
        return data


class PatientRequest(Request):  # type: ignore[misc]  # gunicorn has no types
    """A request after whose answer the connection closes where its caller was too slow."""

    def should_close(self) -> bool:
        """Say whether the connection closes."""
        return self.unreader.sock.patience.is_lost or bool(super().should_close())


class PatientParser(RequestParser):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's parser of what a PatientSocket gives."""

    mesg_class = PatientRequest

    def __next__(self) -> Any:
        """Return the next request; HeadTooSlowError where its head does not come in time."""
        try:
            return super().__next__()
        except TimeoutError as error:
            raise HeadTooSlowError from error


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection, with what is the same for all of its requests."""

    parser: Any

    def __init__(self, cfg: Any, sock: Any, client: Any, server: Any, base: dict[str, Any] | None = None) -> None:
        """Note where it comes from; without `base`, none of its requests takes the short way."""
        super().__init__(cfg, sock, client, server)
        self.set_timeout()
        self.base: dict[str, Any] = {}
        self.received = b""
        self.has_asked = False
        self.refused_at = -math.inf
        self.patience = Patience()
        self.may_be_waited_for = False
        self.unsent: list[bytes] = []
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

    def init(self) -> None:
        """Have gunicorn's parser, which has no patience of its own, read with that of this connection."""
        if not self.base:
            super().init()
        elif self.parser is None:
            self.parser = PatientParser(self.cfg, PatientSocket(self.sock, self.patience), self.client)
            self.initialized = True

    def send(self, data: bytes) -> None:
        """Send what the caller has room for and keep the rest, `unsent`; where all is as usual, wait for the caller."""
        if not self.base:
            self.sock.sendall(data)
            return
        if not self.unsent:
            with suppress(BlockingIOError):
                data = data[self.sock.send(data, socket.MSG_DONTWAIT) :]
        if data:
            self.unsent.append(data)

    def take_unsent(self) -> bytes:
        """Return what the caller has had no room for, and forget it."""
        data, self.unsent = b"".join(self.unsent), []
        return data


class Together:
    """A connection's socket that keeps the first small piece of an answer, its head, for the next."""

    def __init__(self, conn: Connection) -> None:
        """Write to `conn`."""
        self._conn = conn
        self._held = b""
        self._is_first = True

    def sendall(self, data: bytes) -> None:
        """Send `data` after what is held."""
        if self._is_first:
            self._is_first = False
            self._held = data
        elif len(data) <= LARGEST_BYTES:
            held, self._held = self._held, b""
            self._conn.send(held + data)
        else:  # a large body is not copied for its head's sake
            self.flush()
            self._conn.send(data)

    def sendfile(self, file: Any, offset: int, count: int) -> None:
        """Send so much of a file. The kernel would have the thread wait for the caller."""
        file.seek(offset)
        self.sendall(file.read(count))

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, b""
        if held:
            self._conn.send(held)

    def __getattr__(self, name: str) -> Any:
        """Do everything else with the socket itself, after what is held."""
        self.flush()
        return getattr(self._conn.sock, name)


def _is_trusted(address: str, cfg: Any) -> bool:
    """Say whether a peer may tell by which scheme it was asked (gunicorn's forwarded_allow_ips)."""
    if "*" in cfg.forwarded_allow_ips:
        return True
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in cfg.forwarded_allow_networks())
