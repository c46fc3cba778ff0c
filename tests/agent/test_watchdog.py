"""A worker in which nothing runs any more ends, whatever holds the interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.databases import ROOT

HELD = """
import ctypes, sys, threading, time
from models_registry.inference.model_calls import under_way
from models_registry.agent.watchdog import Watchdog

def hold():
    # PyDLL keeps the interpreter lock, as a long regular expression does, and costs no processor time.
    ctypes.PyDLL(None).sleep(600)

watchdog = Watchdog(limit_seconds=1)
watchdog.start()
print("ready", flush=True)
{body}
"""
# Each process ends by itself or lives until it is told to end. They need real seconds: the alarm that ends a worker is
# a timer in C, which no test can set.
CASES = {
    "a prediction that holds the interpreter": ("with under_way(): hold()", True),
    "a load that holds the interpreter": ("hold()", True),
    "a load in a thread of its own": ("threading.Thread(target=hold).start(); time.sleep(600)", True),
    "a later one beside one that waits": (
        "began = threading.Event()\n"
        "def first():\n"
        "    with under_way(): began.set(); time.sleep(600)\n"
        "threading.Thread(target=first, daemon=True).start()\n"
        "began.wait()\n"
        "with under_way(): hold()",
        True,
    ),
    "a prediction that waits for ever": ("with under_way(): time.sleep(600)", True),
    "many predictions that end in time": (
        "for _ in range(50):\n    with under_way(): time.sleep(0.1)\nprint('alive')",
        False,
    ),
    "a load within its allowance": (
        "with under_way(allowance_seconds=600): time.sleep(5)\nprint('alive')",
        False,
    ),
    "a watchdog that was stopped": ("watchdog.stop(); time.sleep(6); print('alive')", False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_worker_that_stands_still_ends_and_no_other(case):
    body, ends = CASES[case]
    process = subprocess.Popen(
        [sys.executable, "-c", HELD.format(body=body)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert ("alive" in out) is not ends, err
    # 3 and 4 would have the server's master end the service.
    assert process.returncode in ({1, -15} if ends else {0}), err


def test_the_alarm_says_where_the_worker_stood_still():
    code = HELD.format(body="with under_way(): hold()")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "in hold" in done.stderr
