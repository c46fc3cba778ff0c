"""What many replicas cost the database: `python -m benchmarks.replicas 100`.

The replicas run the real loops in the threads of this process, and load no model: each loads at its first request.
It prints JSON: the processor time that all processes of PostgreSQL take in a minute. In it each replica polls, reports
three activations, and writes the usage of every model. Run in the environment of a migrated, empty registry on a
PostgreSQL of this machine.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

import django

django.setup()

import psutil  # noqa: E402 - after Django's settings
from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from models_registry import conf, services  # noqa: E402
from models_registry.agent.api_key_sync import ApiKeySync  # noqa: E402
from models_registry.agent.batches import BatchRunner  # noqa: E402
from models_registry.agent.canary_watch import CanaryWatch  # noqa: E402
from models_registry.agent.fleet import Fleet  # noqa: E402
from models_registry.agent.idle_connections import IdleConnections, OfProcess  # noqa: E402
from models_registry.agent.load_queue import LoadQueue  # noqa: E402
from models_registry.agent.lookout import Lookout  # noqa: E402
from models_registry.agent.maintenance import MaintenanceLoop  # noqa: E402
from models_registry.agent.prediction_log import PredictionLogWriter  # noqa: E402
from models_registry.agent.preparation import local_preparation, local_residency  # noqa: E402
from models_registry.agent.reconciler import Reconciler  # noqa: E402
from models_registry.agent.shadow_runner import ShadowRunner  # noqa: E402
from models_registry.agent.usage_reporter import UsageReporter  # noqa: E402
from models_registry.inference.runtime import Runtime  # noqa: E402
from models_registry.models import RegisteredModel, Replica, ReplicaModel  # noqa: E402
from models_registry.monitoring.buckets import SECONDS  # noqa: E402
from models_registry.monitoring.usage import Usage, VersionKey  # noqa: E402
from tests.support.many import fill  # noqa: E402

MODELS = 100
# Each replica writes its usage once in that time.
MEASURED_SECONDS = 60.0
ACTIVATION_SECONDS = 20.0
START_SECONDS = 300.0


class Usages:
    """The usage of every model, which has grown at each reading."""

    def __init__(self, names: list[str]) -> None:
        """Count for the first version of each model."""
        self._names = names
        self._readings = 0

    def read(self) -> Mapping[VersionKey, Usage]:
        """Return what was answered since the beginning."""
        self._readings += 1
        count = self._readings * 60
        latency = [count] * (len(SECONDS) + 1)
        usage = Usage(count, rows=count, latency=latency, labels={"0": count // 2, "1": count // 2})
        return {(name, 1): usage for name in self._names}


def start_replica(number: int, usages: Usages, directory: Path) -> None:
    """Start the loops with which a worker uses the database."""
    runtime = Runtime()
    poll_seconds = settings.MODELS_POLL_SECONDS
    own = directory / str(number)
    # As in a process of its own.
    OfProcess.connections = IdleConnections()
    lookout = Lookout()
    reconciler = Reconciler(
        runtime,
        preparation=local_preparation(),
        storage=conf.storage(),
        poll_seconds=poll_seconds,
        default_model="",
        load_queue=LoadQueue(own / "loading.lock", limit_seconds=settings.MLAPI_PREDICTION_SECONDS),
        memory_path=own / "desired_state.sqlite3",
        residency=local_residency(),
        lookout=lookout,
    )
    holder = reconciler.replica_id
    look_seconds = min(1.0, poll_seconds)
    fleet = Fleet()
    MaintenanceLoop(
        holder=holder,
        discovery_seconds=settings.MODELS_DISCOVERY_SECONDS,
        look_seconds=look_seconds,
        lookout=lookout,
        fleet=fleet,
    ).start()
    CanaryWatch(runtime, holder=holder, look_seconds=look_seconds, lookout=lookout).start()
    BatchRunner(holder=holder, lookout=lookout, fleet=fleet).start()
    ApiKeySync(runtime, poll_seconds=poll_seconds, directory=own / "rates").start(wait_seconds=0)
    UsageReporter(holder, usages.read).start()
    PredictionLogWriter(
        runtime,
        conf.log_storage(),
        directory=own / "predictions",
        hash_key=b"-",
        poll_seconds=poll_seconds,
        lookout=lookout,
        fleet=fleet,
    ).start()
    ShadowRunner(
        runtime,
        replica=holder,
        poll_seconds=poll_seconds,
        limit_seconds=settings.MLAPI_PREDICTION_SECONDS,
        slot=lambda: nullcontext(False),
        lookout=lookout,
        fleet=fleet,
    ).start()
    reconciler.start(wait_seconds=0)


def measure(replicas: int) -> dict[str, float]:
    """Start the replicas, and return what they cost once all of them have reported."""
    first = fill(MODELS, 2)
    names = list(RegisteredModel.objects.values_list("name", flat=True))
    Replica.objects.all().delete()
    directory = Path(settings.MODELS_CACHE)
    for number in range(replicas):
        start_replica(number, Usages(names), directory)
        time.sleep(settings.MODELS_POLL_SECONDS / replicas)
    _wait_until_reported(replicas * MODELS)
    server = _postmaster()
    before, began = _processor_seconds(server), time.monotonic()
    activations = 0
    while time.monotonic() - began < MEASURED_SECONDS:
        activations += 1
        services.activate(services.get_version(first, 1 + activations % 2), by="benchmark")
        time.sleep(ACTIVATION_SECONDS)
    spent, seconds = _processor_seconds(server) - before, time.monotonic() - began
    return {
        "PostgreSQL, % of a core": spent / seconds * 100,
        "of that for one replica, %": spent / seconds * 100 / replicas,
        "connections": _number("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"),
    }


def _wait_until_reported(rows: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while ReplicaModel.objects.count() < rows:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{ReplicaModel.objects.count()} of {rows} reports came.")
        time.sleep(0.5)


def _postmaster() -> psutil.Process:
    """Return the server's first process; what ended of its processes is summed up in it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = psutil.Process(cursor.fetchone()[0])
    parent = backend.parent()
    if parent is None:
        raise RuntimeError("The database must run on this machine.")
    return parent


def _processor_seconds(server: psutil.Process) -> float:
    own = server.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for process in server.children():
        times = process.cpu_times()
        total += times.user + times.system
    return total


def _number(query: str) -> float:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return float(cursor.fetchone()[0])


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))), flush=True)
    # The loops have nothing to give back.
    os._exit(0)
