"""Replays: a ready version predicts known rows before it is activated."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from models_registry import conf
from models_registry.artifacts.replaying import Replayed, run_over
from models_registry.artifacts.sandbox import OF_MODELS, FailureAdvice, SandboxLimits
from models_registry.artifacts.table import Table
from models_registry.errors import RegistryError, RequestError, StorageError, UnknownReplay
from models_registry.models import ModelVersion, RegisteredModel, Replay, State
from models_registry.monitoring.replay import DEFAULT_TOLERANCE, compare
from models_registry.services.examination import fetch_artifact
from models_registry.services.logged_rows import logged_table
from models_registry.services.prepared import PreparedQuery

log = structlog.get_logger(__name__)

MAX_ROWS = 10_000
DEFAULT_ROWS = 1_000
KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """The request for a replay: a version, and a file's `table` or else the registry's rows."""

    version: ModelVersion
    table: Table | None = None
    rows: int = DEFAULT_ROWS
    tolerance: float = DEFAULT_TOLERANCE


def request_replay(request: ReplayRequest, *, by: str, state: Replay.State = Replay.State.WAITING) -> Replay:
    """Store a replay. A replica runs it, unless `state` is RUNNING: then the caller runs it.

    Raises RequestError without rows, or without predictions to compare with.
    """
    version = request.version
    if version.state != State.READY:
        raise RequestError(f"{version} is {version.state}; only a ready version can be replayed.")
    if not 1 <= request.rows <= MAX_ROWS:
        raise RequestError(f"A replay takes 1 to {MAX_ROWS} rows; found {request.rows}.")
    model = RegisteredModel.objects.select_related("active_version").get(pk=version.model_id)
    active = model.active_version if model.active_version_id != version.pk else None
    source, table = _choose_source(request, model)
    if active is None and table.predictions is None:
        raise RequestError(
            f"There is nothing to compare {version} with. No other version is active, and the rows of {source.label} "
            "have no recorded predictions. Give a file with a column 'prediction'."
        )
    Replay.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
    return Replay.objects.create(
        version=version,
        compared_with=active,
        source=source,
        max_rows=request.rows,
        tolerance=request.tolerance,
        table=asdict(request.table) if request.table is not None else None,
        created_by=by,
        state=state,
        claimed_at=timezone.now() if state == Replay.State.RUNNING else None,
    )


def get_replay(model: RegisteredModel, pk: int) -> Replay:
    """Return a replay of `model`; UnknownReplay without one."""
    found = Replay.objects.filter(version__model=model, pk=pk).select_related("version__model", "compared_with").first()
    if found is None:
        raise UnknownReplay(f"{model.name} has no replay {pk}. Replays are kept for {KEPT.days} days.")
    return found


def has_replay_to_run() -> bool:
    """Return whether a replay is due. Every replica polls this, so the query has no joins: they take long to plan."""
    return _WAITING.exists(_stale_before())


def _stale_before() -> datetime:
    return timezone.now() - timedelta(seconds=4 * settings.MODELS_CHECK_SECONDS)


def _due(claimed_before: datetime) -> Q:
    return Q(state=Replay.State.WAITING) | Q(state=Replay.State.RUNNING, claimed_at__lt=claimed_before)


_WAITING = PreparedQuery(lambda moment: Replay.objects.filter(_due(moment)).values_list("pk"))


def replay_next() -> Replay | None:
    """Run the oldest queued replay, or one whose replica has ended, and return it; None if no replay is due."""
    due = _due(_stale_before())
    if not Replay.objects.filter(due).exists():
        return None
    for replay in Replay.objects.filter(due).select_related("version__model", "compared_with").order_by("pk"):
        claimed = Replay.objects.filter(due, pk=replay.pk).update(state=Replay.State.RUNNING, claimed_at=timezone.now())
        if claimed:
            return run_replay(replay)
    return None


def run_replay(replay: Replay) -> Replay:
    """Run `replay` here, and store its result or the reason of its failure."""
    try:
        replay.result, replay.state = _result(replay), Replay.State.DONE
    except RegistryError as error:
        replay.state, replay.reason = Replay.State.FAILED, str(error)
    # The rows of a file may be personal data; the result holds only the few that it shows.
    replay.table, replay.done_at = None, timezone.now()
    replay.save(update_fields=["result", "state", "reason", "table", "done_at"])
    log.info("replayed", model=replay.version.model.name, version=replay.version.number, state=str(replay.state))
    return replay


def wait_for_replay(replay: Replay, *, timeout_seconds: float, poll_seconds: float = 0.2) -> bool:
    """Wait until `replay` has ended or the timeout, refresh it, and return whether it has ended."""
    deadline = time.monotonic() + timeout_seconds
    while not has_ended(replay):
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll_seconds)
        replay.refresh_from_db()
    return True


def has_ended(replay: Replay) -> bool:
    """Return whether `replay` has succeeded or failed."""
    return replay.state in {Replay.State.DONE, Replay.State.FAILED}


def _choose_source(request: ReplayRequest, model: RegisteredModel) -> tuple[Replay.Source, Table]:
    """Return the rows: those of a file, else of the prediction log, else of a sample.

    The sample is that of the active version, else of the version itself.
    """
    if request.table is not None:
        return Replay.Source.FILE, request.table
    if model.capture_percent and (logged := _logged(request)) is not None:
        return Replay.Source.LOG, logged
    for version in (model.active_version, request.version):
        if version is not None and version.sample:
            return Replay.Source.SAMPLE, _sample_table(version, request.version)
    no_log = "no logged rows yet" if model.capture_percent else "its prediction log is off"
    raise RequestError(
        f"{model.name} has no sample to replay, and {no_log}. Give a file of rows: CSV, JSON Lines or Parquet."
    )


def _logged(request: ReplayRequest) -> Table | None:
    """Return the newest logged rows; None if there are none or the log is unavailable: the sample is used then."""
    try:
        return logged_table(request.version, rows=request.rows)
    except StorageError as error:
        log.warning("log_not_replayed", model=request.version.model.name, reason=str(error))
        return None


def _sample_table(version: ModelVersion, replayed: ModelVersion) -> Table:
    sample: dict[str, Any] = version.sample or {}
    is_own = version.pk == replayed.pk
    return Table(sample["instances"], sample.get("predictions") if is_own else None)


def _result(replay: Replay) -> dict[str, Any]:
    table = _rows_of(replay)
    table = replace(table, instances=table.instances[: replay.max_rows])
    after = run_version(replay.version, table.instances)
    before = run_version(replay.compared_with, table.instances) if replay.compared_with else _recorded(table)
    return compare(table.instances, before, after, tolerance=replay.tolerance)


def _rows_of(replay: Replay) -> Table:
    if replay.table is not None:
        return Table(**replay.table)
    model = RegisteredModel.objects.select_related("active_version").get(pk=replay.version.model_id)
    return _choose_source(ReplayRequest(replay.version, rows=replay.max_rows), model)[1]


def _recorded(table: Table) -> Replayed:
    return Replayed((table.predictions or [])[: len(table.instances)], [None] * len(table.instances), {})


def run_version(
    version: ModelVersion,
    rows: list[Any],
    *,
    cpu_seconds: float | None = None,
    niceness: int = 10,
    advice: FailureAdvice = OF_MODELS,
) -> Replayed:
    """Return the predictions of `version` for `rows` in the sandbox, within MODELS_CHECK_SECONDS or `cpu_seconds`.

    Raises StorageError, or ArtifactError with `advice` if it crashes, hangs or takes too much memory.
    """
    seconds = float(settings.MODELS_CHECK_SECONDS)
    limits = SandboxLimits(
        memory_bytes=settings.MODELS_CHECK_MEMORY_MB * 1_000_000,
        cpu_seconds=seconds if cpu_seconds is None else cpu_seconds,
        wall_seconds=seconds,
        niceness=niceness,
    )
    with fetch_artifact(version) as artifact:
        return run_over(
            artifact.path,
            version.format,
            version.schema or {},
            rows,
            limits,
            trusted=conf.trusted_globals(),
            allow_any_pickle=settings.MODELS_ALLOW_ANY_PICKLE,
            advice=advice,
        )


def replay_content(replay: Replay, *, may_view_log: bool = True) -> dict[str, Any]:
    """Return a replay as JSON values: its progress, and its result when done.

    If the rows are logged requests, the examples are omitted without `may_view_log`.
    """
    result = dict(replay.result or {})
    if result and replay.source == Replay.Source.LOG and not may_view_log:
        result["examples"] = []
    return {
        "id": replay.pk,
        "model": replay.version.model.name,
        "version": replay.version.number,
        "compared_with": replay.compared_with.number if replay.compared_with else None,
        "source": replay.source,
        "state": replay.state,
        "reason": replay.reason or None,
        "created_by": replay.created_by,
        "created_at": replay.created_at,
        "done_at": replay.done_at,
        **result,
    }
