"""Workers load one after the other; a load that ends workers is put off."""

from __future__ import annotations

import subprocess
import sys

import pytest

from models_registry.agent.load_queue import REPLACED_SECONDS, FatalLoad, Journal, LoadQueue
from models_registry.errors import BrokenArtifact
from tests.support.databases import ROOT
from tests.support.disks import needs_mount, small_disk
from tests.support.processes import has_open
from tests.support.waiting import eventually

LIMIT = 60.0
DIE = """
import os, sys
from pathlib import Path
from models_registry.agent.load_queue import LoadQueue
with LoadQueue(Path(sys.argv[1]), limit_seconds=60).turn("a"):
    os._exit(1)
"""


@pytest.mark.parametrize(
    ("workers_before", "took", "expected_pause"),
    [
        (0, 3, 0),
        (0, LIMIT, 2 * LIMIT),
        (1, 3, 12),
        (2, 3, 24),
        (9, LIMIT, 300),
        # The machine was off: nobody knows how long the load took.
        (0, LIMIT + REPLACED_SECONDS + 1, 0),
        (1, 86_400, 4),
    ],
)
def test_the_pause_grows_with_what_the_deaths_have_cost(workers_before, took, expected_pause):
    journal = Journal("a", began_at=1000, ended={"a": FatalLoad(workers_before)} if workers_before else {})
    journal.note_death(1000 + took, limit_seconds=LIMIT)
    assert max(0, journal.ended["a"].retry_at - 1000 - took) == expected_pause
    assert journal.digest == ""


def die(path, times: int) -> None:
    for _ in range(times):
        subprocess.run([sys.executable, "-c", DIE, str(path)], cwd=ROOT, check=False)


def test_one_death_puts_no_load_off(tmp_path):
    die(tmp_path / "lock", 1)
    with LoadQueue(tmp_path / "lock", limit_seconds=LIMIT).turn("a"):
        pass


def test_load_that_ended_two_workers_is_deferred_alone(tmp_path):
    queue = LoadQueue(tmp_path / "lock", limit_seconds=LIMIT)
    die(tmp_path / "lock", 2)
    with pytest.raises(BrokenArtifact, match="has ended 2 workers.*retried in"), queue.turn("a"):
        pass
    with queue.turn("b"):
        pass
    with pytest.raises(BrokenArtifact, match="has ended 2 workers"), queue.turn("a"):
        pass


def test_load_that_ends_normally_is_forgotten(tmp_path):
    queue = LoadQueue(tmp_path / "lock", limit_seconds=LIMIT)
    die(tmp_path / "lock", 1)
    with pytest.raises(ZeroDivisionError), queue.turn("a"):
        raise ZeroDivisionError
    die(tmp_path / "lock", 1)
    with queue.turn("a"):
        pass


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"digest": "a"}', b'{"digest": 1, "began_at": "x", "ended": {}}']
)
def test_a_journal_that_cannot_be_read_is_empty(content, tmp_path):
    (tmp_path / "lock").write_bytes(content)
    with LoadQueue(tmp_path / "lock", limit_seconds=LIMIT).turn("a"):
        pass


@needs_mount
@pytest.mark.parametrize("fault", ["fill", "make_read_only"])
def test_full_disk_keeps_no_model_from_loading(fault, tmp_path):
    with small_disk(tmp_path / "small") as disk:
        getattr(disk, fault)()
        with LoadQueue(disk.path / "cache" / "lock", limit_seconds=LIMIT).turn("a"):
            pass


# Says when it is in, stays until its input ends, and says when it goes.
STAY = "print('in', flush=True); sys.stdin.read(); print('out', flush=True)"


def test_workers_load_one_after_the_other(tmp_path):
    path, said = tmp_path / "lock", tmp_path / "said"
    command = [sys.executable, "-c", DIE.replace("os._exit(1)", STAY), str(path)]
    with said.open("ab") as both:
        first, second = (
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=both, text=True) for _ in range(2)
        )
        eventually(lambda: all(has_open(path, worker.pid) for worker in (first, second)))
        eventually(lambda: "in" in said.read_text())
        first.stdin.close()
        second.stdin.close()
        assert (first.wait(20), second.wait(20)) == (0, 0)
    assert said.read_text().split() == ["in", "out", "in", "out"]
