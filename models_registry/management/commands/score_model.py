"""`score_model NAME[:VERSION] INPUT OUTPUT`: batch scoring in bounded memory."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from models_registry.management.base import RegistryCommand
from models_registry.scoring.job import DEFAULT_ROWS_PER_PART, Progress, ScoringOptions, score
from models_registry.scoring.locations import open_location
from models_registry.scoring.versions import find_version, open_version

# At most one progress line in this time.
PROGRESS_SECONDS = 2.0


class Command(RegistryCommand):
    """Score files with one version."""

    help = (
        "Predicts every row of a Parquet, CSV or JSON Lines file, or of a folder of such files. INPUT and OUTPUT are "
        "paths or s3:// addresses. An OUTPUT that ends in .parquet, .csv or .jsonl becomes one file, any other a "
        "folder of parts. "
        "The same command again resumes an interrupted job."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME[:VERSION]", help="default: the active version")
        parser.add_argument("input", metavar="INPUT")
        parser.add_argument("output", metavar="OUTPUT")
        parser.add_argument(
            "--format",
            choices=["parquet", "csv", "jsonl"],
            default="",
            help="format of a folder's parts; default: the input's format",
        )
        parser.add_argument("--rows-per-part", type=int, default=DEFAULT_ROWS_PER_PART, metavar="N")
        parser.add_argument("--probabilities", action="store_true", help="adds probability_<class> for each class")
        parser.add_argument(
            "--keep", metavar="COLUMNS", help="input columns to keep, separated by commas; '' keeps none; default: all"
        )
        parser.add_argument(
            "--skip-invalid", action="store_true", help="a row that the schema refuses gets the reason in 'error'"
        )
        parser.add_argument("--restart", action="store_true", help="removes the parts of an earlier job first")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one job."""
        if options["rows_per_part"] < 1:
            raise CommandError(f"--rows-per-part is {options['rows_per_part']}; expected a number from 1.")
        version = find_version(options["name"])
        keep = options["keep"]
        asked = ScoringOptions(
            format=options["format"],
            rows_per_part=options["rows_per_part"],
            probabilities=options["probabilities"],
            keep=None if keep is None else tuple(name.strip() for name in keep.split(",") if name.strip()),
            skip_invalid=options["skip_invalid"],
        )
        said_at = 0.0

        def say(progress: Progress) -> None:
            nonlocal said_at
            now = time.monotonic()
            if now - said_at < PROGRESS_SECONDS:
                return
            said_at = now
            share = f" of {progress.total_rows:,}" if progress.total_rows else ""
            self.stderr.write(f"{progress.rows:,}{share} rows, {progress.rows_per_second:,.0f} a second")

        source, target = open_location(options["input"]), open_location(options["output"])
        done = score(open_version(version), source, target, asked, restart=options["restart"], on_progress=say)
        resumed = f", {done.resumed_rows:,} of them by an earlier run" if done.resumed_rows else ""
        invalid = f" {done.invalid_rows:,} rows have no prediction: see 'error'." if done.invalid_rows else ""
        self.stdout.write(
            f"{version} (sha256 {version.digest[:12]}…) scored {done.rows:,} rows{resumed}: {target.address}.{invalid}"
        )
