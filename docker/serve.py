#!/usr/bin/env python
"""`serve`: the container's command. Prepares the registry, runs gunicorn, and lets it drain before it ends.

SageMaker starts a container with this very word, expects port 8080, and puts the model into /opt/ml/model.
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
    """Prepare, serve until told to end, and return gunicorn's exit status."""
    sys.path.insert(0, str(_APP))
    from mlapi import draining
    from mlapi.extra_environment import ExtraEnvironmentError, expand

    try:
        expand()
    except ExtraEnvironmentError as error:
        print(error, file=sys.stderr)
        return 1
    environment = serving_environment(os.environ, is_sagemaker=_SAGEMAKER_MODELS.is_dir())
    drains_for = drain_seconds(environment)
    prepared = subprocess.run([sys.executable, "docker/prepare.py"], cwd=_APP, env=environment, check=False)
    if prepared.returncode:
        return prepared.returncode
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"],
        cwd=_APP,
        env=environment,
    )
    end_in_two_steps(server, drain_seconds=drains_for, on_drain=draining.begin)
    return server.wait()


def serving_environment(given: Mapping[str, str], *, is_sagemaker: bool) -> dict[str, str]:
    """Return the environment to serve in; under SageMaker with its port, its models and no one to activate them."""
    if not is_sagemaker:
        return dict(given)
    defaults = {
        "PORT": "8080",
        # the first folder of a key names the model: it is called "model"
        "MODELS_STORAGE": _SAGEMAKER_MODELS.parent.as_uri(),
        "MODELS_POLICY": "latest",
        # SageMaker is the only one who can reach the container, and there is one of each endpoint's variant
        "DJANGO_ALLOWED_HOSTS": "*",
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
    }
    return defaults | dict(given)


def drain_seconds(environment: Mapping[str, str]) -> float:
    """Return how long to serve on after SIGTERM; what is not a number of seconds ends the start with a sentence."""
    given = environment.get("DRAIN_SECONDS", "").strip()
    with suppress(ValueError):
        seconds = float(given or 0)
        if 0 <= seconds <= _MAX_DRAIN_SECONDS:
            return seconds
    raise SystemExit(f"DRAIN_SECONDS is {given!r}; expected a number of seconds from 0 to {_MAX_DRAIN_SECONDS}.")


def end_in_two_steps(server: subprocess.Popen[bytes], *, drain_seconds: float, on_drain: Callable[[], None]) -> None:
    """On SIGTERM call `on_drain` and serve on for `drain_seconds`, then have gunicorn finish what it holds.

    A balancer still sends requests to a task that is being stopped until it has taken it off its list. A second
    SIGTERM, or Ctrl-C, ends the wait.
    """
    told = threading.Event()

    def end(signal_number: int, frame: FrameType | None) -> None:
        del frame
        if told.is_set() or signal_number == signal.SIGINT or not drain_seconds:
            server.terminate()
            return
        told.set()
        print(f"SIGTERM: serving on for {drain_seconds:g} s while the balancer lets go", file=sys.stderr, flush=True)
        try:
            on_drain()
        except OSError as error:
            print(f"The health of gRPC stays SERVING meanwhile: {error}", file=sys.stderr, flush=True)
        timer = threading.Timer(drain_seconds, server.terminate)
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


if __name__ == "__main__":
    sys.exit(main())
