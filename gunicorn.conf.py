"""gunicorn's settings, each with its reason.

gunicorn's master imports this file, the worker class and the logger class. They import neither Django nor a numeric
library, because the master forks; a test checks this.
"""

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

# Set in the master, before any numeric library is loaded, so that workers inherit it. Each worker has one CPU.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# In a container, clients connect from outside.
_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104
bind = f"{os.environ.get('MLAPI_BIND') or _ALL_ADDRESSES}:{os.environ.get('PORT') or 8000}"
wsgi_app = "mlapi.asgi:application"
# uvicorn on uvloop, with additional limits.
worker_class = "mlapi.http.worker.ServingWorker"
# One worker per CPU; each worker holds a copy of each model.
workers = int(os.environ.get("WEB_WORKERS") or cpu_quota())
# Models are loaded after the fork, because some models hang after a fork.
preload_app = False
# Nothing here uses gunicorn's control socket.
control_socket_disable = True
# Longer than a load balancer's idle timeout of 60 s: a connection that closes first would cause a 502.
keepalive = 75
# Shorter than the 90 s between a container's SIGTERM and SIGKILL.
graceful_timeout = 50
# gunicorn kills a worker that sends no heartbeat for this time. gunicorn applies no timeout before the first heartbeat,
# which follows the wait for the models at the start. The watchdog runs from the beginning of that wait. No timeout ends
# a worker that hangs earlier, while it imports the application.
timeout = 120
# Heartbeats in memory: on a slow disk they could block a worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108
# Django decides which proxies are trusted (MLAPI_TRUSTED_PROXIES). By default gunicorn would trust local clients.
forwarded_allow_ips = ""
accesslog = None
logger_class = "mlapi.observability.server_log.ServerLog"


_snapshots = Snapshots(Path(os.environ.get("MLAPI_VAR") or Path(__file__).parent / "var").resolve() / "metrics")
# Shared memory, created before the fork so that all workers share it.
_siblings = siblings.shared()
_calls = call_board.shared()


def _guarded(hook: Callable[..., None]) -> Callable[..., None]:
    """Return `hook` with its errors logged: an exception from a hook would end the master, and all its workers."""

    @functools.wraps(hook)
    def run(server: Any, *arguments: Any) -> None:
        try:
            hook(server, *arguments)
        except OSError as error:
            server.log.error("%s failed; the service continues: %s", hook.__name__, error)
        except Exception:
            server.log.exception("%s failed; the service continues.", hook.__name__)

    return run


@_guarded
def on_starting(server: Any) -> None:
    """Remove the metrics and the draining mark of an earlier server."""
    draining.clear()
    _snapshots.clear()


@_guarded
def post_fork(server: Any, worker: Any) -> None:
    """Register the new worker in the shared memory, under its number."""
    _siblings.join(worker.age)
    _calls.join(worker.age)


@_guarded
def child_exit(server: Any, worker: Any) -> None:
    """Keep the metrics of an ended worker, and hand its unfinished calls to a living worker, which counts them."""
    _snapshots.retire(worker.pid)
    _snapshots.leave_calls(_calls.take(worker.age))


@_guarded
def worker_exit(server: Any, worker: Any) -> None:
    """Remove the worker's replica from the registry, if the server has not: a rollout must not wait for it.

    gunicorn calls this in the worker. For a worker that has vanished it calls this in the master, which has no replica.
    """
    import sys

    module = sys.modules.get("mlapi.asgi")
    if module is not None and hasattr(module, "replica"):
        module.replica.stop()
