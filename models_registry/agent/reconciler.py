"""A replica's loop from the desired state to what runs."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.db import DatabaseError, connection

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread
from models_registry.agent.desired_state_cache import DesiredStateCache
from models_registry.agent.downloads import Fetching
from models_registry.agent.heartbeat import heartbeat
from models_registry.agent.load_queue import LoadQueue
from models_registry.agent.loader import Preparation, VersionRef
from models_registry.agent.plan import Drop, plan
from models_registry.artifacts.cache import Copy
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.schema import Schema
from models_registry.inference import memory
from models_registry.inference.runtime import LoadedModel, Runtime
from models_registry.models import ReplicaState
from models_registry.services.desired_state import DesiredState, DesiredVersion
from models_registry.services.rollout import ModelReport
from models_registry.storage import VersionedStorage

log = structlog.get_logger(__name__)

MAX_PAUSE_SECONDS = 300.0
# Between two attempts to load what does not serve here at all, e.g. because the storage was away.
MISSING_PAUSE_SECONDS = 5.0
REPORT_AGAIN_SECONDS = 15.0
# One that hangs delays no other; all of a new machine's at once would share its line, and none be there soon.
FETCHED_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Failure:
    """A version that could not be loaded here, and when it is tried again."""

    generation: int
    build: str
    attempts: int
    retry_at: float
    reason: str
    since: datetime


class Reconciler:
    """Polls the desired state, prepares the difference, swaps, and reports."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        preparation: Preparation,
        storage: VersionedStorage,
        poll_seconds: float,
        default_model: str,
        load_queue: LoadQueue,
        memory_path: Path,
    ) -> None:
        """Watch for `runtime`; the workers of this machine queue at `load_queue`.

        What is desired is kept at `memory_path`, for a worker that starts while the database is away.
        """
        self.runtime = runtime
        self.replica_id = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._preparation = preparation
        self._storage = storage
        self._poll_seconds = poll_seconds
        self._default_model = default_model
        self._load_queue = load_queue
        self._started_at = datetime.now(UTC)
        self._first_pass = threading.Event()
        self._failures: dict[str, Failure] = {}
        self._fetches: dict[str, Fetching] = {}
        self._first_turns = threading.BoundedSemaphore(FETCHED_AT_ONCE)
        self._second_turns = threading.BoundedSemaphore(1)
        self._desired_state = DesiredState()
        self._remembered = DesiredStateCache(memory_path)
        self._has_dropped = False
        self._reported: list[ModelReport] | None = None
        self._report_again_at = 0.0
        self._database_is_away = False
        self._heartbeat = heartbeat(self.replica_id, seconds=max(1.0, min(2.0, poll_seconds)))
        self._thread = DatabaseThread(
            "reconciler", self._step, seconds=poll_seconds, is_eager=True, last_step=self._end
        )

    def start(self, *, wait_seconds: float) -> None:
        """Begin, and wait until what should serve does, has failed, or `wait_seconds` have passed.

        A worker that replaces another takes connections from the shared socket at once: it should be ready then.
        """
        self._heartbeat.start()
        self._thread.start()
        self._first_pass.wait(wait_seconds)

    def stop(self) -> None:
        """End, and take this replica's name off the registry."""
        self._heartbeat.stop()
        self._thread.stop()

    def reconcile(self) -> None:
        """Begin to bring what runs to what is desired, and report what has changed."""
        desired_state = services.read_desired_state()
        self.runtime.desired_state_read_at = time.time()
        self._remembered.keep(desired_state)
        self._carry_out(desired_state)
        self._report()

    def _carry_out(self, desired_state: DesiredState) -> None:
        """Do what takes no time to bring what runs to this desired state, and have fetched whatever is missing."""
        self._desired_state = desired_state
        self._post_desired_state()
        versions = desired_state.versions()
        wanted = {key: _target(desired) for key, desired in versions.items()}
        running = {key: _target(held) for key, held in self._running().items()}
        missing = []
        for step in plan(wanted, running):
            if isinstance(step, Drop):
                self._drop(step.model)
            elif held := self._in_memory(versions[step.model]):
                self._swap_back(versions[step.model], held)
            else:
                missing.append(versions[step.model])
        self._let_go_of_all_but(missing)
        for desired in missing:
            if desired.key not in self._fetches and self._is_due(desired):
                self._begin_fetching(desired)
        self._post_desired_state()

    def _load_what_came(self) -> None:
        """Load one version that has come, the one that was begun first.

        The others follow at once, after another look at the desired state: a load may take long, and a rollback to a
        version in memory does not wait for all of them.
        """
        come = next((name for name, fetching in self._fetches.items() if fetching.has_ended), None)
        if come is not None:
            self._load(self._desired_state.versions()[come])
            self._post_desired_state()
            self._thread.wake()

    def _step(self) -> None:
        try:
            # After a whole pause, what was under way with a dropped model has ended.
            if not self._thread.was_woken:
                self._give_back()
            self._look()
            self._load_what_came()
        except Exception:
            self._first_pass.set()
            raise
        if self._is_settled():
            self._first_pass.set()

    def _end(self) -> None:
        self._let_go_of_all_but([])
        self._say_goodbye()

    def _look(self) -> None:
        try:
            self.reconcile()
            self._note_database(away=False)
        except DatabaseError as error:
            # Predictions need no database: what is loaded goes on serving.
            self._note_database(away=True, error=error)
            connection.close()
            self._go_by_memory()

    def _is_settled(self) -> bool:
        """Say whether all that should serve here does, or has failed to."""
        snapshot = self.runtime.snapshot
        return (
            snapshot.has_read_desired_state
            and not snapshot.awaited
            and all(self._has_failed(self._desired_state[name]) for name in snapshot.missing())
        )

    def _go_by_memory(self) -> None:
        """Go on with the desired state that this worker read last, or else the one that is kept on this machine."""
        if not self.runtime.snapshot.has_read_desired_state:
            desired_state = self._remembered.recall()
            if desired_state is None:
                return
            log.warning(
                "desired_state_restored",
                models=sorted(desired_state),
                next="It is read anew when the database is back.",
            )
            self._desired_state = desired_state
        self._carry_out(self._desired_state)

    def _say_goodbye(self) -> None:
        try:
            services.forget_replica(self.replica_id)
        except DatabaseError as error:
            log.warning("replica_not_signed_off", replica=self.replica_id, error=str(error))

    def _note_database(self, *, away: bool, error: Exception | None = None) -> None:
        if away and not self._database_is_away:
            log.error("database_away", error=str(error), next="Predictions go on; it is tried again at every poll.")
        if not away and self._database_is_away:
            log.info("database_back")
        self._database_is_away = away

    def _running(self) -> Mapping[str, LoadedModel]:
        snapshot = self.runtime.snapshot
        return {**snapshot.models, **snapshot.others}

    def _post_desired_state(self) -> None:
        self.runtime.post(
            desired={name: desired.number for name, desired in self._desired_state.items()},
            # Anybody may read these; the reason names places, and is for those who may look into the registry.
            problems={
                name: f"version {desired.number} failed to load; the model's page in the admin and the log say why"
                for name, desired in self._desired_state.items()
                if self._has_failed(desired)
            },
            splits=dict(self._desired_state.splits),
            awaited=frozenset(
                key
                for key, desired in self._desired_state.others.items()
                if key not in self.runtime.snapshot.others and not self._has_failed(desired)
            ),
            default=self._default_model or self._desired_state.first,
            has_read_desired_state=True,
        )
        if not self.runtime.snapshot.missing() and not self.runtime.snapshot.awaited:
            self.runtime.post(was_ready=True)

    def _is_due(self, desired: DesiredVersion) -> bool:
        """Say whether a version is to be tried now: a failed one again after a pause that grows."""
        return not self._has_failed(desired) or time.monotonic() >= self._failures[desired.key].retry_at

    def _has_failed(self, desired: DesiredVersion) -> bool:
        """Say whether this desired version could not be carried out when it was tried last."""
        failure = self._failures.get(desired.key)
        return failure is not None and _target(failure) == _target(desired)

    def _in_memory(self, desired: DesiredVersion) -> LoadedModel | None:
        """Return the model of a desired version that is loaded already, as the active version or beside it."""
        held = self._running().values()
        return next((model for model in held if (model.name, model.build) == (desired.model, desired.build)), None)

    def _swap_back(self, desired: DesiredVersion, held: LoadedModel) -> None:
        """Serve what is in memory: nothing is to be fetched, and nothing can fail."""
        self._serve(desired, replace(held, generation=desired.generation, activated_at=desired.activated_at))

    def _serve(self, desired: DesiredVersion, loaded: LoadedModel) -> None:
        if desired.is_active:
            self.runtime.swap(loaded)
        else:
            self.runtime.hold(desired.key, loaded)
        self._failures.pop(desired.key, None)

    def _begin_fetching(self, desired: DesiredVersion) -> None:
        self._fetches[desired.key] = Fetching(
            desired.build,
            lambda: self._preparation.fetch(version_ref(desired), self._copier(desired)),
            turns=self._turns_for(desired),
            on_end=self._thread.wake,
        )

    def _turns_for(self, desired: DesiredVersion) -> threading.Semaphore | None:
        if self._preparation.is_at_hand(desired.digest):
            return None
        # Several that share a line may all be too late; one after the other they are not.
        return self._second_turns if self._has_failed(desired) else self._first_turns

    def _let_go_of_all_but(self, desired_state: list[DesiredVersion]) -> None:
        wanted = {(desired.key, desired.build) for desired in desired_state}
        for name, fetching in list(self._fetches.items()):
            if (name, fetching.build) not in wanted:
                fetching.let_go()
                del self._fetches[name]

    def _load(self, desired: DesiredVersion) -> None:
        """Open what was fetched, and serve it."""
        fetching = self._fetches[desired.key]
        began: float | None = None
        try:
            with fetching:
                artifact = fetching.take()
                with self._load_queue.turn(desired.digest):
                    began = time.monotonic()
                    loaded = self._preparation.prepare(version_ref(desired), artifact)
        except Exception as error:  # noqa: BLE001 - an artifact may raise anything; it is reported, the old one serves
            self._note_failure(desired, error, load_seconds=time.monotonic() - began if began else 0.0)
            return
        finally:
            del self._fetches[desired.key]
        if self._is_outdated(desired):
            log.info("superseded", model=desired.model, version=desired.number)
            return
        self._serve(desired, loaded)
        self._has_dropped = True
        seconds = round(fetching.seconds, 3)
        log.info("swapped", model=desired.model, version=desired.number, seconds=seconds, runs=loaded.runs["form"])

    def _copier(self, desired: DesiredVersion) -> Copy:
        return services.copier(self._storage, desired)

    def _is_outdated(self, desired: DesiredVersion) -> bool:
        """Say whether the desired state has moved on while its version was prepared."""
        try:
            now = services.read_desired_state().versions().get(desired.key)
        except DatabaseError:
            return False  # the last desired state that was read stands
        return now is None or _target(now) != _target(desired)

    def _note_failure(self, desired: DesiredVersion, error: Exception, *, load_seconds: float) -> None:
        before = self._failures.get(desired.key) if self._has_failed(desired) else None
        attempts = before.attempts + 1 if before else 1
        pause = min(
            pause_limit(serves_another=desired.model in self._running(), load_seconds=load_seconds),
            max(1.0, self._poll_seconds) * 2.0 ** min(attempts - 1, 20),
        )
        reason = str(error) or type(error).__name__
        since = before.since if before else datetime.now(UTC)
        self.runtime.load_failures[desired.model] += 1
        self._failures[desired.key] = Failure(
            desired.generation, desired.build, attempts, time.monotonic() + pause, reason, since
        )
        log.error(
            "load_failed",
            model=desired.model,
            version=desired.number,
            reason=reason,
            attempts=attempts,
            retry_in_seconds=round(pause, 1),
        )

    def _drop(self, key: str) -> None:
        held = self._running()[key]
        self.runtime.drop(key)
        self._failures.pop(key, None)
        self._has_dropped = True
        log.info("dropped", model=held.name, version=held.number)

    def _give_back(self) -> None:
        """Return a dropped model's memory, a poll after the swap: what was under way with it has ended."""
        if self._has_dropped:
            self._has_dropped = False
            memory.give_back()

    def _report(self) -> None:
        """Tell the registry that this replica lives and, where it has changed, what it serves."""
        reports = [self._report_of(desired) for desired in self._desired_state.values()]
        # Again now and then: a database that was restored has other rows than those that were written.
        changed = reports != self._reported or time.monotonic() >= self._report_again_at
        services.report_replica(
            self.replica_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            reports=reports,
            changed=changed,
        )
        if changed:
            self._report_again_at = time.monotonic() + REPORT_AGAIN_SECONDS
        self._reported = reports

    def _report_of(self, desired: DesiredVersion) -> ModelReport:
        held = self._running().get(desired.key)
        state, since, reason = self._progress_of(desired)
        return ModelReport(
            model_id=desired.model_id,
            state=str(state),
            generation=held.generation if held else 0,
            desired_generation=desired.generation,
            serving_version_id=held.version_id if held else None,
            reason=reason,
            runs=held.runs if held else {},
            since=since,
            digest=held.digest if held else "",
            others={
                str(other.number): self._report_of_other(other)
                for other in self._desired_state.others.values()
                if other.model == desired.model
            },
        )

    def _report_of_other(self, desired: DesiredVersion) -> dict[str, str]:
        state, _, reason = self._progress_of(desired)
        return {"state": str(state), "digest": desired.digest, "reason": reason}

    def _progress_of(self, desired: DesiredVersion) -> tuple[ReplicaState, datetime, str]:
        """Return how far this replica is with a version, since when, and why where it has failed."""
        failure = self._failures.get(desired.key)
        if desired.key in self._fetches:
            return ReplicaState.LOADING, self._fetches[desired.key].began_at, ""
        if failure is not None and self._has_failed(desired):
            return ReplicaState.FAILED, failure.since, failure.reason
        held = self._running().get(desired.key)
        if held is None:
            return ReplicaState.LOADING, self._started_at, ""
        return ReplicaState.SERVING, held.loaded_at, ""


def pause_limit(*, serves_another: bool, load_seconds: float) -> float:
    """Return the longest pause before a load is tried again, in seconds.

    Where no version of the model serves here, callers wait for this one; a load that takes long must not be all that
    the process does.
    """
    return MAX_PAUSE_SECONDS if serves_another else max(MISSING_PAUSE_SECONDS, 4 * load_seconds)


def _target(of: DesiredVersion | LoadedModel | Failure) -> tuple[int, str]:
    """Return what tells two desired versions of a model apart."""
    return of.generation, of.build


def version_ref(desired: DesiredVersion) -> VersionRef:
    """Return the desired version as the serving side knows it."""
    return VersionRef(
        model=desired.model,
        number=desired.number,
        version_id=desired.version_id,
        generation=desired.generation,
        format=desired.format,
        size_bytes=desired.size_bytes,
        digest=desired.digest,
        schema=Schema.from_json(desired.schema),
        sample=Sample.from_json(desired.sample) if desired.sample else None,
        report=desired.report,
        description=desired.description,
        acceleration=desired.acceleration,
        activated_at=desired.activated_at,
        build=desired.build,
    )
