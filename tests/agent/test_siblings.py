"""Only workers that serve what their siblings serve accept connections."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import pytest

from models_registry.agent.siblings import MAX_MISSING, SiblingReport, Siblings, may_accept
from models_registry.inference.runtime import Runtime, ServingSnapshot
from tests.support.databases import ROOT
from tests.support.waiting import eventually

EMPTY = ServingSnapshot()
NOTHING_DESIRED = ServingSnapshot(has_read_desired_state=True)
ONE_MISSING = ServingSnapshot(desired={"m": 1}, has_read_desired_state=True)
TWO_MISSING = ServingSnapshot(desired={"m": 1, "n": 1}, has_read_desired_state=True)
ONCE_READY = ServingSnapshot(desired={"m": 1}, has_read_desired_state=True, was_ready=True)


@pytest.mark.parametrize(
    ("snapshot", "fewest_missing", "expected"),
    [
        (EMPTY, None, True),
        (ONE_MISSING, None, True),
        (EMPTY, 0, False),
        (ONE_MISSING, 0, False),
        (TWO_MISSING, 1, False),
        (ONE_MISSING, 1, True),
        (ONE_MISSING, 2, True),
        (NOTHING_DESIRED, 0, True),
        # Missing everywhere: somebody has to say so.
        (EMPTY, MAX_MISSING, True),
        (ONE_MISSING, MAX_MISSING, True),
        # A new model that fails here takes no serving worker away.
        (ONCE_READY, 0, True),
    ],
)
def test_worker_with_fewer_models_than_sibling_takes_no_connection(snapshot, fewest_missing, expected):
    assert may_accept(snapshot, fewest_missing) is expected


@pytest.fixture
def pair() -> tuple[Siblings, Siblings]:
    """Return the slots as two workers of one server see them."""
    first = Siblings()
    second = copy.copy(first)
    first.join(1)
    second.join(2)
    return first, second


def test_replaced_worker_waits_until_it_matches_its_sibling(pair):
    first, second = pair
    first.report(ServingSnapshot(has_read_desired_state=True, was_ready=True))
    assert not second.may_accept(ONE_MISSING)
    assert second.may_accept(NOTHING_DESIRED)
    first.leave()
    assert second.may_accept(ONE_MISSING)


def test_a_sibling_that_stands_still_counts_no_longer(pair, monkeypatch):
    first, second = pair
    first.report(NOTHING_DESIRED)
    assert not second.may_accept(ONE_MISSING)
    monkeypatch.setattr("models_registry.agent.siblings.FRESH_SECONDS", -1.0)
    assert second.may_accept(ONE_MISSING)


def test_a_process_without_siblings_accepts():
    assert Siblings().may_accept(ONE_MISSING)


FORKED = """
import os
from models_registry.inference.runtime import ServingSnapshot
from models_registry.agent.siblings import shared

siblings = shared()
child = os.fork()
if not child:
    siblings.join(1)
    siblings.report(ServingSnapshot(has_read_desired_state=True))
    os._exit(0)
os.waitpid(child, 0)
siblings.join(2)
print(siblings.fewest_missing())
"""


def test_a_worker_sees_what_another_process_reported():
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_the_master_loads_no_numeric_library_for_it():
    code = "import sys; import models_registry.agent.siblings; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, env=os.environ).returncode == 0


def test_report_follows_the_board_and_ends_with_worker(pair):
    first, second = pair
    runtime = Runtime()
    report = SiblingReport(runtime, first)
    report.start()
    eventually(lambda: second.fewest_missing() == MAX_MISSING)
    runtime.post(has_read_desired_state=True)
    eventually(lambda: second.fewest_missing() == 0)
    report.stop()
    assert second.fewest_missing() is None
