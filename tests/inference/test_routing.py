"""The split of the traffic: which key gets which version."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from models_registry.inference.routing import TrafficSplit

SPLIT = TrafficSplit(model="m", candidate=2, percent=20, salt="1:2")
KEYS = [f"customer-{number}" for number in range(5000)]


def taken(split: TrafficSplit) -> set[str]:
    return {key for key in KEYS if split.takes(key)}


@pytest.mark.parametrize("percent", [0.5, 20, 50, 99.5])
def test_the_candidate_gets_its_share_of_the_keys(percent):
    expected = len(KEYS) * percent / 100
    deviation = (expected * (1 - percent / 100)) ** 0.5
    assert abs(len(taken(replace(SPLIT, percent=percent))) - expected) < 4 * deviation


def test_nothing_and_all_are_exact():
    assert taken(replace(SPLIT, percent=0)) == set()
    assert taken(replace(SPLIT, percent=100)) == set(KEYS)


def test_a_larger_share_keeps_the_keys_of_the_smaller():
    assert taken(SPLIT) < taken(replace(SPLIT, percent=30))


@pytest.mark.parametrize("other", [{"model": "n"}, {"salt": "2:2"}])
def test_another_split_tries_other_keys(other):
    first, second = taken(SPLIT), taken(replace(SPLIT, **other))
    assert 0.1 < len(first & second) / len(first) < 0.3


def test_every_process_decides_alike():
    told = (
        "from models_registry.inference.routing import TrafficSplit; "
        "print(''.join('01'[TrafficSplit('m', 2, 20, '1:2').takes(f'customer-{n}')] for n in range(100)))"
    )
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "".join("01"[SPLIT.takes(key)] for key in KEYS[:100])
