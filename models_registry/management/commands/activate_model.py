"""`activate_model NAME VERSION`: activate a version."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from models_registry import services
from models_registry.management.base import SETTLE_SECONDS, RegistryCommand, add_wait_arguments, command_user, report
from models_registry.models import Canary, ModelVersion, ReplicaState


class Command(RegistryCommand):
    """Activate, and with --wait return when every live replica serves it."""

    help = (
        "Activates a version. With --wait, returns when every live replica serves it, or lists the others and exits 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("version", metavar="VERSION", type=int)
        parser.add_argument("--reason", default="", help="kept in the history")
        add_wait_arguments(parser, "every running replica serves it")
        parser.add_argument(
            "--traffic-percent",
            type=float,
            metavar="P",
            default=100.0,
            help="below 100 the version becomes the canary: it answers that share of the requests",
        )
        parser.add_argument(
            "--bake",
            type=float,
            metavar="MINUTES",
            help="the canary becomes active after that time, if no guardrail was broken",
        )
        parser.add_argument(
            "--override", action="store_true", help="activate against the validation's advice; needs --reason"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Activate one version."""
        model = services.get_model(options["name"])
        version = services.get_version(model, options["version"])
        if options["traffic_percent"] != 100:
            self._start_canary(version, options)
            return
        if options["bake"] is not None:
            raise CommandError("--bake needs a canary. Give the canary a share: --traffic-percent 10")
        had_canary = model.canary_id is not None
        done = services.activate(version, by=command_user(), reason=options["reason"], override=options["override"])
        if done:
            state = "active"
        elif had_canary:
            state = "active already; its canary has ended"
        else:
            state = "active already; nothing changes"
        report(self, model, options, said=f"{version}: {state} (generation {model.generation}).")

    def _start_canary(self, version: ModelVersion, options: dict[str, Any]) -> None:
        services.start_canary(
            version,
            percent=options["traffic_percent"],
            by=command_user(),
            reason=options["reason"],
            bake_minutes=options["bake"],
            override=options["override"],
        )
        canary = services.require_canary(version.model)
        is_answering = services.wait_for_canary(
            canary, timeout_seconds=options["timeout"] if options["wait"] else SETTLE_SECONDS
        )
        said = f"{version}: canary with {canary.percent:g} % of the requests"
        if is_answering:
            self.stdout.write(f"{said}. Promote it: python3 manage.py promote_model {version.model.name}")
        elif options["wait"]:
            raise CommandError(f"{said}, but not every replica has loaded it. {describe_candidate(canary)}")
        else:
            self.stdout.write(f"{said}, as soon as every replica has loaded it. {describe_candidate(canary)}")


def describe_candidate(canary: Canary) -> str:
    """Return a sentence about the replicas that have not loaded a candidate yet, with their reasons."""
    replicas = services.candidate_replicas(canary)
    if not replicas:
        return "No replica is running."
    behind = [replica for replica in replicas if replica.state != ReplicaState.SERVING]
    told = "; ".join(f"{item.replica} ({item.state}{': ' + item.reason if item.reason else ''})" for item in behind)
    return f"{len(behind)} of {len(replicas)} running replicas have not loaded it: {told}."
