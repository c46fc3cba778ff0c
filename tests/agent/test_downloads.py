"""Running downloads: their results, and which versions still need them."""

from __future__ import annotations

import threading

import pytest

from models_registry.agent.downloads import ArtifactSource, Fetching
from models_registry.artifacts.cache import ArtifactCache, CachedArtifact
from models_registry.errors import StorageUnavailable
from tests.support.waiting import eventually


class Held:
    """A fetch into a cache that goes on when it is let."""

    def __init__(self, cache: ArtifactCache) -> None:
        self.begun = threading.Event()
        self.goes_on = threading.Event()
        self._cache = cache

    def __call__(self) -> CachedArtifact:
        self.begun.set()
        assert self.goes_on.wait(20)
        return self._cache.fetch(lambda target: target.write(b"bytes"), suffix=".joblib", deadline_seconds=20)


@pytest.fixture
def cache(tmp_path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", max_bytes=0)


@pytest.fixture
def held(cache) -> Held:
    return Held(cache)


def is_let_go(cache: ArtifactCache) -> bool:
    cache.evict()
    return not cache.digests()


def begun(fetch, on_end=lambda: None) -> Fetching:
    return Fetching("1", fetch, source=ArtifactSource.STORAGE, on_end=on_end)


def refused() -> CachedArtifact:
    raise StorageUnavailable("nobody answers")


def test_what_comes_is_kept_until_it_is_let_go(cache, held):
    ended = threading.Event()
    fetching = begun(held, on_end=ended.set)
    assert not fetching.has_ended
    held.goes_on.set()
    assert ended.wait(20)
    assert fetching.has_ended
    assert not is_let_go(cache)
    with fetching:
        assert fetching.take().path.read_bytes() == b"bytes"
        assert not is_let_go(cache)
    assert is_let_go(cache)


def test_failed_download_raises_where_it_is_taken():
    ended = threading.Event()
    fetching = begun(refused, on_end=ended.set)
    assert ended.wait(20)
    assert fetching.has_failed
    with pytest.raises(StorageUnavailable, match="nobody answers"):
        fetching.take()


def test_unwanted_download_is_removed_on_arrival(cache, held):
    ended = threading.Event()
    fetching = begun(held, on_end=ended.set)
    assert held.begun.wait(20)
    fetching.let_go()
    held.goes_on.set()
    assert ended.wait(20)
    assert is_let_go(cache)


def test_finished_download_is_removed_once_unwanted(cache, held):
    fetching = begun(held)
    held.goes_on.set()
    eventually(lambda: fetching.has_ended)
    fetching.let_go()
    assert is_let_go(cache)
