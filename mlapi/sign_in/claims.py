"""Converts a provider's claims to an identity: subject, username, groups."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

MAX_USERNAME = 150
MAX_IDENTIFIER = 255
_NOT_IN_USERNAMES = re.compile(r"[^\w.@+-]")


class SignInRefused(Exception):
    """The user may not sign in; the message is for that user."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as an identity provider describes it."""

    issuer: str
    subject: str
    username: str
    email: str
    first_name: str
    last_name: str
    groups: frozenset[str]

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of all fields, to detect that one has changed."""
        parts = [self.issuer, self.subject, self.username, self.email, self.first_name, self.last_name]
        return hashlib.sha256(json.dumps([*parts, sorted(self.groups)]).encode()).hexdigest()


def identity_of(claims: Mapping[str, Any], *, issuer: str) -> Identity:
    """Return the identity of verified claims.

    Raises:
        SignInRefused: the claims have no subject or no username.
    """
    subject = _text(claims.get("sub"))
    if not subject or len(subject) > MAX_IDENTIFIER or len(issuer) > MAX_IDENTIFIER:
        raise SignInRefused("The identity provider named no user: the claim sub is missing or too long.")
    wanted = settings.MLAPI_SIGN_IN_USERNAME_CLAIM
    name = _text(claim(claims, wanted))
    if not name:
        raise SignInRefused(
            f"The identity provider sent no claim {wanted!r}, which becomes the username here. "
            "Ask the operator to release that claim, or to set MLAPI_SIGN_IN_USERNAME_CLAIM to another."
        )
    return Identity(
        issuer=issuer,
        subject=subject,
        username=_NOT_IN_USERNAMES.sub("-", name)[:MAX_USERNAME],
        email=_text(claims.get("email"))[:254],
        first_name=_text(claims.get("given_name"))[:150],
        last_name=_text(claims.get("family_name"))[:150],
        groups=frozenset(_list(claim(claims, settings.MLAPI_SIGN_IN_GROUPS_CLAIM))),
    )


def merged_claims(received: dict[str, Any]) -> dict[str, Any]:
    """Return the claims of the ID token, updated with those of the userinfo endpoint.

    Some providers put groups into only one of them. Both must name the same subject (OpenID Connect Core, 5.3.2), and
    the issuer must be the configured one; otherwise SignInRefused.
    """
    token, user_info = received.get("id_token") or {}, received.get("userinfo") or {}
    if str(token.get("iss", "")).rstrip("/") != settings.MLAPI_OIDC_ISSUER.rstrip("/"):
        raise SignInRefused(
            f"The identity provider answered as {token.get('iss')!r}, but MLAPI_OIDC_ISSUER is "
            f"{settings.MLAPI_OIDC_ISSUER!r}. Ask the operator to set it to the provider's own issuer."
        )
    if user_info and user_info.get("sub") != token.get("sub"):
        raise SignInRefused("The identity provider sent claims of two different users.")
    return {**token, **user_info}


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, or by a path such as `realm_access.roles`; None if it is missing."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def _text(value: Any) -> str:
    return value.strip().replace("\0", "") if isinstance(value, str) else ""


def _list(value: Any) -> list[str]:
    """Return a list of texts; some providers send one group, or comma-separated groups, as a text."""
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]").split(",")
    if not isinstance(value, list | tuple):
        return []
    return [text for item in value if (text := _text(item).strip('"'))]
