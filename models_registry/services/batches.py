"""Batch scoring jobs that replicas run: allowed locations, the queue, and progress."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from django.db.models import Q
from django.utils import timezone

from models_registry import conf
from models_registry.errors import ScoringRefused, UnknownBatch
from models_registry.models import BatchJob, BatchState, ModelVersion, RegisteredModel, State
from models_registry.services.prepared import PreparedQuery

# If a job's process has not reported for this time, another replica takes the job over.
SILENT_SECONDS = 60.0
_SILENT = timedelta(seconds=SILENT_SECONDS)
# After this many ended processes a job fails.
MAX_ATTEMPTS = 3


def start_batch(version: ModelVersion, *, source: str, target: str, options: dict[str, Any], by: str) -> BatchJob:
    """Queue a job and return it.

    Raises ScoringRefused for a version that is not ready, or a location outside of MODELS_BATCH_LOCATIONS.
    """
    if version.state != State.READY:
        raise ScoringRefused(f"{version} is {version.state}. Only a version that is ready may score: {version.reason}")
    for place in (source, target):
        _require_allowed(place)
    return BatchJob.objects.create(version=version, input=source, output=target, options=options, created_by=by)


def get_batch(model: RegisteredModel, number: int) -> BatchJob:
    """Return a model's job; raises UnknownBatch."""
    job = BatchJob.objects.filter(pk=number, version__model=model).select_related("version__model").first()
    if job is None:
        raise UnknownBatch(f"{model.name} has no batch {number}.")
    return job


def cancel_batch(job: BatchJob) -> bool:
    """Cancel a queued or running job; return whether it was either. Its process ends at its next report."""
    open_states = (BatchState.QUEUED, BatchState.RUNNING)
    done = BatchJob.objects.filter(pk=job.pk, state__in=open_states).update(
        state=BatchState.CANCELLED, finished_at=timezone.now()
    )
    job.refresh_from_db()
    return bool(done)


def has_batch_to_run() -> bool:
    """Return whether a job is due; every replica polls this."""
    return _WAITING.exists(timezone.now() - _SILENT)


def _silent_since(moment: datetime) -> Q:
    return Q(state=BatchState.RUNNING, heartbeat_at__lt=moment)


_WAITING = PreparedQuery(
    lambda moment: BatchJob.objects.filter(Q(state=BatchState.QUEUED) | _silent_since(moment)).values_list("pk")
)


def claim_batch(holder: str) -> BatchJob | None:
    """Claim the next job for `holder` and return it; None if no job is due.

    This is the oldest queued job, or one whose process no longer reports.
    """
    now = timezone.now()
    silent = _silent_since(now - _SILENT)
    waiting = BatchJob.objects.filter(Q(state=BatchState.QUEUED) | silent)
    if not waiting.exists():
        return None
    BatchJob.objects.filter(silent, attempts__gte=MAX_ATTEMPTS).update(
        state=BatchState.FAILED, finished_at=now, reason=f"Its process ended {MAX_ATTEMPTS} times without a reason."
    )
    for job in waiting.order_by("created_at", "pk")[:5]:
        claimed = BatchJob.objects.filter(pk=job.pk, state=job.state, attempts=job.attempts).update(
            state=BatchState.RUNNING,
            holder=holder,
            attempts=job.attempts + 1,
            heartbeat_at=now,
            started_at=job.started_at or now,
        )
        if claimed:
            job.refresh_from_db()
            return job
    return None


def report_batch(job: BatchJob, **values: Any) -> bool:
    """Record a job's progress; return False if the job was cancelled or another process has it now."""
    own = BatchJob.objects.filter(pk=job.pk, state=BatchState.RUNNING, attempts=job.attempts)
    return bool(own.update(heartbeat_at=timezone.now(), **values))


def release_batch(job: BatchJob) -> None:
    """Requeue a job whose process was stopped: the next process continues after the finished parts."""
    BatchJob.objects.filter(pk=job.pk, state=BatchState.RUNNING, attempts=job.attempts).update(
        state=BatchState.QUEUED, attempts=job.attempts - 1, holder=""
    )


def describe_batch(job: BatchJob) -> dict[str, Any]:
    """Return a job in the API's form."""
    return {
        "id": job.pk,
        "model": job.version.model.name,
        "version": job.version.number,
        "digest": job.version.digest,
        "input": job.input,
        "output": job.output,
        "options": job.options,
        "state": job.state,
        "reason": job.reason or None,
        "rows": job.rows,
        "total_rows": job.total_rows,
        "invalid_rows": job.invalid_rows,
        "created_at": job.created_at,
        "created_by": job.created_by,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def _require_allowed(place: str) -> None:
    """Raise ScoringRefused for a location that MODELS_BATCH_LOCATIONS does not allow."""
    allowed = conf.batch_locations()
    if not allowed:
        raise ScoringRefused(
            "This service runs no batches: MODELS_BATCH_LOCATIONS is empty. Set it to the places that batches may read "
            "and write, such as s3://bucket/batches, or run score_model from a shell."
        )
    if not any(_is_within(place, prefix) for prefix in allowed):
        raise ScoringRefused(
            f"{place} is outside of the places that batches may read and write: {', '.join(allowed)}. Name a place in "
            "one of them, or add its place to MODELS_BATCH_LOCATIONS."
        )


def _is_within(place: str, prefix: str) -> bool:
    inner, outer = urlsplit(place), urlsplit(prefix)
    if inner.scheme == outer.scheme == "s3":
        is_below = f"{inner.path}/".startswith(f"{outer.path.rstrip('/')}/")
        return inner.netloc == outer.netloc and is_below and ".." not in inner.path.split("/")
    if inner.scheme in {"", "file"} and outer.scheme in {"", "file"}:
        # Links are resolved first: a location inside may link to the outside.
        return _path_of(place).resolve().is_relative_to(_path_of(prefix).resolve())
    return False


def _path_of(place: str) -> Path:
    parts = urlsplit(place)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else Path(place)
