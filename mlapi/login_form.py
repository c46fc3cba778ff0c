"""The admin's login form: it tells an account without staff status why it is refused."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm


class LoginForm(AuthenticationForm):  # type: ignore[misc]  # unfold ships no types
    """Username and password of a staff account."""

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        """Raise ValidationError for an account without staff status, after its password was accepted."""
        if user.is_active and not getattr(user, "is_staff", False):
            raise ValidationError(
                "The account %(name)s has no staff status, but this page needs it. An administrator sets “Staff "
                "status” under Users.",
                code="no_staff_status",
                params={"name": user.get_username()},
            )
        super().confirm_login_allowed(user)
