"""Verifies the header in which an Application Load Balancer names the user that it signed in."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

HEADER = "X-Amzn-Oidc-Data"
# Cookies of the balancer's own session; a sign-out must delete them too.
SESSION_COOKIES = tuple(f"AWSELBAuthSessionCookie-{number}" for number in range(4))

_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):elasticloadbalancing:(?P<region>[a-z0-9-]+):\d{12}:loadbalancer/app/[^/]+/[^/]+"
)
_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_FETCH_SECONDS = 3
_MAX_KEYS = 64
# After this time, an unknown key id is fetched again.
_MISS_SECONDS = 10
_LEEWAY_SECONDS = 5


class UnverifiedHeader(Exception):
    """The header is not from this balancer, has expired, or was changed."""


class KeysUnavailable(Exception):
    """The balancer's public key cannot be fetched at present."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, or None if the id is unknown, and the time of the fetch."""

    pem: str | None
    fetched_at: float


class KeyStore:
    """The balancer's public keys by id, each fetched once: the key of an id never changes."""

    def __init__(self) -> None:
        """Start without keys."""
        self._keys: dict[str, Key] = {}
        self._lock = threading.Lock()

    def get(self, key_id: str) -> str:
        """Return the public key as PEM text.

        Raises:
            UnverifiedHeader: the region has no key of this id.
            KeysUnavailable: the endpoint does not answer.
        """
        # One fetch at a time: invented ids must not cause parallel calls.
        with self._lock:
            held = self._keys.get(key_id)
            if held is None or (held.pem is None and time.monotonic() - held.fetched_at > _MISS_SECONDS):
                held = self._keys[key_id] = Key(_fetch(key_id), time.monotonic())
                for oldest in list(self._keys)[:-_MAX_KEYS]:
                    del self._keys[oldest]
        if held.pem is None:
            raise UnverifiedHeader(f"it is signed by a key {key_id} that the region does not have")
        return held.pem


keys = KeyStore()


def is_load_balancer_arn(text: str) -> bool:
    """Return whether a text is the ARN of an Application Load Balancer."""
    return _ARN.fullmatch(text) is not None


def keys_url(signer: str) -> str:
    """Return the URL of the public keys of a balancer's region, without a key's id."""
    if settings.MLAPI_ALB_KEYS_URL:
        return str(settings.MLAPI_ALB_KEYS_URL).rstrip("/")
    found = _ARN.fullmatch(signer)
    if found is None:
        raise KeysUnavailable(f"MLAPI_ALB_SIGNER is {signer!r}; expected the ARN of an Application Load Balancer.")
    region = found["region"]
    if found["partition"] == "aws-us-gov":
        return f"https://s3-{region}.amazonaws.com/aws-elb-public-keys-prod-{region}"
    ending = "amazonaws.com.cn" if found["partition"] == "aws-cn" else "amazonaws.com"
    return f"https://public-keys.auth.elb.{region}.{ending}"


def verified_claims(token: str) -> tuple[Mapping[str, Any], str]:
    """Return the claims of a signed header, and their issuer.

    The signer is compared before the key is fetched, so that another balancer's header causes no call.

    Raises:
        UnverifiedHeader: the header is not valid; the message is for the log.
        KeysUnavailable: the key cannot be fetched at present.
    """
    import jwt  # Imported here: the import of its cryptography takes a tenth of a second, which only sign-in needs.

    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise UnverifiedHeader(f"it is not a signed token: {error}") from error
    _require(header, "alg", "ES256")
    _require(header, "signer", settings.MLAPI_ALB_SIGNER)
    if settings.MLAPI_OIDC_CLIENT_ID:
        _require(header, "client", settings.MLAPI_OIDC_CLIENT_ID)
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        raise UnverifiedHeader("it names no key")
    try:
        claims = jwt.decode(
            token,
            keys.get(key_id),
            algorithms=["ES256"],
            leeway=_LEEWAY_SECONDS,
            options={"require": ["exp", "iss"], "verify_aud": False},
            issuer=settings.MLAPI_OIDC_ISSUER or None,
        )
    except jwt.PyJWTError as error:
        raise UnverifiedHeader(str(error)) from error
    return claims, str(claims["iss"])


def _require(header: Mapping[str, Any], name: str, expected: str) -> None:
    if header.get(name) != expected:
        raise UnverifiedHeader(f"its {name} is {header.get(name)!r}, expected {expected!r}")


def _fetch(key_id: str) -> str | None:
    """Return the key of this id; None if the endpoint does not know the id."""
    import requests

    url = f"{keys_url(settings.MLAPI_ALB_SIGNER)}/{key_id}"
    try:
        answer = requests.get(url, timeout=_FETCH_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        raise KeysUnavailable(f"{url} does not answer: {error}") from error
    if answer.status_code in {403, 404}:
        return None
    if answer.status_code != 200:
        raise KeysUnavailable(f"{url} answered {answer.status_code}.")
    return answer.text
