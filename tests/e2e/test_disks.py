"""A disk that is full, read-only or gone ends no service."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.disks import needs_mount, small_disk
from tests.support.estimators import constant, save
from tests.support.waiting import eventually


def replace_workers(service) -> None:
    """Kill every worker, one after the other, and wait until others serve."""
    for pid in service.worker_pids():
        os.kill(pid, signal.SIGKILL)
        eventually(
            lambda gone=pid: gone not in service.worker_pids() and len(service.worker_pids()) == 2,
            seconds=60,
            saying=f"a new worker; log: {service.log_path}",
        )
        eventually(service.is_ready, seconds=60, saying=f"ready; log: {service.log_path}")


def started(new_service, tmp_path, var: Path):
    """Return a service whose data, but not its database, lies in `var`."""
    service = new_service(
        WEB_WORKERS="2", MLAPI_VAR=str(var), DJANGO_SECRET_KEY="x" * 50, MLAPI_PREDICTION_SECONDS="60"
    )
    service.add_ready("m", save(constant(1), tmp_path / "a.joblib"))
    service.start().wait_until_served("m", 1, replicas=2)
    return service


def answers(service) -> set[tuple[int, object]]:
    """Return what some predictions are answered."""
    found = [service.post("/predict", {"features": [0, 0]})[:2] for _ in range(10)]
    return {(status, body.get("prediction")) for status, body in found}


@needs_mount
@pytest.mark.any_database
@pytest.mark.parametrize("fault", ["fill", "make_read_only"])
def test_service_outlives_its_workers_on_a_full_disk(fault, new_service, tmp_path):
    with small_disk(tmp_path / "small") as disk:
        service = started(new_service, tmp_path, disk.path)
        getattr(disk, fault)()
        assert answers(service) == {(200, 1.0)}
        replace_workers(service)
        assert answers(service) == {(200, 1.0)}
        assert service.get("/metrics")[0] == 200
        assert service.stop() == 0


@needs_mount
@pytest.mark.any_database
def test_a_service_starts_on_a_full_disk(new_service, tmp_path):
    with small_disk(tmp_path / "small") as disk:
        service = started(new_service, tmp_path, disk.path)
        assert service.stop() == 0
        disk.fill()
        service.start()
        assert answers(service) == {(200, 1.0)}
        assert service.stop() == 0


@pytest.mark.any_database
def test_a_service_outlives_the_loss_of_its_directory(new_service, tmp_path):
    service = started(new_service, tmp_path, tmp_path / "var")
    (tmp_path / "var").rename(tmp_path / "gone")
    # What stands in its place, at once, keeps the service from making it again.
    (tmp_path / "var").write_text("")
    assert answers(service) == {(200, 1.0)}
    replace_workers(service)
    assert answers(service) == {(200, 1.0)}
    (tmp_path / "var").unlink()
    replace_workers(service)
    assert service.get("/metrics")[0] == 200
    assert service.stop() == 0
