"""A replica's loop that makes the running versions match the desired state."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.db import DatabaseError, connection

from models_registry import conf, services
from models_registry.agent.database_thread import DatabaseThread
from models_registry.agent.desired_state_reader import DesiredStateReader
from models_registry.agent.failures import Failure, Failures
from models_registry.agent.load_queue import LoadQueue
from models_registry.agent.loader import Preparation, memory_bytes
from models_registry.agent.lookout import Lookout
from models_registry.agent.pending_loads import PendingLoads
from models_registry.agent.plan import Drop, plan
from models_registry.agent.reporting import LoadProgress, Reporter, progress_of, report_of, report_of_other
from models_registry.agent.residency import Residency
from models_registry.inference import memory
from models_registry.inference.desired_version import DesiredVersion
from models_registry.inference.routing import model_of
from models_registry.inference.runtime import LoadedModel, Runtime
from models_registry.services.desired_state import DesiredState
from models_registry.services.rollout import ModelReport
from models_registry.storage import VersionedStorage

log = structlog.get_logger(__name__)

# A little longer than SQLite waits for a lock. A replica that is not signed off counts as live until its timeout.
SIGN_OFF_SECONDS = 25.0
# A quarter of the shortest time after which a silent replica counts as gone.
BEAT_SECONDS = conf.MIN_REPLICA_TIMEOUT_SECONDS / 4


class Reconciler:
    """Polls the desired state, prepares the differences, swaps, and reports.

    The cost of a pass depends on the changes, not on the number of models.
    """

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
        residency: Residency | None = None,
        lookout: Lookout | None = None,
    ) -> None:
        """Reconcile `runtime`; the workers of this machine queue at `load_queue`, and `residency` selects models.

        `lookout` reads the revision of the desired state. `memory_path` stores that state for a worker that starts
        while the database is unavailable.
        """
        self.runtime = runtime
        self.replica_id = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._preparation = preparation
        self._poll_seconds = poll_seconds
        self._default_model = default_model
        self._load_queue = load_queue
        self._residency = residency or Residency()
        self._started_at = datetime.now(UTC)
        self._first_pass = threading.Event()
        self._thread = DatabaseThread(
            "reconciler", self._step, seconds=self._pause_seconds, is_eager=True, last_step=self._end
        )
        self._failures = Failures()
        self._reader = DesiredStateReader(memory_path, poll_seconds=poll_seconds)
        self.pending = PendingLoads(
            preparation,
            storage,
            self._failures,
            details=self._reader.details,
            on_end=self._thread.wake,
        )
        self._reporter = Reporter(
            self.replica_id,
            started_at=self._started_at,
            storage=storage.identity(),
            names=lambda: self._desired_state,
            describe=self._report_of,
        )
        self._has_dropped = False
        self._is_short_pause = False
        self._database_is_away = False
        self._lookout = lookout or Lookout()
        self._lookout.add(self._reader.look, seconds=poll_seconds, then=self._thread.wake)
        # In its own thread: no load, slow query or lock on another table may make this replica count as gone.
        self._heartbeat = DatabaseThread("heartbeat", self._beat, seconds=BEAT_SECONDS)
        runtime.on_demand = self._residency.on_demand
        if runtime.on_demand is not None:
            runtime.on_demand.wake = self._thread.wake

    def start(self, *, wait_seconds: float) -> None:
        """Start, and wait until all desired models are served or failed, or `wait_seconds` have passed.

        A replacement worker takes connections from the shared socket at once, so it should be ready then.
        """
        self._lookout.start()
        self._heartbeat.start()
        self._thread.start()
        self._first_pass.wait(wait_seconds)

    def stop(self) -> None:
        """Stop, and remove this replica from the registry."""
        self._lookout.stop()
        self._heartbeat.stop()
        if not self._thread.stop(join_seconds=SIGN_OFF_SECONDS):
            self._note_not_signed_off(f"The last step takes longer than {SIGN_OFF_SECONDS:g} s.")

    def reconcile(self) -> None:
        """Start all changes towards the desired state, and report the changed models."""
        changed = self._reader.poll()
        self.runtime.desired_state_read_at = time.time()
        self._carry_out(changed)
        self._reporter.report(at_once=bool(changed) or not self.pending.under_way)

    @property
    def _desired_state(self) -> DesiredState:
        return self._reader.state

    def _carry_out(self, changed: set[str]) -> None:
        """Make the changes that need no load, and start the downloads for the others."""
        asked = self._residency.take_asked(self._desired_state)
        if changed or asked:
            self._follow(changed | asked)
        for begun in self.pending.begin(self._desired_state.find):
            self._reporter.note(begun.model)
        default = self._default_model or self._desired_state.first
        if changed or not self.runtime.snapshot.has_read_desired_state or self.runtime.snapshot.default != default:
            self._post_desired_state()
        self._residency.end_waits(self.runtime.snapshot)

    def _follow(self, changed: set[str]) -> None:
        """Swap and unload versions that need no load, and queue the loads, of the models that have `changed`."""
        desired = {version.key: version for version in self._desired_of(changed)}
        running = {key: _target(held) for key, held in self._held_of(changed).items()}
        self.pending.put_off(changed, desired)
        for key in [key for key in self._failures if model_of(key) in changed]:
            self._failures.keep_if_of(key, desired.get(key))
        for step in plan({key: _target(version) for key, version in desired.items()}, running):
            if isinstance(step, Drop):
                self._drop(step.model)
            elif held := self._in_memory(desired[step.model]):
                self._serve(desired[step.model], _as_desired(held, desired[step.model]))
            else:
                self.pending.queue(desired[step.model])
        for name in changed:
            if not self._desired_state.of(name).versions():
                self._residency.forget(name)
            self._reporter.note(name)

    def _desired_of(self, names: set[str]) -> Iterator[DesiredVersion]:
        """Yield the versions of some models that should be loaded, in the order of registration."""
        state = self._desired_state
        for name in names if len(names) == 1 else [name for name in state if name in names]:
            desired = state.of(name)
            if self._residency.wants(name, desired):
                yield from desired.versions()

    def _held_of(self, names: set[str]) -> dict[str, LoadedModel]:
        """Return the loaded versions of some models, by key."""
        snapshot = self.runtime.snapshot
        active = {name: snapshot.models[name] for name in names if name in snapshot.models}
        return active | {key: held for key, held in snapshot.others.items() if held.name in names}

    def _load_next_downloaded(self) -> bool:
        """Load the oldest finished download; return whether there was one.

        The caller reads the desired state again before the next load. So a rollback to a version in memory waits for
        one load only.
        """
        key = self.pending.next_downloaded()
        desired = self._desired_state.find(key) if key else None
        if desired is None:
            return False
        self._load(desired)
        self._reporter.note(desired.model)
        self._note_ready()
        self._residency.end_waits(self.runtime.snapshot)
        return True

    def _step(self) -> None:
        try:
            # After a whole pause, the running calls of an unloaded model have ended.
            if not (self._thread.was_woken or self._is_short_pause):
                self._give_back()
            self._look()
            while self._load_next_downloaded() and not self._thread.is_stopping:
                self._look()
        except Exception:
            self._first_pass.set()
            raise
        if self._is_settled():
            self._first_pass.set()

    def _pause_seconds(self) -> float:
        """Return the seconds until the next poll, or until the next report of changes."""
        due_in = self._reporter.due_in()
        self._is_short_pause = due_in is not None and due_in < self._poll_seconds
        return due_in if due_in is not None and self._is_short_pause else self._poll_seconds

    def _end(self) -> None:
        self.pending.let_go()
        self._sign_off()

    def _look(self) -> None:
        try:
            self.reconcile()
            self._note_database(away=False)
        except DatabaseError as error:
            # Predictions need no database: loaded models stay in service.
            self._note_database(away=True, error=error)
            connection.close()
            # The desired state that this worker read last, else the one stored on this machine.
            recalled = self._reader.recall()
            if self._reader.has_read:
                self._carry_out(recalled)

    def _is_settled(self) -> bool:
        """Return whether each desired version is served here, or has failed to load."""
        has_read = self.runtime.snapshot.has_read_desired_state
        return has_read and all(key in self._failures for key in self._lacking())

    def _lacking(self) -> Iterator[str]:
        """Yield the keys of the pending versions, without keys under which an earlier version is served.

        Models that load on demand are excluded, because a worker is ready without them.
        """
        snapshot = self.runtime.snapshot
        served = (snapshot.models, snapshot.others, snapshot.on_demand)
        return (key for key in self.pending if not any(key in names for names in served))

    def _beat(self) -> None:
        """Record that this replica is alive; report everything if the registry does not know it."""
        if not services.beat(self.replica_id):
            self._reporter.note_unknown()

    def _sign_off(self) -> None:
        try:
            services.forget_replica(self.replica_id)
        except DatabaseError as error:
            self._note_not_signed_off(str(error))

    def _note_not_signed_off(self, error: str) -> None:
        log.warning("replica_not_signed_off", replica=self.replica_id, error=error)

    def _note_database(self, *, away: bool, error: Exception | None = None) -> None:
        if away and not self._database_is_away:
            log.error("database_away", error=str(error), next="Predictions continue; every poll retries.")
        if not away and self._database_is_away:
            log.info("database_back")
        self._database_is_away = away

    def _post_desired_state(self) -> None:
        state = self._desired_state
        self.runtime.post(
            desired={name: desired.number for name, desired in state.items()},
            on_demand=self._residency.on_demand_of(state),
            # Public; the full reason contains paths, and is only for users who may view the registry.
            problems={
                key: f"version {state[key].number} failed to load; the model's page in the admin and the log say why"
                for key in self._failures
                if key in state
            },
            splits=dict(state.splits),
            aliases=dict(state.aliases),
            default=self._default_model or state.first,
            has_read_desired_state=True,
        )
        self._note_ready()

    def _note_ready(self) -> None:
        """Publish which candidates are awaited, and `was_ready` once every desired version is served."""
        snapshot = self.runtime.snapshot
        awaited = frozenset(
            key for key in self._desired_state.others if key not in snapshot.others and key not in self._failures
        )
        if awaited != snapshot.awaited:
            self.runtime.post(awaited=awaited)
        is_lacking = awaited or any(key in self._desired_state for key in self._lacking())
        if not snapshot.was_ready and snapshot.has_read_desired_state and not is_lacking:
            self.runtime.post(was_ready=True)

    def _in_memory(self, desired: DesiredVersion) -> LoadedModel | None:
        """Return the model of a desired version that is already loaded, as the active version or another one."""
        held = self._held_of({desired.model}).values()
        return next((model for model in held if model.build == desired.build), None)

    def _serve(self, desired: DesiredVersion, loaded: LoadedModel) -> None:
        if desired.is_active:
            self.runtime.swap(loaded)
        else:
            self.runtime.hold(desired.key, loaded)
        if self._failures.pop(desired.key, None) is not None:
            self._post_desired_state()

    def _load(self, desired: DesiredVersion) -> None:
        """Load a downloaded version, and serve it."""
        began: float | None = None
        try:
            with self.pending.taken(desired.key) as (fetching, details):
                artifact = fetching.take()
                with self._load_queue.turn(desired.digest):
                    began = time.monotonic()
                    self._make_room(desired.key, memory_bytes(desired, details))
                    loaded = self._preparation.prepare(desired, details, artifact)
        except Exception as error:  # noqa: BLE001 - an artifact may raise anything; it is reported, the old one serves
            self._note_failure(desired, error, load_seconds=time.monotonic() - began if began else 0.0)
            return
        if not self._reader.is_current(desired):
            log.info("superseded", model=desired.model, version=desired.number)
            self.pending.queue(desired)  # the next pass, which follows at once, finds the replacement
            return
        self._serve(desired, loaded)
        self._has_dropped = True
        seconds = round(fetching.seconds, 3)
        log.info("swapped", model=desired.model, version=desired.number, seconds=seconds, runs=loaded.runs["form"])

    def _make_room(self, key: str, needed_bytes: int) -> None:
        """Unload the least recently used models until a version fits; BrokenArtifact if it cannot fit."""
        for name in self._residency.to_drop(key, needed_bytes, self.runtime.snapshot):
            self._residency.forget(name)
            self._follow({name})

    def _note_failure(self, desired: DesiredVersion, error: Exception, *, load_seconds: float) -> None:
        self.runtime.load_failures[desired.model] += 1
        failure = self._failures.note(
            desired,
            error,
            load_seconds=load_seconds,
            serves_another=desired.model in self.runtime.snapshot.models,
            poll_seconds=self._poll_seconds,
        )
        self.pending.queue(desired)
        self._post_desired_state()
        log.error(
            "load_failed",
            model=desired.model,
            version=desired.number,
            reason=failure.reason,
            attempts=failure.attempts,
            retry_in_seconds=round(failure.pause_seconds, 1),
        )

    def _drop(self, key: str) -> None:
        snapshot = self.runtime.snapshot
        held = snapshot.models.get(key) or snapshot.others[key]
        self.runtime.drop(key)
        self._has_dropped = True
        log.info("dropped", model=held.name, version=held.number)

    def _give_back(self) -> None:
        """Free an unloaded model's memory one poll after the swap, when its running calls have ended."""
        if self._has_dropped:
            self._has_dropped = False
            self._preparation.tidy()
            memory.give_back()

    def _report_of(self, name: str) -> ModelReport | None:
        desired = self._desired_state.of(name)
        if desired.active is None:
            return None
        held = self.runtime.snapshot.models.get(name)
        other = desired.candidate
        others = {str(other.number): report_of_other(other, self._progress_of(other))} if other else {}
        return report_of(desired.active, held, self._progress_of(desired.active), others=others)

    def _progress_of(self, desired: DesiredVersion) -> LoadProgress:
        snapshot = self.runtime.snapshot
        fetching = self.pending.under_way.get(desired.key)
        is_wanted = self._residency.wants(desired.model, self._desired_state.of(desired.model))
        dropped_at = self._residency.dropped_at(desired.model)
        return progress_of(
            (snapshot.models if desired.is_active else snapshot.others).get(desired.key),
            failure=self._failures.get(desired.key),
            fetching_since=fetching.began_at if fetching else None,
            started_at=self._started_at,
            unloaded_since=None if is_wanted else dropped_at or self._started_at,
        )


def _as_desired(held: LoadedModel, desired: DesiredVersion) -> LoadedModel:
    """Return the version in memory as the desired version: it needs no download, and cannot fail."""
    return replace(held, generation=desired.generation, activated_at=desired.activated_at)


def _target(of: DesiredVersion | LoadedModel | Failure) -> tuple[int, str]:
    """Return a key that identifies a desired version of a model."""
    return of.generation, of.build
