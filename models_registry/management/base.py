"""What the registry's commands share: who asks, and errors in one sentence."""

from __future__ import annotations

import getpass
import logging
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError

from models_registry import checks, conf, services
from models_registry.errors import RegistryError
from models_registry.models import ModelVersion, RegisteredModel, State


class RegistryCommand(BaseCommand):
    """A command whose refusals are sentences, with exit status 1."""

    requires_system_checks = [checks.OWN]

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run, and say in words what the registry refuses."""
        # The command says what happens; events of the same would stand between its lines.
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


def who() -> str:
    """Return who runs the command, for the history."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):  # a container's user need not have a name
        return "command line"


def describe_verdict(version: ModelVersion) -> str:
    """Say what the check of a version found."""
    if version.state != State.READY:
        return f"{version}: {version.state}. {version.reason}"
    report = version.report or {}
    figures = [
        f"{report[key]:{form}} {unit}"
        for key, form, unit in (("load_seconds", ".2f", "s to load"), ("row_milliseconds", ".2f", "ms a row"))
        if isinstance(report.get(key), int | float)
    ]
    text = f"{version}: ready" + (f" ({', '.join(figures)})" if figures else "")
    return f"{text}. {version.override_reason}" if version.override_reason else f"{text}."


def wait(command: BaseCommand, model: RegisteredModel, *, timeout_seconds: float) -> None:
    """Return when every live replica serves the active version; else say which do not, with exit status 1."""

    def show(now: services.Rollout) -> None:
        wanted = f"serve version {now.number}" if now.number else "serve it no longer"
        command.stdout.write(f"{model.name}: {now.serving} of {now.live} replicas {wanted}.")

    final = services.wait_for_rollout(model, timeout_seconds=timeout_seconds, on_change=show)
    if final.is_complete:
        if not final.live:
            command.stdout.write(
                f"No replica has been heard of in the last {conf.replica_timeout_seconds():.0f} s: "
                f"the next one that starts {'serves it' if final.number else 'does not serve it'}."
            )
        return
    behind = [
        f"{replica.replica} ({replica.state}{': ' + replica.reason if replica.reason else ''})"
        for replica in final.replicas
        if not replica.is_current
    ]
    what = f"do not serve version {final.number} of" if final.number else "still serve"
    raise CommandError(f"{final.behind} of {final.live} replicas {what} {model.name}: {'; '.join(behind)}.")
