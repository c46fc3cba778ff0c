"""Every answer is its version's own, whatever fails: `python -m benchmarks.chaos --minutes 24`.

Each version of the model answers its own number. Callers ask all the time, and keep a history of what they were told.
Meanwhile workers and the whole service are killed, the storage fails, stalls and cuts answers short, the database
stops, the cache is lost, and versions are activated and rolled back. In the end all faults are over, and the version
that is activated last has to serve. Exit status 1: an answer of another version than it names, a server that ended by
itself, or a service that does not come back.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.faulty_storage import MODES, FaultyStorage, faulty_storage
from benchmarks.proof import Bed, bed, finish, say
from tests.support.estimators import constant, save
from tests.support.s3 import s3_server

VERSIONS = 4
CALLERS = 4
# One fault after the other, in seconds between their beginnings.
PAUSE_SECONDS = (0.3, 3.0)
RECOVERY_SECONDS = 120


class Answer(NamedTuple):
    """What a caller was told, and when (seconds since 1970)."""

    at: float
    version: int
    prediction: float


@dataclass(slots=True)
class History:
    """What all callers were told."""

    answers: list[Answer] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def take(self, status: int, body: bytes, version_told: str | None) -> None:
        """Record one answer; one that is neither a prediction nor a refusal of the contract is a fault."""
        try:
            told = json.loads(body)
        except ValueError:
            self.faults.append(f"status {status} with a body that is no JSON: {body[:80]!r}")
            return
        if status != 200:
            self.others[f"{status} {told.get('code')}"] += 1
            if status not in {404, 503}:
                self.faults.append(f"status {status}: {body[:200]!r}")
            return
        self.answers.append(Answer(time.time(), told["version"], told["prediction"]))
        if version_told is not None and version_told != str(told["version"]):
            self.faults.append(f"the header says version {version_told}, the body {told['version']}")

    def mismatches(self, known: range) -> list[str]:
        """Return each answer that is not of the version it names, or of one that never was."""
        return [
            f"version {answer.version} answered {answer.prediction} at {answer.at:.3f}"
            for answer in self.answers
            if answer.version not in known or answer.prediction != answer.version
        ]


class Caller(threading.Thread):
    """Asks again and again on one connection, and on another where that ends."""

    def __init__(self, port: int, history: History, over: threading.Event, pause_seconds: float) -> None:
        super().__init__(daemon=True)
        self._port, self._history, self._over, self._pause_seconds = port, history, over, pause_seconds

    def run(self) -> None:
        """Ask until it is over."""
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                while not self._over.is_set():
                    self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                self._history.others[type(error).__name__] += 1
                self._over.wait(0.05)
            finally:
                connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        body = json.dumps({"features": [0, 0]})
        connection.request("POST", "/models/m/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        self._history.take(answer.status, answer.read(), answer.headers.get("X-Model-Version"))
        time.sleep(self._pause_seconds)


class Chaos:
    """The faults, each for some seconds, in an order that the seed decides."""

    def __init__(self, stage: Bed, storage: FaultyStorage, dice: random.Random) -> None:
        self._stage, self._storage, self._dice = stage, storage, dice
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self._acts: dict[Callable[[], None], int] = {
            self.kill_a_worker: 6,
            self.activate: 8,
            self.roll_back: 3,
            self.break_the_storage: 4,
            self.stop_the_database: 1,
            self.lose_the_cache: 2,
            self.restart: 1,
        }

    def act(self) -> None:
        """Do one of the acts."""
        (act,) = self._dice.choices(list(self._acts), list(self._acts.values()))
        self.done[act.__name__] += 1
        process = self._stage.service.process
        if process is not None and process.poll() is not None:
            self.faults.append(f"the server ended by itself, with status {process.returncode}")
            self._stage.service.start(until_ready=False)
        act()

    def kill_a_worker(self) -> None:
        """End one worker as the kernel does when memory is short."""
        pids = self._stage.service.worker_pids()
        if pids:
            try:
                os.kill(self._dice.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                return

    def activate(self) -> None:
        """Ask for any version."""
        self._ask("activate", {"version": self._dice.randint(1, VERSIONS)})

    def roll_back(self) -> None:
        """Ask for the previous one."""
        self._ask("rollback", {})

    def break_the_storage(self) -> None:
        """Let the storage fail in one way for some seconds."""
        self._storage.mode = self._dice.choice(MODES)
        time.sleep(self._dice.uniform(1, 4))
        self._storage.mode = "works"

    def stop_the_database(self) -> None:
        """Stop the database for some seconds."""
        self._stage.database.stop()
        time.sleep(self._dice.uniform(1, 6))
        self._stage.database.start()

    def lose_the_cache(self) -> None:
        """Remove what this machine keeps of the storage."""
        shutil.rmtree(self._stage.directory / "service" / "var" / "cache", ignore_errors=True)

    def restart(self) -> None:
        """End the whole service, gently or not, and start it again."""
        service = self._stage.service
        if self._dice.random() < 0.5:
            service.stop()
        else:
            service.kill()
        service.start(until_ready=False)

    def _ask(self, act: str, body: dict[str, int]) -> None:
        try:
            status, told = self._stage.api(f"/api/models/m/{act}", body, seconds=10)
        except OSError as error:
            self.done[f"{act}: {type(error).__name__}"] += 1
            return
        self.done[f"{act}: {status}"] += 1
        if status >= 500 and status != 503:
            self.faults.append(f"{act} was answered {status}: {told}")


def converge(stage: Bed) -> list[str]:
    """Activate a version after all faults; return what is wrong if it does not serve everywhere."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = stage.api("/api/models/m/activate", {"version": 1, "wait_seconds": 20})
            status, told = stage.api("/api/models/m/activate", {"version": VERSIONS, "wait_seconds": 20})
            last = status, told
            answers = [stage.service.post("/models/m/predict", {"features": [0, 0]})[1] for _ in range(20)]
            if status == 200 and told["is_complete"] and {item.get("prediction") for item in answers} == {VERSIONS}:
                return []
        except OSError as error:
            last = error
        time.sleep(0.5)
    return [f"the service did not come back within {RECOVERY_SECONDS} s: {last}"]


def run(*, seconds: float, seed: int, pause_seconds: float = 0.002) -> int:
    """Run it and return the exit status; each caller waits `pause_seconds` between its requests."""
    dice = random.Random(seed)
    history = History()
    with s3_server() as storage, faulty_storage(storage.endpoint) as proxy:
        storage.bucket("models")
        environment = {**storage.environment(), "AWS_ENDPOINT_URL_S3": proxy.endpoint}
        with bed(MODELS_STORAGE="s3://models/chaos", MODELS_STORAGE_SECONDS="5", **environment) as stage:
            files = [save(constant(number), stage.directory / f"{number}.joblib") for number in range(1, VERSIONS + 1)]
            stage.publish("m", list(map(Path, files)))
            stage.service.start()
            say(f"seed {seed}: {seconds:.0f} s of faults begin")
            over = threading.Event()
            callers = [Caller(stage.service.port, history, over, pause_seconds) for _ in range(CALLERS)]
            for caller in callers:
                caller.start()
            chaos = Chaos(stage, proxy, dice)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                chaos.act()
                time.sleep(dice.uniform(*PAUSE_SECONDS))
            say("the faults are over")
            lost = converge(stage)
            over.set()
            for caller in callers:
                caller.join(timeout=15)
            if lost:
                say(stage.service.log()[-5000:])
    mismatches = history.mismatches(range(1, VERSIONS + 1))
    figures = {
        "seed": seed,
        "seconds": seconds,
        "answers": len(history.answers),
        "mismatched": len(mismatches),
        "by_version": dict(sorted(Counter(answer.version for answer in history.answers).items())),
        "not_answered": dict(history.others.most_common()),
        "acts": dict(chaos.done.most_common()),
    }
    if not history.answers:
        lost.append("nothing was answered at all")
    return finish(figures, mismatches + history.faults + chaos.faults + lost)


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=24)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    return run(seconds=asked.minutes * 60, seed=asked.seed)


if __name__ == "__main__":
    sys.exit(main())
