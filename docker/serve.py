#!/usr/bin/env python
"""`serve`: the container's command. Prepares the registry, runs gunicorn, and drains the server after SIGTERM.

The command is called `serve` because SageMaker starts containers with it. SageMaker expects port 8080, and stores the
model in /opt/ml/model.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType

_APP = Path(__file__).resolve().parent.parent
_SAGEMAKER_MODELS = Path("/opt/ml/model")
_MAX_DRAIN_SECONDS = 3600


def main() -> int:
    """Prepare the registry, serve until a stop signal, and return the exit status."""
    sys.path.insert(0, str(_APP))
    from mlapi import draining
    from mlapi.extra_environment import ExtraEnvironmentError, expand

    try:
        expand()
    except ExtraEnvironmentError as error:
        print(error, file=sys.stderr)
        return 1
    environment = serving_environment(os.environ, is_sagemaker=_SAGEMAKER_MODELS.is_dir())
    drain_for_seconds = drain_seconds(environment)
    prepared = subprocess.run([sys.executable, "docker/prepare.py"], cwd=_APP, env=environment, check=False)
    if prepared.returncode:
        return prepared.returncode
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"],
        cwd=_APP,
        env=environment,
    )
    drain_on_sigterm(server, drain_seconds=drain_for_seconds, on_drain=draining.begin)
    return server.wait()


def serving_environment(given: Mapping[str, str], *, is_sagemaker: bool) -> dict[str, str]:
    """Return the environment of the server; in SageMaker, with defaults for its port, storage and activation."""
    if not is_sagemaker:
        return dict(given)
    defaults = {
        "PORT": "8080",
        # A key's first folder names the model, so this model is called "model".
        "MODELS_STORAGE": _SAGEMAKER_MODELS.parent.as_uri(),
        # Users cannot activate versions in such a container.
        "MODELS_POLICY": "latest",
        # Only SageMaker can reach the container. No user signs in to the admin, so the key need not outlive a restart.
        "DJANGO_ALLOWED_HOSTS": "*",
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
    }
    return defaults | dict(given)


def drain_seconds(environment: Mapping[str, str]) -> float:
    """Return DRAIN_SECONDS: how long to keep serving after SIGTERM. Raises SystemExit for an invalid value."""
    given = environment.get("DRAIN_SECONDS", "").strip()
    with suppress(ValueError):
        seconds = float(given or 0)
        if 0 <= seconds <= _MAX_DRAIN_SECONDS:
            return seconds
    raise SystemExit(f"DRAIN_SECONDS is {given!r}; expected a number of seconds from 0 to {_MAX_DRAIN_SECONDS}.")


def drain_on_sigterm(server: subprocess.Popen[bytes], *, drain_seconds: float, on_drain: Callable[[], None]) -> None:
    """Install signal handlers: SIGTERM calls `on_drain`, and after `drain_seconds` stops gunicorn gracefully.

    A load balancer still sends requests to a stopping task until it has deregistered the task. A second SIGTERM, or
    Ctrl-C, ends the wait.
    """
    is_draining = threading.Event()

    def end(signal_number: int, frame: FrameType | None) -> None:
        del frame
        if is_draining.is_set() or signal_number == signal.SIGINT or not drain_seconds:
            server.terminate()
            return
        is_draining.set()
        print(
            f"SIGTERM: serving for another {drain_seconds:g} s, until the balancer has deregistered this task",
            file=sys.stderr,
            flush=True,
        )
        try:
            on_drain()
        except OSError as error:
            print(f"gRPC health checks do not report the drain: {error}", file=sys.stderr, flush=True)
        timer = threading.Timer(drain_seconds, server.terminate)
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


if __name__ == "__main__":
    sys.exit(main())
