"""`list_models`: models, versions, states, and how many replicas serve."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand


class Command(RegistryCommand):
    """Print the models as text, or with --json as JSON."""

    help = "Lists the models, their versions and states, the active version, and how many replicas serve it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the models."""
        listing = services.list_models()
        if options["json"]:
            self.stdout.write(json.dumps(listing, indent=2))
            return
        if not listing:
            self.stdout.write("No models yet. Publish one: python3 manage.py publish_model NAME ARTIFACT")
        for model in listing:
            self._show(model)

    def _show(self, model: dict[str, Any]) -> None:
        replicas = model["replicas"]
        self.stdout.write(
            f"{model['name']}: active version {model['active_version'] or 'none'}, policy {model['policy']}, "
            f"{replicas['serving']} of {replicas['live']} replicas serve it"
        )
        for version in model["versions"]:
            mark = "*" if version["number"] == model["active_version"] else " "
            reason = f"  {version['reason']}" if version["reason"] else ""
            digest = version["digest"][:12] if version["digest"] else "-"
            self.stdout.write(
                f"  {mark} {version['number']:>4}  {version['state']:<9} {version['format']:<7} {digest:<12}{reason}"
            )
