"""How often a key may be used, counted by the workers of a machine together."""

from __future__ import annotations

import shutil
import threading
from types import SimpleNamespace

import pytest

from models_registry.inference import rates
from models_registry.inference.rates import SharedBucket
from tests.support.disks import needs_mount, small_disk


def test_two_workers_share_one_bucket_and_it_refills(tmp_path, monkeypatch):
    first, second = (SharedBucket(tmp_path / "key", per_minute=600) for _ in range(2))
    now, granted = [1000.0], []
    monkeypatch.setattr(rates, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def ask(bucket):
        granted.extend([bucket.take() == 0 for _ in range(700)])

    threads = [threading.Thread(target=ask, args=(bucket,)) for bucket in (first, second)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sum(granted) == 600
    wait = first.take()
    assert wait == pytest.approx(0.1)
    now[0] += wait / 2
    assert second.take() == pytest.approx(wait / 2)
    now[0] += wait
    assert second.take() == 0


def granted(bucket: SharedBucket, asked: int = 5) -> int:
    return sum(bucket.take() == 0 for _ in range(asked))


def test_bucket_without_a_directory_is_kept_in_memory(tmp_path):
    (tmp_path / "rates").write_text("")
    bucket = SharedBucket(tmp_path / "rates" / "key", per_minute=3)
    assert granted(bucket) == 3


@needs_mount
def test_bucket_on_a_full_disk_continues_in_memory(tmp_path):
    with small_disk(tmp_path / "small") as disk:
        used = SharedBucket(disk.path / "used", per_minute=5)
        assert granted(used, 2) == 2
        disk.fill()
        assert granted(used) == 3, "what was taken before counts"
        assert granted(SharedBucket(disk.path / "new", per_minute=3)) == 3


@needs_mount
def test_bucket_on_a_read_only_disk_is_in_memory(tmp_path):
    with small_disk(tmp_path / "small") as disk:
        disk.make_read_only()
        assert granted(SharedBucket(disk.path / "new", per_minute=3)) == 3


def test_workers_count_together_again_when_the_directory_is_back(tmp_path):
    first, second = (SharedBucket(tmp_path / "rates" / "key", per_minute=4) for _ in range(2))
    assert granted(first, 1) == 1
    shutil.rmtree(tmp_path / "rates")
    assert granted(first, 1) == 1
    assert granted(second) == 3
