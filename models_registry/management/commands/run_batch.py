"""`run_batch ID`: run a batch scoring job that a replica has claimed. Only replicas call it."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from models_registry import services
from models_registry.errors import InputError, RegistryError
from models_registry.management.base import RegistryCommand
from models_registry.models import BatchJob, BatchState
from models_registry.scoring.job import Progress, ScoringOptions, score
from models_registry.scoring.locations import open_location
from models_registry.scoring.versions import open_version

REPORT_SECONDS = 1.0
# Added to the niceness: predictions have priority.
NICE = 10


class Command(RegistryCommand):
    """Run one job, and report its progress."""

    help = "Runs a batch scoring job that a replica has claimed; used by the replicas."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("id", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the job to its end."""
        os.nice(NICE)
        job = BatchJob.objects.select_related("version__model").get(pk=options["id"])
        parent = os.getppid()
        reported_at = 0.0

        def report(progress: Progress) -> None:
            nonlocal reported_at
            if os.getppid() != parent:
                raise CommandError("The replica that ran this job is gone. Another one resumes the job.")
            now = time.monotonic()
            if now - reported_at < REPORT_SECONDS:
                return
            reported_at = now
            if not services.report_batch(job, rows=progress.rows, total_rows=progress.total_rows):
                raise CommandError("The job was cancelled, or another replica has resumed it.")

        try:
            asked = ScoringOptions(**{**job.options, "keep": _as_tuple(job.options.get("keep"))})
            done = score(
                open_version(job.version),
                open_location(job.input),
                open_location(job.output),
                asked,
                on_progress=report,
            )
        except (RegistryError, InputError) as error:
            services.report_batch(job, state=BatchState.FAILED, reason=str(error), finished_at=timezone.now())
            raise
        except Exception as error:
            reason = f"It ended with an unexpected error: {type(error).__name__}: {error}"
            if not isinstance(error, CommandError):
                services.report_batch(job, state=BatchState.FAILED, reason=reason, finished_at=timezone.now())
            raise
        services.report_batch(
            job,
            state=BatchState.DONE,
            rows=done.rows,
            total_rows=done.rows,
            invalid_rows=done.invalid_rows,
            finished_at=timezone.now(),
        )


def _as_tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
