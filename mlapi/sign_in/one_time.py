"""One-time passwords: a user who signed in with one may only set a new password."""

from __future__ import annotations

from typing import Any

import structlog
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import ValidationError
from django.dispatch import receiver
from django.http import HttpRequest

from mlapi.sign_in.models import OneTimePassword

# Session key that marks a sign-in with a one-time password, so that other sessions need no query.
FLAG = "one_time_password"

log = structlog.get_logger(__name__)


class NotTheOneTimePassword:
    """A Django password validator: refuses the one-time password as the new password, and deletes its mark."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raise ValidationError if the new password is the one-time password."""
        if user is not None and has_one_time_password(user) and user.check_password(password):
            raise ValidationError("This is the one-time password. Choose another one.", code="one_time_password")

    def password_changed(self, password: str, user: Any = None) -> None:
        """Delete the mark: Django calls this for each new password, whichever form set it."""
        OneTimePassword.objects.filter(user=user).delete()

    def get_help_text(self) -> str:
        """Return the rule that forms show."""
        return "Your password can’t be the one-time password."


def has_one_time_password(user: AbstractBaseUser) -> bool:
    """Return whether the user's password is still the one-time password."""
    return OneTimePassword.objects.filter(user=user.pk).exists()


def must_set_password(request: HttpRequest) -> bool:
    """Return whether the session started with a one-time password that is still valid."""
    if FLAG not in request.session or not request.user.is_authenticated:
        return False
    if has_one_time_password(request.user):
        return True
    del request.session[FLAG]
    return False


@receiver(user_logged_in)
def mark_session(sender: object, request: HttpRequest | None, user: AbstractBaseUser, **_: object) -> None:
    """Mark the session of a sign-in with a one-time password."""
    if request is not None and has_one_time_password(user):
        request.session[FLAG] = True
        log.info("signed_in_by_one_time_password", username=user.get_username())
