"""`ensure_admin`: creates the first account of the admin."""

from __future__ import annotations

import os
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction

from mlapi.migration_lock import migration_lock
from mlapi.sign_in.models import OneTimePassword


class Command(BaseCommand):
    """Create the first superuser; never change an existing account."""

    help = (
        "Creates the superuser DJANGO_SUPERUSER_USERNAME (default: admin) with DJANGO_SUPERUSER_PASSWORD, or with a "
        "random one-time password, which it prints and which the user must replace at the first sign-in. Does nothing "
        "if a superuser exists."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the superuser, or do nothing."""
        with migration_lock():
            self._ensure()

    def _ensure(self) -> None:
        users = get_user_model().objects
        if users.filter(is_superuser=True).exists():
            return
        name = os.environ.get("DJANGO_SUPERUSER_USERNAME") or "admin"
        given = os.environ.get("DJANGO_SUPERUSER_PASSWORD")
        password = given or secrets.token_urlsafe(12)
        with transaction.atomic():
            user = users.create_superuser(username=name, email="", password=password)
            if not given:
                OneTimePassword.objects.create(user=user)
        shown = "the password in DJANGO_SUPERUSER_PASSWORD" if given else f"the one-time password {password}"
        self.stdout.write(f"Admin account: user {name}, {shown}")
