"""`drf_create_token USER`: a token for the registry's API, shown once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.db import transaction
from rest_framework.authtoken.models import Token

from models_registry.management.base import RegistryCommand


class Command(RegistryCommand):
    """Create a user's token and print it."""

    help = "Creates a user's token for the registry's API and prints it; only a digest is stored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("username", metavar="USER", help="the user of the token")
        parser.add_argument(
            "-r", "--reset", action="store_true", dest="reset_token", help="revoke the user's present token first"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Create one token."""
        name = options["username"]
        user = get_user_model().objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user {name!r}. Create one in the admin, under Users.")
        with transaction.atomic():
            if options["reset_token"]:
                Token.objects.filter(user=user).delete()
            elif Token.objects.filter(user=user).exists():
                raise CommandError(
                    f"{name} already has a token. Only its digest is stored, so it cannot be shown again. "
                    "To replace it, add --reset."
                )
            token = Token.objects.create(user=user)
        self.stdout.write(f"Generated token {token.key} for user {name}")
        self.stderr.write("Copy it now: it is not shown again. Clients send it as 'Authorization: Bearer TOKEN'.")
