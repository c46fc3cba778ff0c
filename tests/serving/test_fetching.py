"""An artifact under way: what it comes to, whoever still wants it."""

from __future__ import annotations

import threading

import pytest

from models_registry.artifacts.cache import ArtifactCache, CachedArtifact
from models_registry.errors import StorageUnavailable
from models_registry.serving.fetching import Fetching
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


def begun(fetch, turn=None, on_end=lambda: None) -> Fetching:
    return Fetching(1, fetch, turn=turn or threading.Semaphore(), on_end=on_end)


def test_what_comes_is_the_takers_to_release(cache, held):
    ended = threading.Event()
    fetching = begun(held, on_end=ended.set)
    assert not fetching.has_ended
    held.goes_on.set()
    assert ended.wait(20)
    assert fetching.has_ended
    assert not is_let_go(cache)
    with fetching.take() as artifact:
        assert artifact.path.read_bytes() == b"bytes"
    assert is_let_go(cache)


def test_what_keeps_it_from_coming_is_raised_where_it_is_taken():
    def refused() -> CachedArtifact:
        raise StorageUnavailable("nobody answers")

    ended = threading.Event()
    fetching = begun(refused, on_end=ended.set)
    assert ended.wait(20)
    with pytest.raises(StorageUnavailable, match="nobody answers"):
        fetching.take()


def test_what_nobody_wants_any_more_is_let_go_when_it_comes(cache, held):
    ended = threading.Event()
    fetching = begun(held, on_end=ended.set)
    assert held.begun.wait(20)
    fetching.abandon()
    held.goes_on.set()
    assert ended.wait(20)
    assert is_let_go(cache)


def test_what_has_come_is_let_go_when_nobody_wants_it_any_more(cache, held):
    fetching = begun(held)
    held.goes_on.set()
    eventually(lambda: fetching.has_ended)
    fetching.abandon()
    assert is_let_go(cache)


def test_who_waits_for_a_turn_and_is_abandoned_fetches_nothing(cache, held):
    turns = threading.Semaphore(1)
    other = Held(cache)
    begun(held, turns)
    assert held.begun.wait(20)
    second = begun(other, turns)
    assert not other.begun.wait(0.2)
    second.abandon()
    held.goes_on.set()
    assert turns.acquire(timeout=20)
    turns.release()
    third = Held(cache)
    begun(third, turns)
    assert third.begun.wait(20)
    assert not other.begun.is_set()
    third.goes_on.set()
