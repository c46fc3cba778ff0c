"""The base of the registry's commands: the user's name, errors as one sentence, and the state of a rollout."""

from __future__ import annotations

import getpass
import http.client
import json
import logging
import urllib.request
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError

from models_registry import checks, conf, services
from models_registry.errors import RegistryError
from models_registry.models import ModelVersion, RegisteredModel, State

WAIT_SECONDS = 300.0
# Without --wait a command returns after at most this time: most rollouts are complete by then.
SETTLE_SECONDS = 10.0
ADDRESS_SECONDS = 5.0


SHOWN_PACKAGES = ("scikit-learn", "numpy", "skops")


class RegistryCommand(BaseCommand):
    """A command that reports errors as sentences, with exit status 1."""

    requires_system_checks = [checks.OWN]

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run, and print refusals of the registry as sentences."""
        # The command prints its own messages; log events would appear between them.
        logging.getLogger("models_registry").setLevel(logging.WARNING)
        try:
            return super().execute(*args, **options)
        except RegistryError as error:
            raise CommandError(str(error)) from error
        except (OperationalError, InterfaceError, InternalError, ProgrammingError) as error:
            first = str(error).strip().splitlines()
            raise CommandError(
                f"The registry's database cannot be used: {first[0] if first else type(error).__name__}. "
                "Check DATABASE_URL, and run 'python3 manage.py migrate' on a new database."
            ) from error


def command_user() -> str:
    """Return the name of the user who runs the command, for the history."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):  # a container's user may have no name
        return "command line"


def describe_verdict(version: ModelVersion) -> str:
    """Return the verdict of a version's validation as text."""
    if version.state != State.READY:
        return f"{version}: {version.state}. {version.reason}"
    report = version.report or {}
    figures = [
        f"{report[key]:{form}} {unit}"
        for key, form, unit in (("load_seconds", ".2f", "s to load"), ("row_milliseconds", ".2f", "ms a row"))
        if isinstance(report.get(key), int | float)
    ]
    text = f"{version}: ready" + (f" ({', '.join(figures)})" if figures else "") + "."
    served_as = f"Its parts are served as: {report['parts']}" if report.get("parts") else ""
    told = (text, served_as, describe_versions(version), version.reason, version.override_reason)
    return " ".join(part for part in told if part)


def describe_versions(version: ModelVersion) -> str:
    """Return the versions that wrote the artifact and those that serve it; empty if the file has none."""
    inspection: dict[str, Any] = version.inspection or {}
    report: dict[str, Any] = version.report or {}
    written, served = inspection.get("versions") or {}, report.get("versions") or {}
    told = [name for name in SHOWN_PACKAGES if written.get(name) and served.get(name)]
    if not told:
        return ""
    wrote = ", ".join(f"{name} {' and '.join(written[name])}" for name in told)
    return f"Written by {wrote}; served by {', '.join(f'{name} {served[name]}' for name in told)}."


def describe_rollout(model: RegisteredModel) -> str:
    """Return which replicas serve the active version now, and what happens next."""
    now = services.rollout(model)
    if not now.live and not now.has_service:
        return f"This project has no service: its own code {'loads it' if now.number else 'no longer finds it'}."
    if not now.live:
        return f"No replica is running: the next one that starts {'serves it' if now.number else 'does not serve it'}."
    if now.is_complete:
        return _describe_complete(now)
    if not now.number:
        return f"{now.behind} of {now.live} running replicas still serve it, until their next poll."
    return (
        f"{now.serving} of {now.live} running replicas serve it so far. The others load it now, which takes seconds. "
        "Until then, they answer with the previous version, or with 404. With --wait, the command returns when all "
        "replicas serve it."
    )


def _describe_complete(now: services.Rollout) -> str:
    if now.live == 1:
        if now.unloaded:
            return "The running replica loads it at its next request."
        return f"The running replica {'serves it' if now.number else 'has stopped serving it'}."
    unloaded = ""
    if now.unloaded:
        unloaded = f"; {now.unloaded} of them load{'s' if now.unloaded == 1 else ''} it at the next request"
    return f"All {now.live} running replicas {'serve it' if now.number else 'have stopped serving it'}{unloaded}."


def add_wait_arguments(parser: ArgumentParser, until: str) -> None:
    """Declare `--wait` and `--timeout`."""
    parser.add_argument(
        "--wait", action="store_true", help=f"return when {until}, or exit with status 1 after the timeout"
    )
    parser.add_argument("--timeout", type=float, default=WAIT_SECONDS, help="maximum seconds that --wait waits")


def report(command: BaseCommand, model: RegisteredModel, options: Mapping[str, Any], *, said: str) -> None:
    """Write `said` and the state of the rollout; with `--wait`, wait until it is complete.

    Without `--wait`, wait up to SETTLE_SECONDS, so that the next request rarely reaches a replica without the model.
    Raises CommandError (exit status 1) with the replicas that do not serve the active version in time.
    """
    if not options["wait"]:
        services.wait_for_rollout(model, timeout_seconds=SETTLE_SECONDS)
        command.stdout.write(f"{said} {describe_rollout(model)}")
        return
    command.stdout.write(said)
    wait(command, model, timeout_seconds=options["timeout"])


def wait(command: BaseCommand, model: RegisteredModel, *, timeout_seconds: float) -> None:
    """Wait until every running replica serves the active version, and write the URL; else raise CommandError."""
    generation = model.generation

    def show(now: services.Rollout) -> None:
        wanted = f"serve version {now.number}" if now.number else "no longer serve it"
        command.stdout.write(f"{model.name}: {now.serving} of {now.live} replicas {wanted}.")

    final = services.wait_for_rollout(model, timeout_seconds=timeout_seconds, on_change=show)
    if final.generation != generation:
        active = f"version {final.number}" if final.number else "no version"
        raise CommandError(
            f"{model.name}: another activation followed, and {active} is active now. Activate again to undo it."
        )
    if not final.is_complete:
        raise CommandError(_describe_behind(model, final))
    if not final.live and not final.has_service:
        command.stdout.write(describe_rollout(model))
    elif not final.live:
        command.stdout.write(
            f"No replica has reported in the last {conf.replica_timeout_seconds():.0f} s: "
            f"the next one that starts {'serves it' if final.number else 'does not serve it'}."
        )
    elif final.number:
        command.stdout.write(describe_address(model.name, final.number))


def _describe_behind(model: RegisteredModel, final: services.Rollout) -> str:
    behind = [
        f"{replica.replica} ({replica.state}{': ' + replica.reason if replica.reason else ''})"
        for replica in final.replicas
        if not replica.is_current
    ]
    what = f"do not serve version {final.number} of" if final.number else "still serve"
    return f"{final.behind} of {final.live} replicas {what} {model.name}: {'; '.join(behind)}."


def describe_address(name: str, number: int) -> str:
    """Return the model's URL and a curl line from the service on this machine; else the URL's path."""
    base = f"http://localhost:{getattr(settings, 'PORT', 8000)}"
    try:
        with urllib.request.urlopen(f"{base}/models/{name}", timeout=ADDRESS_SECONDS) as answer:  # noqa: S310 - our own
            told = json.loads(answer.read())
        if told["active_version"] == number:
            return f"URL: {told['example']['url']}\nTry it:\n{told['example']['curl']}"
        problem = f"the service there serves version {told['active_version']}"
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        problem = str(error)
    return (
        f"Clients send POST /models/{name}/predict to the address of the service. No service of this registry answers "
        f"at {base}: {problem}. If a service runs on this machine at another port, set PORT to it."
    )
