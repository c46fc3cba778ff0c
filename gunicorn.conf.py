"""gunicorn's settings, each with its reason."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlapi import draining
from mlapi.observability.metrics.snapshots import Snapshots
from models_registry.agent import siblings
from models_registry.inference import call_board
from models_registry.inference.memory import cpu_quota

# The master hands this on before any numeric library is loaded: a worker has one processor, and its threads share it.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A container is reached from outside of it.
_EVERYWHERE = "0.0.0.0"  # noqa: S104
bind = f"{os.environ.get('MLAPI_BIND') or _EVERYWHERE}:{os.environ.get('PORT') or 8000}"
wsgi_app = "mlapi.asgi:application"
# uvicorn on uvloop, with limits of our own.
worker_class = "mlapi.http.worker.ServingWorker"
# One worker a processor, each with a copy of each model.
workers = int(os.environ.get("WEB_WORKERS") or cpu_quota())
# Models are loaded after the fork: some do not survive one.
preload_app = False
control_socket_disable = True
# Above the load balancer's idle 60 s, or it meets closed connections and answers 502.
keepalive = 75
# Below the 90 s that the container has between SIGTERM and SIGKILL.
graceful_timeout = 50
# Covers the wait for models at a worker's start.
timeout = 120
# Heartbeats need no disk, if there is memory that can be written.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108
# Whom a proxy's headers are believed from is Django's to say (MLAPI_TRUSTED_PROXIES); a local caller is not a proxy.
forwarded_allow_ips = ""
accesslog = None
logger_class = "mlapi.observability.server_log.ServerLog"


_snapshots = Snapshots(Path(os.environ.get("MLAPI_VAR") or Path(__file__).parent / "var").resolve() / "metrics")
# Made here, so that all workers share it.
_siblings = siblings.shared()
_calls = call_board.shared()


def _guarded(hook: Callable[..., None]) -> Callable[..., None]:
    """Return `hook`, whose errors are logged: one that leaves a hook ends the master, and the service with it."""

    @functools.wraps(hook)
    def run(server: Any, *arguments: Any) -> None:
        try:
            hook(server, *arguments)
        except OSError as error:
            server.log.error("%s failed; the service goes on: %s", hook.__name__, error)
        except Exception:
            server.log.exception("%s failed; the service goes on.", hook.__name__)

    return run


@_guarded
def on_starting(server: Any) -> None:
    """Begin anew: what an earlier server left is neither a part of this one's metrics nor its end."""
    draining.clear()
    _snapshots.clear()


@_guarded
def post_fork(server: Any, worker: Any) -> None:
    """Number the worker among its siblings."""
    _siblings.join(worker.age)
    _calls.join(worker.age)


@_guarded
def child_exit(server: Any, worker: Any) -> None:
    """Keep what a worker counted that has ended, however it ended, and which calls ended with it."""
    _snapshots.retire(worker.pid)
    _snapshots.leave_calls(_calls.take(worker.age))


@_guarded
def worker_exit(server: Any, worker: Any) -> None:
    """Take the replica off the registry where the server has not: no rollout must wait for it."""
    import sys

    module = sys.modules.get("mlapi.asgi")
    if module is not None and hasattr(module, "replica"):
        module.replica.stop()
