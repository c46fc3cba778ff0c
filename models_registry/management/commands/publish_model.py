"""`publish_model NAME ARTIFACT`: publish a file as a version, and validate it."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from models_registry import conf, services
from models_registry.artifacts.formats import listed_endings
from models_registry.artifacts.manifest import Sample, parse_metrics, read_json
from models_registry.errors import ManifestError
from models_registry.management.base import RegistryCommand, add_wait_arguments, command_user, describe_verdict, report
from models_registry.models import State


class Command(RegistryCommand):
    """Copy an artifact into the storage as a new version, register it, and validate it."""

    help = (
        "Copies an artifact (and its manifest) into the storage as a new version of NAME, registers and validates it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument(
            "artifact",
            metavar="ARTIFACT",
            type=Path,
            help=f"a file that ends in {listed_endings()}, or an MLflow model directory",
        )
        parser.add_argument("--sample", type=Path, help="JSON (instances, predictions) or CSV")
        parser.add_argument(
            "--reference",
            type=Path,
            help="rows of the training data: CSV, Parquet or JSON Lines; the reference for drift",
        )
        parser.add_argument("--metrics", type=Path, help='JSON such as {"accuracy": 0.98}')
        parser.add_argument("--description", help="one line on what is new")
        parser.add_argument("--activate", action="store_true", help="activate it when it passes validation")
        add_wait_arguments(parser, "every running replica serves it (with --activate)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Publish, validate, and print the verdict."""
        if options["wait"] and not options["activate"]:
            raise CommandError("--wait waits for an activation, and without --activate there is none. Give both.")
        services.require_registered_storage(conf.storage())
        version = services.publish(
            options["name"],
            options["artifact"],
            by=command_user(),
            description=options["description"],
            metrics=read_metrics(options["metrics"]) if options["metrics"] else None,
            sample=read_sample(options["sample"]) if options["sample"] else None,
            reference=options["reference"],
        )
        self.stdout.write(f"{version}: stored, {version.size_bytes / 1e6:.2f} MB. Checking …")
        version = services.check_now(version, holder=command_user())
        if version.state != State.READY:
            raise CommandError(describe_verdict(version))
        self.stdout.write(describe_verdict(version))
        if options["activate"]:
            version.model.refresh_from_db()
            services.activate(version, by=command_user(), reason="Published with --activate.")
            report(self, version.model, options, said=f"{version}: active.")


def read_sample(path: Path) -> Sample:
    """Return the sample in a JSON or CSV file, or raise ManifestError."""
    text = _read(path)
    if path.suffix.lower() == ".csv":
        return Sample.from_csv(text)
    return Sample.from_json(_json(text, path))


def read_metrics(path: Path) -> dict[str, float]:
    """Return the metrics in a JSON file, or raise ManifestError."""
    return parse_metrics(_json(_read(path), path))


def _json(text: str, path: Path) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise ManifestError(f"{path} is not valid JSON: {error}.") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read: {error}.") from error
