"""Every task on an artifact has the same walls: inspecting it, trying it, compiling it."""

from __future__ import annotations

import io
import os
import re
import resource
import signal
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from models_registry.artifacts import sandbox
from models_registry.artifacts.inspection import inspect_in_sandbox
from models_registry.artifacts.sandbox.fork_server import SAFE_THREADS
from models_registry.artifacts.sandbox.forking import ForkServer

LIMITS = sandbox.SandboxLimits(memory_bytes=500_000_000, cpu_seconds=60, wall_seconds=120)


@pytest.mark.parametrize("may_write", [True, False])
def test_task_writes_below_its_directory_and_nowhere_else(
    may_write: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "there").touch()

    outcome = sandbox.run(
        "tests.artifacts.sandbox_tasks",
        {"inside": str(inside), "outside": str(outside)},
        LIMITS,
        writable=inside if may_write else None,
    )

    assert outcome.report == {"succeeded": ["write inside", "make a directory inside"] if may_write else []}
    assert (outcome.status, outcome.warnings) == (0, ())


def test_task_that_fails_says_how(tmp_path: Path) -> None:
    outcome = sandbox.run("tests.artifacts.sandbox_tasks", {"inside": str(tmp_path)}, LIMITS)

    assert (outcome.status, outcome.stage, outcome.report) == (1, "while it tried", None)
    assert "KeyError: 'outside'" in outcome.errors


def _marks() -> bytes:
    return zlib.compress(b"\x80\x04" + b"(" * 19_900_000 + b".", 9)


def _schema() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", '{"protocol": 2, "__loader__": "X", "a": [' + "[]," * 20_000_000 + "[]]}")
    return buffer.getvalue()


def _nodes() -> bytes:
    graph = b"\x0a\x00" * 12_000_000
    length, rest = b"", len(graph)
    while rest > 127:
        length, rest = length + bytes([rest & 127 | 128]), rest >> 7
    return b"\x08\x08\x3a" + length + bytes([rest]) + graph


BLOATING = {"joblib": _marks, "skops": _schema, "onnx": _nodes}


@pytest.mark.parametrize("format", BLOATING)
def test_oversized_inspection_is_refused_by_a_named_limit(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{format}"
    path.write_bytes(BLOATING[format]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    found = inspect_in_sandbox(path, format, max_claimed_bytes=4_000_000_000, seconds=120)

    assert found.problems
    assert "bytes of memory, the limit" in found.problems[0] or "8000000 objects" in found.problems[0]
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 20_000_000


def test_inspection_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(_marks())

    found = inspect_in_sandbox(path, "joblib", max_claimed_bytes=4_000_000_000, seconds=0.05)

    assert "The inspection timed out: it was still busy after 0.05 s" in found.problems[0]


@pytest.mark.parametrize("status", [None, -signal.SIGXCPU, -signal.SIGKILL, -signal.SIGSEGV])
def test_next_step_after_a_limit_fits_the_file(status: int | None) -> None:
    outcome = sandbox.Outcome(status, "while it was read", None, "")
    of_model = sandbox.describe_failure(outcome, LIMITS, what="The trial")
    of_table = sandbox.describe_failure(outcome, LIMITS, what="Reading the table", advice=sandbox.OF_TABLES)
    assert re.search("Publish a (faster|smaller) model|publish it again", of_model)
    assert re.search("Use a table with fewer rows|write it again", of_table)
    assert "ublish" not in of_table


def _lineage(**question: object) -> sandbox.Outcome:
    limits = replace(LIMITS, wall_seconds=1) if question else LIMITS
    return sandbox.run("tests.artifacts.sandbox_tasks", {"lineage": True, **question}, limits)


def _server(outcome: sandbox.Outcome) -> int:
    assert outcome.report is not None, outcome.errors
    assert outcome.report["group"] == outcome.report["own"]
    return int(outcome.report["parent"])


def test_tasks_are_forked_from_one_single_threaded_process() -> None:
    first, second = _lineage(), _lineage()

    assert _server(first) == _server(second) != os.getpid()
    assert first.report != second.report
    threads = [(task / "comm").read_text().strip() for task in Path(f"/proc/{_server(first)}/task").iterdir()]
    assert len([name for name in threads if name not in SAFE_THREADS]) == 1


def test_a_server_that_was_killed_is_started_again() -> None:
    before = _server(_lineage())
    os.kill(before, signal.SIGKILL)

    assert _server(_lineage()) != before


def test_parallel_tasks_run_and_a_hanging_one_ends_alone() -> None:
    with ThreadPoolExecutor(3) as pool:
        hanging = pool.submit(_lineage, sleep=600)
        others = [pool.submit(_lineage) for _ in range(4)]

    assert (hanging.result().status, hanging.result().report) == (None, None)
    assert len({_server(other.result()) for other in others}) == 1


def test_task_has_its_own_process_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models_registry.artifacts.sandbox.forking.PROGRAM", Path("/nonexistent"))
    monkeypatch.setattr(sandbox, "server", ForkServer())

    assert _server(_lineage()) == os.getpid()
