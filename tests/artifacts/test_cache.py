"""The artifact cache: whole, verified, shared, bounded."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from models_registry.artifacts.cache import ArtifactCache
from models_registry.errors import DigestMismatch, DiskUnavailable, StorageUnavailable
from tests.support.disks import needs_mount, small_disk
from tests.support.processes import has_open
from tests.support.waiting import eventually


def source(data: bytes, calls: list[int] | None = None):
    def copy(target):
        if calls is not None:
            calls.append(1)
        target.write(data)

    return copy


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def cache(tmp_path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", max_bytes=100)


def fetch(cache: ArtifactCache, data: bytes, **given):
    return cache.fetch(
        given.pop("copy", source(data)), suffix=".joblib", deadline_seconds=5, **({"digest": digest(data)} | given)
    )


def test_second_fetch_copies_nothing(cache):
    calls: list[int] = []
    first = fetch(cache, b"model", copy=source(b"model", calls))
    second = fetch(cache, b"model", copy=source(b"model", calls))
    assert len(calls) == 1
    assert first.path == second.path
    assert first.path.read_bytes() == b"model"


def test_unread_version_tells_its_digest(cache):
    assert fetch(cache, b"model", digest="").digest == digest(b"model")


def test_one_flipped_bit_in_the_storage_is_a_mismatch(cache):
    with pytest.raises(DigestMismatch, match="Publish the artifact again"):
        fetch(cache, b"model", copy=source(b"modem"))
    assert not list(cache.directory.glob("*.joblib"))


def test_one_flipped_bit_in_the_cache_is_fetched_anew(cache):
    held = fetch(cache, b"model")
    held.release()
    held.path.write_bytes(b"modem")
    assert fetch(cache, b"model").path.read_bytes() == b"model"


def test_what_is_in_use_is_not_evicted(cache):
    used = fetch(cache, b"u" * 80)
    unused = fetch(cache, b"v" * 60)
    unused.release()
    third = fetch(cache, b"w" * 50)
    assert used.path.exists()
    assert not unused.path.exists()
    assert third.path.exists()
    used.release()
    third.release()
    cache.evict()
    assert not used.path.exists()


def test_a_dead_process_holds_nothing(cache):
    code = (
        "import sys, time; from pathlib import Path; from models_registry.artifacts.cache import ArtifactCache\n"
        f"c = ArtifactCache(Path({str(cache.directory)!r}), max_bytes=100)\n"
        f"c.fetch(lambda t: t.write(b'd' * 80), suffix='.joblib', digest={digest(b'd' * 80)!r}, deadline_seconds=5)\n"
        "print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    path = cache.directory / f"{digest(b'd' * 80)}.joblib"
    fetch(cache, b"e" * 90).release()
    assert path.exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    fetch(cache, b"f" * 90).release()
    assert not path.exists()


def test_killed_in_a_download_leaves_nothing_that_is_served(cache):
    code = (
        "import time; from pathlib import Path; from models_registry.artifacts.cache import ArtifactCache\n"
        "def copy(t):\n  t.write(b'par'); t.flush(); print('half', flush=True); time.sleep(60)\n"
        f"c = ArtifactCache(Path({str(cache.directory)!r}), max_bytes=100)\n"
        f"c.fetch(copy, suffix='.joblib', digest={digest(b'partial')!r}, deadline_seconds=50)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    process.kill()
    process.wait()
    assert fetch(cache, b"partial").path.read_bytes() == b"partial"


def start_fetching(cache: ArtifactCache) -> subprocess.Popen[bytes]:
    code = (
        "import time; from pathlib import Path; from models_registry.artifacts.cache import ArtifactCache\n"
        "def copy(t):\n  t.write(b'par'); t.flush(); print('half', flush=True); time.sleep(60)\n"
        f"c = ArtifactCache(Path({str(cache.directory)!r}), max_bytes=100)\n"
        f"c.fetch(copy, suffix='.joblib', digest={digest(b'partial')!r}, deadline_seconds=50)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    return process


def test_killed_processes_partial_file_goes_living_ones_stays(cache):
    dead = start_fetching(cache)
    dead.kill()
    dead.wait()
    other = ArtifactCache(cache.directory.with_name("other"), max_bytes=100)
    living = start_fetching(other)
    for each in (cache, other):
        assert len(list(each.directory.glob(".fetching-*"))) == 1
        each.evict()
    assert not list(cache.directory.glob(".fetching-*"))
    assert [path.read_bytes() for path in other.directory.glob(".fetching-*")] == [b"par"]
    living.kill()
    living.wait()


def test_a_copy_that_nobody_waits_for_any_longer_ends(cache):
    ended = threading.Event()

    def endless(target):
        try:
            while not ended.wait(0.05):
                target.write(b"x")
        finally:
            ended.set()

    with pytest.raises(StorageUnavailable, match="within the deadline"):
        cache.fetch(endless, suffix=".joblib", digest=digest(b"model"), deadline_seconds=0.3)
    assert ended.wait(2)
    assert not list(cache.directory.glob(".fetching-*"))


def on_a_disk_of(size_bytes: int, cache: ArtifactCache, data: bytes, calls: list[int]):
    """Copy `data` as to a disk that takes no more than `size_bytes`."""

    def copy(target):
        calls.append(1)
        target.write(data[: len(data) // 2])
        target.flush()
        if sum(path.stat().st_size for path in cache.directory.iterdir()) + len(data) > size_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        target.write(data[len(data) // 2 :])

    return copy


@pytest.mark.parametrize("has_digest", [True, False], ids=["known", "unread"])
def test_full_disk_evicts_unused_files_for_the_artifact(cache, has_digest):
    used, unused = fetch(cache, b"u" * 20), fetch(cache, b"v" * 20)
    unused.release()
    calls: list[int] = []
    copy = on_a_disk_of(50, cache, b"w" * 20, calls)
    third = fetch(cache, b"w" * 20, copy=copy, **({} if has_digest else {"digest": ""}))
    assert third.path.read_bytes() == b"w" * 20
    assert (used.path.exists(), unused.path.exists(), len(calls)) == (True, False, 2)


def test_full_disk_without_evictable_files_fails_cleanly(cache):
    used = fetch(cache, b"u" * 40)
    calls: list[int] = []
    with pytest.raises(DiskUnavailable) as caught:
        fetch(cache, b"w" * 20, copy=on_a_disk_of(50, cache, b"w" * 20, calls))
    assert len(calls) == 2
    assert f"The disk of the cache {cache.directory} is full" in str(caught.value)
    assert "Free some space there, or set MODELS_CACHE to a directory on a larger disk." in str(caught.value)
    assert [path for path in cache.directory.iterdir() if path.suffix != ".lock"] == [used.path]


def test_disk_that_fills_during_a_copy_is_named(tmp_path):
    code = (
        "import resource; from pathlib import Path; from models_registry.artifacts.cache import ArtifactCache\n"
        "from models_registry.errors import DiskUnavailable\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"c = ArtifactCache(Path({str(tmp_path / 'cache')!r}), max_bytes=100)\n"
        "try:\n  c.fetch(lambda t: t.write(b'd' * 200_000), suffix='.joblib', digest='0' * 64, deadline_seconds=5)\n"
        "except DiskUnavailable as error:\n  print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"The cache {tmp_path / 'cache'} cannot be written to: File too large. It is retried.\n"


def test_the_cache_may_be_removed_at_any_time(cache):
    fetch(cache, b"model").release()
    shutil.rmtree(cache.directory)
    assert cache.digests() == set()
    cache.evict()
    assert fetch(cache, b"model").path.read_bytes() == b"model"
    shutil.rmtree(cache.directory)
    assert fetch(cache, b"other", digest="").path.read_bytes() == b"other"


def test_cache_removed_during_a_copy_fails_and_returns(cache):
    def removed(target):
        target.write(b"model")
        shutil.rmtree(cache.directory)

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(DiskUnavailable, match="No such file"):
        fetch(cache, b"model", copy=removed)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert fetch(cache, b"model").path.read_bytes() == b"model"


def test_two_processes_download_once(tmp_path):
    count, lock = tmp_path / "count", tmp_path / "cache" / f"{digest(b'model')}.lock"
    code = (
        "import sys; from pathlib import Path; from models_registry.artifacts.cache import ArtifactCache\n"
        f"def copy(t):\n  open({str(count)!r}, 'a').write('x'); sys.stdin.read(); t.write(b'model')\n"
        f"c = ArtifactCache(Path({str(tmp_path / 'cache')!r}), max_bytes=100)\n"
        f"print(c.fetch(copy, suffix='.joblib', digest={digest(b'model')!r}, deadline_seconds=20).path)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) for _ in range(3)]
    # One copies, the others wait for it.
    eventually(lambda: all(has_open(lock, process.pid) for process in processes), seconds=30)
    for process in processes:
        process.stdin.close()
    assert [process.wait(timeout=30) for process in processes] == [0, 0, 0]
    assert count.read_text() == "x"


def test_a_siblings_endless_download_ends_at_the_deadline(cache):
    code = (
        "import time; from pathlib import Path; from models_registry.artifacts.cache import ArtifactCache\n"
        "def copy(t):\n  print('started', flush=True); time.sleep(60)\n"
        f"c = ArtifactCache(Path({str(cache.directory)!r}), max_bytes=100)\n"
        f"c.fetch(copy, suffix='.joblib', digest={digest(b'model')!r}, deadline_seconds=50)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    with pytest.raises(StorageUnavailable, match="Another worker"):
        cache.fetch(source(b"model"), suffix=".joblib", digest=digest(b"model"), deadline_seconds=1)
    assert process.poll() is None, "the sibling still downloads"
    process.kill()
    process.wait()
    eventually(lambda: fetch(cache, b"model").path.exists())
    assert os.listdir(cache.directory)  # noqa: PTH208


def test_uncreatable_cache_is_reported_on_use(tmp_path: Path):
    (tmp_path / "file").write_text("")
    cache = ArtifactCache(tmp_path / "file" / "cache", max_bytes=1)
    with pytest.raises(DiskUnavailable, match="cannot be written to: Not a directory"):
        fetch(cache, b"model")


@pytest.mark.parametrize("blocked", ["a file in its place", "a full disk"])
def test_artifact_that_no_disk_keeps_stays_in_memory(tmp_path, blocked):
    cache = ArtifactCache(tmp_path / "cache", max_bytes=100)
    if blocked == "a file in its place":
        cache.directory.write_text("")
    copy = refused_by_the_disk(tmp_path, b"model")
    with fetch(cache, b"model", copy=copy, size_bytes=5, memory_bytes=5) as held:
        assert held.path.read_bytes() == b"model"
    assert not held.path.exists()
    with pytest.raises(DiskUnavailable):
        fetch(cache, b"model", copy=copy, size_bytes=5, memory_bytes=4)
    with pytest.raises(DigestMismatch):
        fetch(cache, b"model", copy=refused_by_the_disk(tmp_path, b"modem"), size_bytes=5, memory_bytes=5)


def refused_by_the_disk(directory: Path, data: bytes):
    """Return a copy of `data` that meets a full disk in `directory`, and none elsewhere."""

    def copy(target):
        if Path(f"/proc/self/fd/{target.fileno()}").readlink().is_relative_to(directory):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        target.write(data)

    return copy


@needs_mount
def test_a_read_only_disk_gives_what_it_holds(tmp_path):
    with small_disk(tmp_path / "small") as disk:
        cache = ArtifactCache(disk.path / "cache", max_bytes=100)
        fetch(cache, b"model").release()
        disk.make_read_only()
        calls: list[int] = []
        with fetch(cache, b"model", copy=source(b"model", calls)) as held:
            assert held.path.read_bytes() == b"model"
        assert not calls
