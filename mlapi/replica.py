"""Composes this process as a replica: its runtime, its metrics, and its background threads.

The runtime and the recorder are made at import, because the request pipeline uses them without a replica too, for
example in Django's test client. They start no thread; `Replica.start` does.
"""

from __future__ import annotations

import gc
import hashlib
from functools import partial
from pathlib import Path

from django.conf import settings

from mlapi.observability.metrics.bounding import SeriesBound
from mlapi.observability.metrics.emf import EmfExporter
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.snapshots import Snapshots
from mlapi.observability.metrics.usage import usage_by_version
from mlapi.observability.tracing import Tracer
from models_registry import conf
from models_registry.agent import siblings
from models_registry.agent.api_key_sync import ApiKeySync
from models_registry.agent.batches import BatchRunner
from models_registry.agent.canary_watch import CanaryWatch
from models_registry.agent.check_slots import check_slot, shadow_slot
from models_registry.agent.feature_counter import FeatureCounter
from models_registry.agent.fleet import Fleet
from models_registry.agent.load_queue import LoadQueue
from models_registry.agent.lookout import Lookout
from models_registry.agent.maintenance import MaintenanceLoop
from models_registry.agent.notifications import notification_watch
from models_registry.agent.prediction_log import PredictionLogWriter
from models_registry.agent.preparation import local_preparation, local_residency
from models_registry.agent.reconciler import Reconciler
from models_registry.agent.shadow_runner import ShadowRunner
from models_registry.agent.siblings import SiblingReport
from models_registry.agent.usage_reporter import UsageReporter
from models_registry.agent.watchdog import Watchdog
from models_registry.agent.webhook_sender import WebhookSender
from models_registry.inference.runtime import Runtime

runtime = Runtime()
_snapshots = Snapshots(settings.METRICS_DIR)
recorder = MetricsRecorder(runtime, _snapshots)
series_bound = SeriesBound(_snapshots, max_models=settings.MLAPI_METRICS_MODELS)


class Replica:
    """A serving worker. Create it after the fork, because its models and threads do not survive a fork."""

    def __init__(self) -> None:
        """Build the parts from the settings."""
        cache_directory = Path(settings.MODELS_CACHE)
        lookout = Lookout()
        self.reconciler = Reconciler(
            runtime,
            preparation=local_preparation(),
            storage=conf.storage(),
            poll_seconds=settings.MODELS_POLL_SECONDS,
            default_model=settings.MODELS_DEFAULT,
            load_queue=LoadQueue(cache_directory / "loading.lock", limit_seconds=settings.MLAPI_PREDICTION_SECONDS),
            memory_path=cache_directory / "desired_state.sqlite3",
            residency=local_residency(),
            lookout=lookout,
        )
        fleet = Fleet()
        self.maintenance = MaintenanceLoop(
            holder=self.reconciler.replica_id,
            discovery_seconds=settings.MODELS_DISCOVERY_SECONDS,
            listing_seconds=conf.listing_seconds(),
            look_seconds=min(1.0, settings.MODELS_POLL_SECONDS),
            slot=partial(check_slot, cache_directory / "checking.lock"),
            lookout=lookout,
            fleet=fleet,
        )
        self.notification_watch = notification_watch(on_found=self.maintenance.wake)
        self.canary_watch = CanaryWatch(
            runtime,
            holder=self.reconciler.replica_id,
            look_seconds=min(1.0, settings.MODELS_POLL_SECONDS),
            lookout=lookout,
        )
        self.batch_runner = (
            BatchRunner(holder=self.reconciler.replica_id, lookout=lookout, fleet=fleet)
            if conf.batch_locations()
            else None
        )
        self.webhook_sender = WebhookSender(holder=self.reconciler.replica_id, fleet=fleet)
        self.api_key_sync = ApiKeySync(
            runtime, poll_seconds=settings.MODELS_POLL_SECONDS, directory=cache_directory / "rates"
        )
        self.emf_exporter = (
            EmfExporter(runtime, recorder, service=settings.MLAPI_SERVICE) if settings.MLAPI_EMF else None
        )
        self.feature_counter = FeatureCounter(runtime)
        self.usage_reporter = UsageReporter(
            self.reconciler.replica_id, lambda: self.feature_counter.add_to(usage_by_version(recorder.totals()))
        )
        self.prediction_log = PredictionLogWriter(
            runtime,
            conf.log_storage(),
            directory=cache_directory / "predictions",
            hash_key=hashlib.sha256(f"prediction log {settings.SECRET_KEY}".encode()).digest(),
            poll_seconds=settings.MODELS_POLL_SECONDS,
            lookout=lookout,
            fleet=fleet,
        )
        self.shadow_runner = ShadowRunner(
            runtime,
            replica=self.reconciler.replica_id,
            poll_seconds=settings.MODELS_POLL_SECONDS,
            limit_seconds=settings.MLAPI_PREDICTION_SECONDS,
            slot=partial(shadow_slot, cache_directory / "shadow.lock"),
            lookout=lookout,
            fleet=fleet,
        )
        self.sibling_report = SiblingReport(runtime, siblings.shared())
        self.tracer: Tracer | None = None
        self._is_running = False
        self.watchdog = Watchdog(limit_seconds=settings.MLAPI_PREDICTION_SECONDS)

    def start(self) -> None:
        """Load the active models, then start to watch the registry.

        It waits for the API keys, if they are required, and then for the models: MODELS_START_SECONDS at most for each.
        The watchdog starts first, so it also ends a worker in which a load or a warm-up hangs.
        """
        self._is_running = True
        self.watchdog.start()
        self.sibling_report.start()
        if settings.MLAPI_OTEL:
            self.tracer = Tracer(settings.MLAPI_SERVICE)
        recorder.start()
        if self.emf_exporter is not None:
            self.emf_exporter.start()
        if settings.MLAPI_REQUIRE_API_KEY:
            self.api_key_sync.start(wait_seconds=settings.MODELS_START_SECONDS)
        self.reconciler.start(wait_seconds=settings.MODELS_START_SECONDS)
        self.maintenance.start()
        if self.notification_watch is not None:
            self.notification_watch.start()
        if self.batch_runner is not None:
            self.batch_runner.start()
        self.feature_counter.start()
        self.usage_reporter.start()
        self.prediction_log.start()
        self.canary_watch.start()
        self.shadow_runner.start()
        if settings.MODELS_WEBHOOK_URLS:
            self.webhook_sender.start()
        # Freeze the objects that exist now: a garbage collection after a swap need not traverse them.
        gc.collect()
        gc.freeze()

    def stop(self) -> None:
        """Stop the loops, and remove this replica from the registry; a second call does nothing.

        Both calls are in the worker process: at the end of ASGI's lifespan, then in gunicorn's hook `worker_exit`. The
        hook's call counts if the lifespan did not end, for example after a failed start. A killed worker calls neither.
        """
        if not self._is_running:
            return
        self._is_running = False
        self.sibling_report.stop()
        if self.notification_watch is not None:
            self.notification_watch.stop()
        self.maintenance.stop()
        if self.batch_runner is not None:
            self.batch_runner.stop()
        self.canary_watch.stop()
        self.shadow_runner.stop()
        self.webhook_sender.stop()
        self.watchdog.stop()
        if settings.MLAPI_REQUIRE_API_KEY:
            self.api_key_sync.stop()
        self.reconciler.stop()
        if self.emf_exporter is not None:
            self.emf_exporter.stop()
        self.feature_counter.stop()
        self.usage_reporter.stop()
        self.prediction_log.stop()
        recorder.stop()
        if self.tracer is not None:
            self.tracer.stop()
