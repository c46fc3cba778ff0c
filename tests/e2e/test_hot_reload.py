"""The main promise, with real processes: what was activated is what answers, and no request fails."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from tests.support.estimators import constant, constant_tree, forest, save
from tests.support.waiting import eventually

POLL_SECONDS = 0.05
IN_TURN = """
import json, time
from models_registry import services
marks = []
for turn in range({turns}):
    number = 1 + turn % {versions}
    model = services.get_model("m")
    # Before the activation: a worker may serve the version before `activate` returns here.
    begun = time.time()
    services.activate(services.get_version(model, number), by="test")
    final = services.wait_for_rollout(model, timeout_seconds=30, poll_seconds=0.02)
    assert final.is_complete and final.live == {replicas}, final
    marks.append((begun, time.time(), number))
print(json.dumps(marks))
"""


class Clients:
    """Clients on keep-alive that post again and again, and what they were answered."""

    def __init__(self, service, count: int) -> None:
        self.service = service
        self.answers: list[tuple[float, float, int, int, float]] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=30)
        body = json.dumps({"features": [0, 0]}).encode()
        while not self._stop.is_set():
            began = time.time()
            try:
                connection.request("POST", "/models/m/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = json.loads(answer.read())
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                self._stop.wait(0.05)
                continue
            if answer.status != 200:
                self.failures.append(str(content))
                continue
            header = int(answer.headers["X-Model-Version"])
            self.answers.append((began, time.time(), content["version"], header, content["prediction"]))
            # Requests all the time, and the processors left to the service.
            self._stop.wait(0.005)


def in_turn(service, *, turns: int, versions: int, replicas: int) -> list[tuple[float, float, int]]:
    """Activate versions in turn, each until every replica serves it; return begin, end and number of each rollout."""
    code = IN_TURN.format(turns=turns, versions=versions, replicas=replicas)
    marks: list[tuple[float, float, int]] = json.loads(service.manage("shell", "-v", "0", "-c", code).stdout)
    return marks


@pytest.fixture
def publish_constants(tmp_path):
    def publish(service, count: int) -> None:
        for number in range(1, count + 1):
            save(constant(number), tmp_path / f"v{number}.joblib", rows=[[0, 0]])
        service.add_ready("m", *(tmp_path / f"v{number}.joblib" for number in range(1, count + 1)))

    return publish


@pytest.mark.any_database
def test_deactivated_model_leaves_every_worker_ready(new_service, publish_constants, tmp_path):
    service = new_service(WEB_WORKERS="2", MODELS_POLL_SECONDS=str(POLL_SECONDS))
    publish_constants(service, 1)
    service.add_ready("other", save(constant(7), tmp_path / "other.joblib"))
    service.start().wait_until_served("m", 1, replicas=2)
    other = {"features": [0, 0]}
    done = service.manage("deactivate_model", "m", "--reason", "retired", "--wait")
    assert "m: no version is active (generation 2)." in done.stdout
    assert "2 of 2 replicas no longer serve it" in done.stdout
    for _ in range(10):  # either worker
        status, answer, _ = service.post("/models/m/predict", other)
        assert (status, answer["code"], answer["served"]) == (404, "unknown_model", ["other"])
        assert service.post("/models/other/predict", other)[0] == 200
        assert service.get("/health/ready")[0] == 200
    assert len(service.events("dropped")) == 2
    # The only artifact of a model that nobody wants is lost: a new worker is ready all the same.
    (service.storage / "m").rename(tmp_path / "lost")
    service.stop()
    service.start().wait_until_served("other", 1, replicas=2)
    assert "nothing changes" in service.manage("deactivate_model", "m").stdout
    (tmp_path / "lost").rename(service.storage / "m")
    assert "m 1: active (generation 3)." in service.manage("rollback_model", "m", "--wait").stdout
    assert service.post("/models/m/predict", other)[1]["prediction"] == 1.0


def test_activations_under_load_fail_no_request(new_service, tmp_path):
    service = new_service(WEB_WORKERS="2", MODELS_POLL_SECONDS=str(POLL_SECONDS), MODELS_ACCELERATION="on")
    models = (constant(1), constant(2), constant_tree(3))
    paths = [save(model, tmp_path / f"{number}.joblib", rows=[[0, 0]]) for number, model in enumerate(models)]
    # Checked, since the check compiles them ahead.
    service.manage_all(*(["publish_model", "m", path] for path in paths), ["activate_model", "m", 3])
    service.start().wait_until_served("m", 3, replicas=2)
    marks: list[tuple[float, float, int]] = []
    with Clients(service, 4) as clients:
        for _ in range(5):
            marks += in_turn(service, turns=8, versions=3, replicas=2)
            count = len(clients.answers)
            eventually(lambda count=count: len(clients.answers) > count + 100)
    assert clients.failures == []
    assert len(clients.answers) > 400
    mixed = [answer for answer in clients.answers if not answer[2] == answer[3] == answer[4]]
    assert mixed == []
    # Compiled and native versions in turn.
    assert {event["runs"] for event in service.events("swapped")} == {"compiled", "native"}
    assert len(service.events("swapped")) >= 80
    # From the end of a rollout to the next activation, no request gets another version.
    stable = [
        (answer, number)
        for (_, complete, number), (until, _, _) in pairwise([*marks, (time.time(), 0.0, 0)])
        for answer in clients.answers
        if complete < answer[0] and answer[1] < until
    ]
    assert len(stable) > 400
    assert [answer for answer, number in stable if answer[2] != number] == []


def steady_bytes(process: psutil.Process) -> int:
    """Return the memory of a process once several looks, each longer apart than two polls, find the same."""
    sizes: list[int] = []

    def is_steady() -> bool:
        sizes.append(process.memory_info().rss)
        return len(set(sizes[-3:])) == 1 < len(sizes[-3:])

    eventually(is_steady, poll=3 * POLL_SECONDS)
    return sizes[-1]


@pytest.mark.any_database
def test_memory_of_old_models_is_released(new_service, tmp_path):
    service = new_service(MODELS_POLL_SECONDS="0.05")
    paths = [
        save(forest(seed=seed, trees=100, rows=4550), tmp_path / f"{seed}.joblib", rows=[[0.0] * 4]) for seed in (1, 2)
    ]
    assert all(15e6 < path.stat().st_size < 18e6 for path in paths)
    service.add_ready("m", *paths, active=2)
    service.start()
    (pid,) = service.worker_pids()
    process = psutil.Process(pid)
    in_turn(service, turns=5, versions=2, replicas=1)
    after_few = steady_bytes(process)
    # The first of these changes nothing: version 1 serves already.
    in_turn(service, turns=40, versions=2, replicas=1)
    after_many = steady_bytes(process)
    assert after_many < 1.15 * after_few, (after_few, after_many)
    assert service.worker_pids() == [pid]


def kept_bytes(service, number: int) -> Path:
    kept = sorted((service.storage / ".versions").rglob("*-*"), key=lambda path: path.name)
    return [path for path in kept if path.is_file() and path.suffix != ".json"][number - 1]


@pytest.mark.any_database
def test_failed_version_leaves_the_old_one_serving(new_service, publish_constants):
    service = new_service(MODELS_POLL_SECONDS=str(POLL_SECONDS))
    publish_constants(service, 2)
    service.start()
    second = kept_bytes(service, 2)
    good = second.read_bytes()
    second.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    for cached in (Path(service.environment["MLAPI_VAR"]) / "cache" / "artifacts").glob("*.joblib"):
        cached.unlink()
    failed = service.manage("activate_model", "m", "2", "--wait", "--timeout", "20", check=False)
    assert failed.returncode == 1
    assert "registered as" in failed.stderr
    assert service.post("/predict", {"features": [0, 0]})[1]["version"] == 1
    # Ready: a model that serves its old version is no reason to take the task out of the balancer.
    assert service.get("/health/ready")[0] == 200
    assert service.list_models()[0]["replicas"] == {"live": 1, "serving": 0}
    events = eventually(lambda: (found := service.events("load_failed"))[3:] and found, seconds=30)
    pauses = [event["retry_in_seconds"] for event in events]
    assert pauses == sorted(pauses)
    assert pauses[-1] > 2 * pauses[0]
    second.write_bytes(good)
    service.manage_all(["activate_model", "m", 1], ["activate_model", "m", 2, "--wait"])
    assert service.post("/predict", {"features": [0, 0]})[1]["prediction"] == 2


@pytest.mark.any_database
def test_killed_workers_successor_serves_at_once(new_service, publish_constants):
    service = new_service(WEB_WORKERS="2")
    publish_constants(service, 1)
    service.start()
    before = eventually(lambda: len(service.worker_pids()) == 2 and service.worker_pids())
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(set(service.worker_pids()) - {before[0]}) == 2)
    for _ in range(50):
        status, body, _ = service.post("/predict", {"features": [0, 0]})
        assert (status, body["prediction"]) == (200, 1)
    # An operator's filter on the level finds it: gunicorn's own lines are JSON as all others.
    lines = [json.loads(line) for line in service.log().splitlines()]
    assert [line["level"] for line in lines if "SIGKILL" in line["event"]] == ["error"]


@pytest.mark.any_database
def test_term_under_load_lets_what_is_under_way_end(new_service, publish_constants):
    service = new_service(WEB_WORKERS="2")
    publish_constants(service, 1)
    service.start()
    with Clients(service, 4) as clients:
        eventually(lambda: len(clients.answers) > 50)
        assert service.stop() == 0
    # A client may find the door closed; none was let in and then dropped, or answered an error.
    assert all(
        "Refused" in failure or "RemoteDisconnected" in failure or "Reset" in failure for failure in clients.failures
    )
    assert "Traceback" not in service.log()
    assert service.list_models()[0]["replicas"]["live"] == 0, service.log()[-5000:]


def test_new_versions_are_found_and_checked_without_being_asked(new_service, tmp_path):
    service = new_service(MODELS_DISCOVERY_SECONDS="0.5", MODELS_POLICY="latest", WEB_WORKERS="2").start()
    assert service.get("/health/ready")[0] == 200
    assert service.post("/predict", {"features": [0, 0]})[0] == 503
    for number in (1, 2):
        save(constant(number), service.storage / "m" / "model.joblib")
        service.wait_until_served("m", number, replicas=2)
        assert service.post("/predict", {"features": [0, 0]})[1]["prediction"] == number
    (model,) = service.list_models()
    assert [version["state"] for version in model["versions"]] == ["ready", "ready"]
