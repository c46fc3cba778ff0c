"""`list_api_keys`: the API keys for predictions."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from models_registry.management.base import RegistryCommand
from models_registry.models import ApiKey


class Command(RegistryCommand):
    """List the keys, including revoked ones."""

    help = "Lists the API keys: prefix, name, models, rate, state and last use."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line for each key, or JSON."""
        keys = [describe(key) for key in ApiKey.objects.all()]
        if options["json"]:
            self.stdout.write(json.dumps(keys, indent=2))
            return
        if not keys:
            self.stdout.write("There is no key yet. Make one: python3 manage.py create_api_key NAME")
        for key in keys:
            rate = f"{key['rate_per_minute']} a minute" if key["rate_per_minute"] else "any rate"
            models = ", ".join(key["models"]) or "every model"
            used = key["last_used_at"] or "never"
            self.stdout.write(f"{key['prefix']}  {key['name']}: {key['state']}; {models}; {rate}; last used {used}")


def describe(key: ApiKey) -> dict[str, Any]:
    """Return the public data of a key."""
    return {
        "prefix": key.prefix,
        "name": key.name,
        "state": key.state,
        "models": key.model_names,
        "rate_per_minute": key.rate_per_minute,
        "created_at": _text(key.created_at),
        "created_by": key.created_by,
        "expires_at": _text(key.expires_at),
        "revoked_at": _text(key.revoked_at),
        "last_used_at": _text(key.last_used_at),
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
