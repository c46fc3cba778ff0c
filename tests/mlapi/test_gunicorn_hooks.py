"""gunicorn's hooks: the master outlives whatever one of them meets."""

from __future__ import annotations

import logging
import os
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mlapi import draining
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.snapshots import Snapshots
from models_registry.inference.runtime import Runtime
from tests.mlapi.test_metrics import record
from tests.support.databases import ROOT
from tests.support.disks import needs_mount, small_disk

SERVER = SimpleNamespace(log=logging.getLogger("gunicorn.error"))
WORKER = SimpleNamespace(pid=4_000_000, age=1)


def configuration(var, monkeypatch) -> dict[str, object]:
    """Return gunicorn's settings where the service keeps its data in `var`."""
    monkeypatch.setenv("MLAPI_VAR", str(var))
    return runpy.run_path(str(ROOT / "gunicorn.conf.py"))


def call_hooks(settings: dict[str, object]) -> None:
    settings["on_starting"](SERVER)
    settings["child_exit"](SERVER, WORKER)
    settings["worker_exit"](SERVER, WORKER)


def test_a_hook_whose_directory_is_no_directory_raises_nothing(tmp_path, monkeypatch, caplog):
    (tmp_path / "var").write_text("")
    call_hooks(configuration(tmp_path / "var", monkeypatch))
    assert "child_exit failed; the service continues" in caplog.text


def test_a_server_that_starts_does_not_drain(tmp_path, monkeypatch):
    settings = configuration(tmp_path, monkeypatch)
    draining.begin()
    settings["on_starting"](SERVER)
    assert not draining.is_draining()


@needs_mount
@pytest.mark.parametrize("fault", ["fill", "make_read_only"])
def test_a_hook_whose_disk_takes_nothing_raises_nothing(fault, tmp_path, monkeypatch, caplog):
    with small_disk(tmp_path / "var") as disk:
        settings = configuration(disk.path, monkeypatch)
        settings["on_starting"](SERVER)
        recorder = MetricsRecorder(Runtime(), Snapshots(disk.path / "metrics"))
        recorder.record(record())
        recorder.flush()
        getattr(disk, fault)()
        settings["child_exit"](SERVER, SimpleNamespace(pid=os.getpid()))
        settings["on_starting"](SERVER)
    assert "failed; the service continues" in caplog.text


def test_a_hook_logs_the_error_that_nobody_foresaw(monkeypatch, tmp_path, caplog):
    def fail() -> None:
        raise RuntimeError("unforeseen")

    asgi = SimpleNamespace(replica=SimpleNamespace(stop=fail))
    monkeypatch.setitem(sys.modules, "mlapi.asgi", asgi)
    call_hooks(configuration(tmp_path, monkeypatch))
    assert "worker_exit failed; the service continues" in caplog.text
    assert "unforeseen" in caplog.text


@needs_mount
def test_worker_ended_on_a_full_disk_is_counted_later(tmp_path, monkeypatch):
    with small_disk(tmp_path / "var") as disk:
        settings = configuration(disk.path, monkeypatch)
        snapshots = Snapshots(disk.path / "metrics")
        ended = MetricsRecorder(Runtime(), snapshots)
        ended.record(record())
        snapshots.write(ended.snapshot(), pid=WORKER.pid)
        disk.fill()
        settings["child_exit"](SERVER, WORKER)
        disk.free()
        settings["child_exit"](SERVER, SimpleNamespace(pid=4_000_001))
        (kept,) = snapshots.read()
    assert sum(kept.totals.counters["mlapi_requests"].values()) == 1
    assert kept.gauges == ()


@pytest.mark.parametrize("content", [b"", b'{"counters"', b"[]", b'{"counters": {}, "histograms": {}}'])
def test_truncated_snapshot_is_left_out(content, tmp_path):
    snapshots = Snapshots(tmp_path)
    (tmp_path / "1.json").write_bytes(content)
    (tmp_path / "retired.json").write_bytes(content)
    recorder = MetricsRecorder(Runtime(), snapshots)
    recorder.record(record())
    assert len(recorder.all_snapshots()) == 1
    snapshots.retire(1)
    snapshots.retire(os.getpid())
    assert len(snapshots.read()) == 1


def test_failed_sharing_is_logged_once_until_it_recovers(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "metrics").write_text("")
    recorder = MetricsRecorder(Runtime(), Snapshots(tmp_path / "metrics"))
    recorder.all_snapshots()
    recorder.all_snapshots()
    (tmp_path / "metrics").unlink()
    recorder.start()
    recorder.stop()
    events = [line.msg["event"] for line in caplog.records if isinstance(line.msg, dict)]
    assert events == ["metrics_not_shared", "metrics_shared_again"]


def test_the_master_imports_what_a_fork_survives(tmp_path):
    # The same imports as gunicorn's: its configuration, the worker class and the logger class.
    code = """
import runpy, sys
settings = runpy.run_path("gunicorn.conf.py")
for name in (settings["worker_class"], settings["logger_class"]):
    __import__(name.rpartition(".")[0])
print(*sorted({"django", "mlapi.asgi", "numpy", "onnxruntime", "scipy", "sklearn"} & set(sys.modules)))
"""
    environment = {**os.environ, "MLAPI_VAR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
