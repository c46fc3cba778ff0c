"""API tokens: each acts for its user, is shown once, and is stored only as a digest.

The rows are those of Django REST framework. A new token is always hashed before it is written.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from django.db.models.signals import post_save, pre_save
from rest_framework.authtoken.models import Token

PREFIX = "sha256:"
# The length of the framework's column; the 33 characters after the prefix hold 198 bits of the digest.
MAX_LENGTH = 40


def stored_form(token: str) -> str:
    """Return the stored digest of a token.

    One pass of SHA-256 suffices: slow hashes protect guessable passwords, and 160 random bits cannot be guessed.
    """
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
    return (PREFIX + base64.urlsafe_b64encode(digest).decode())[:MAX_LENGTH]


def store_only_digests() -> None:
    """Hash each new token before it is inserted; only its creator gets the text."""
    pre_save.connect(_hash, dispatch_uid="hash a new token")
    post_save.connect(_show, dispatch_uid="show a new token")


def _hash(sender: type, instance: Any, **_: Any) -> None:
    if isinstance(instance, Token) and not instance.key.startswith(PREFIX):
        instance.shown_once = instance.key  # type: ignore[attr-defined]
        instance.key = stored_form(instance.key)


def _show(sender: type, instance: Any, **_: Any) -> None:
    if isinstance(instance, Token) and hasattr(instance, "shown_once"):
        instance.key = instance.shown_once
        del instance.shown_once
