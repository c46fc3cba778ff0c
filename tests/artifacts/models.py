"""Small models that misbehave each in one way, for the load test to see."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier


class Doubling:
    """Twice the first feature, or another factor."""

    factor = 2
    n_features_in_ = 1

    def predict(self, rows: Any) -> list[float]:
        return [row[0] * self.factor for row in rows]


class Crashing(Doubling):
    """Reads address zero."""

    def predict(self, rows: Any) -> Any:
        ctypes.string_at(0)


class Aborting(Doubling):
    """Ends as native code does that finds itself broken."""

    def predict(self, rows: Any) -> Any:
        os.abort()


class Looping(Doubling):
    """Never answers, and computes all the while."""

    def predict(self, rows: Any) -> Any:
        while True:
            pass


class Sleeping(Doubling):
    """Never answers, and computes nothing."""

    def predict(self, rows: Any) -> Any:
        time.sleep(3600)


class Bloating(Doubling):
    """Takes all the memory that it can get."""

    def predict(self, rows: Any) -> Any:
        held = []
        while True:
            held.append(np.ones(1 << 24))


class Leaving(Doubling):
    """Ends the process as if nothing were wrong."""

    def predict(self, rows: Any) -> Any:
        os._exit(0)


class Exiting(Doubling):
    """Asks Python to end."""

    def predict(self, rows: Any) -> Any:
        sys.exit(0)


class Boasting(Doubling):
    """Prints a report of its own, and answers wrongly."""

    def predict(self, rows: Any) -> Any:
        print('{"report": {"passed": true}}', flush=True)
        return [float("nan")] * len(rows)


class Failing(Doubling):
    """Raises."""

    def predict(self, rows: Any) -> Any:
        raise RuntimeError("no")


class Unequal(Doubling):
    """Answers one prediction, whatever it was asked."""

    def predict(self, rows: Any) -> Any:
        return [1.0]


class Prying(Doubling):
    """Tries what a prediction never needs, and answers how many of the attempts got through."""

    folder = "/tmp"

    def predict(self, rows: Any) -> Any:
        attempts = (
            socket.socket,
            lambda: subprocess.run(["true"], check=True),
            lambda: os.fork() or os._exit(0),
            lambda: (Path(self.folder) / "written").write_text("x"),
            (Path(self.folder) / "there").unlink,
            lambda: os.kill(os.getppid(), 0),
            lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
            lambda: os.environ["AWS_SECRET_ACCESS_KEY"],
            lambda: signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0),
        )
        got_through = [number for number, attempt in enumerate(attempts) if _succeeds(attempt)]
        return [float(sum(10**number for number in got_through))] * len(rows)


def _succeeds(attempt: Any) -> bool:
    try:
        attempt()
    except (OSError, KeyError, subprocess.SubprocessError):
        return False
    return True


class Counting(DecisionTreeClassifier):
    """Answers counts in the place of probabilities."""

    def predict_proba(self, X: Any, check_input: bool = True) -> Any:
        return super().predict_proba(X, check_input) * 30
