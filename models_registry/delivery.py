"""Sends one webhook event to one receiver, signed according to https://www.standardwebhooks.com."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from models_registry.errors import RegistryError

SECRET_PREFIX = "whsec_"  # noqa: S105 - the standard's mark before a secret
TIMEOUT_SECONDS = 15.0
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
PORTS = {"http": 80, "https": 443}


class DeliveryError(RegistryError):
    """The receiver did not accept the event; with `is_final`, a retry would not help."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Receiver:
    """An address, its signing secrets, and the hosts that may have a private address or plain HTTP."""

    url: str
    secrets: tuple[str, ...]
    private_hosts: frozenset[str] = frozenset()

    @property
    def parts(self) -> SplitResult:
        """The parsed address; DeliveryError if it is not valid."""
        problem = url_problem(self.url, self.private_hosts)
        if problem:
            raise DeliveryError(problem, is_final=True)
        return urlsplit(self.url)


def url_problem(url: str, private_hosts: frozenset[str]) -> str:
    """Return the problem of a receiver's address; an empty text if it is valid."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"The webhook address {url[:200]!r} cannot be read: {error}."
    if parts.scheme not in PORTS or not host or parts.username is not None:
        return f"The webhook address {url[:200]!r} is not one of the form https://host/path, without a user."
    if parts.scheme == "http" and host not in private_hosts:
        return f"The webhook address {url[:200]!r} has no TLS. Use https, or name the host as a private one."
    return ""


def secret_bytes(secret: str) -> bytes:
    """Return the key in a secret of the form `whsec_<base64>`; ValueError for another form."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(f"a secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, this one {len(key)}")
    return key


def signature(secrets: tuple[str, ...], *, event: str, timestamp: int, body: bytes) -> str:
    """Return the header `webhook-signature`: one signature per secret, so that a secret can be replaced."""
    signed = f"{event}.{timestamp}.".encode() + body
    digests = (hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest() for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def deliver(receiver: Receiver, *, event: str, timestamp: int, body: bytes) -> None:
    """Send `body`; DeliveryError unless the receiver answers with 2xx. Redirects are not followed."""
    parts = receiver.parts
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "mlapi",
        "webhook-id": event,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(receiver.secrets, event=event, timestamp=timestamp, body=body),
    }
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(parts, receiver.private_hosts)
    try:
        connection.request("POST", target, body=body, headers=headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise DeliveryError(f"{parts.netloc} was not reached: {str(error) or type(error).__name__}.") from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        # 410 Gone: the receiver wants no further events, according to the standard.
        raise DeliveryError(f"{parts.netloc} answered {status}.", is_final=status == http.HTTPStatus.GONE)


def _connection(parts: SplitResult, private_hosts: frozenset[str]) -> http.client.HTTPConnection:
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    address = _address(host, port, may_be_private=host in private_hosts)
    if parts.scheme == "http":
        return _Pinned(host, port, address)
    return _PinnedTls(host, port, address)


def _address(host: str, port: int, *, may_be_private: bool) -> str:
    """Return an address of `host`. It is resolved only once: a second lookup could return a private address."""
    try:
        found = [str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise DeliveryError(f"{host} cannot be resolved: {error}.") from error
    private = next((address for address in found if not _is_public(address)), None)
    if private is not None and not may_be_private:
        raise DeliveryError(
            f"{host} has the private address {private}. Name the host in MODELS_WEBHOOK_PRIVATE_HOSTS if events are to "
            "go there."
        )
    return found[0]


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_global) and not ip.is_multicast


class _Pinned(http.client.HTTPConnection):
    """A connection to a checked address, even if the name now resolves to another one."""

    def __init__(self, host: str, port: int, address: str) -> None:
        super().__init__(host, port, timeout=TIMEOUT_SECONDS)
        self._address = address

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.create_connection((self._address, self.port), TIMEOUT_SECONDS)


class _PinnedTls(_Pinned):
    """A pinned connection with TLS; the certificate must match the name."""

    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        """Connect, and verify the certificate."""
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
