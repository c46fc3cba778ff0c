"""The versions that are to be loaded: in the queue, or being downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice

from models_registry import services
from models_registry.agent.downloads import ArtifactSource, Fetching
from models_registry.agent.failures import Failures
from models_registry.agent.loader import Preparation
from models_registry.inference.desired_version import DesiredVersion, VersionDetails
from models_registry.inference.routing import model_of
from models_registry.storage import VersionedStorage

# More downloads in parallel would split the bandwidth, and delay all of them.
FETCHED_AT_ONCE = 4
AT_ONCE = {ArtifactSource.DISK: 4, ArtifactSource.STORAGE: FETCHED_AT_ONCE, ArtifactSource.STORAGE_AGAIN: 1}


class PendingLoads:
    """Downloads artifacts to this machine, a bounded number at the same time, in queue order.

    `failures` has the failed versions, with the time of each retry. `details` returns the data to load a version, or
    None if it is not available now. `on_end` is called when a download has ended.
    """

    def __init__(
        self,
        preparation: Preparation,
        storage: VersionedStorage,
        failures: Failures,
        *,
        details: Callable[[DesiredVersion], VersionDetails | None],
        on_end: Callable[[], None],
    ) -> None:
        self._preparation = preparation
        self._storage = storage
        self._failures = failures
        self._read_details = details
        self._on_end = on_end
        # By `DesiredVersion.key`.
        self._waiting: dict[ArtifactSource, dict[str, None]] = {source: {} for source in ArtifactSource}
        self._fetches: dict[str, Fetching] = {}
        self._details: dict[str, VersionDetails] = {}

    def __iter__(self) -> Iterator[str]:
        """Yield the keys of the queued versions, then of the running downloads."""
        return chain(*self._waiting.values(), self._fetches)

    @property
    def under_way(self) -> Mapping[str, Fetching]:
        """The downloads whose versions are not loaded yet."""
        return self._fetches

    def queue(self, desired: DesiredVersion) -> None:
        """Queue a version, unless its download is running."""
        if desired.key in self._fetches:
            return
        if self._preparation.is_at_hand(desired.digest, desired.format):
            source = ArtifactSource.DISK
        else:
            source = ArtifactSource.STORAGE_AGAIN if desired.key in self._failures else ArtifactSource.STORAGE
        self._waiting[source][desired.key] = None

    def put_off(self, models: Iterable[str], desired: Mapping[str, DesiredVersion]) -> None:
        """Remove these models' versions from the queue; downloads of bytes that are still `desired` continue."""
        changed = set(models)
        for waiting in self._waiting.values():
            for key in [key for key in waiting if model_of(key) in changed]:
                del waiting[key]
        for key, fetching in list(self._fetches.items()):
            wanted = desired.get(key)
            if model_of(key) in changed and (wanted is None or wanted.build != fetching.build):
                fetching.let_go()
                self._end(key)

    def begin(self, find: Callable[[str], DesiredVersion | None]) -> list[DesiredVersion]:
        """Start downloads up to the limit, in queue order; return their versions."""
        begun = []
        for source, waiting in self._waiting.items():
            room = AT_ONCE[source] - sum(
                fetch.source == source and not fetch.has_failed for fetch in self._fetches.values()
            )
            for key in self._due(waiting):
                if room <= 0:
                    break
                desired = find(key)
                if desired is not None and self._begin(desired, source):
                    begun.append(desired)
                    room -= 1
        return begun

    def next_downloaded(self) -> str | None:
        """Return the key of the oldest download that has ended; None if none has."""
        return next((key for key, fetching in self._fetches.items() if fetching.has_ended), None)

    @contextmanager
    def taken(self, key: str) -> Iterator[tuple[Fetching, VersionDetails]]:
        """Yield a version's download and load data; afterwards the artifact is released and no longer pending."""
        try:
            with self._fetches[key] as fetching:
                yield fetching, self._details[key]
        finally:
            self._end(key)

    def let_go(self) -> None:
        """Release the artifacts, including those that arrive later."""
        for fetching in self._fetches.values():
            fetching.let_go()

    def _due(self, waiting: dict[str, None]) -> Iterator[str]:
        """Yield the versions to try now: a failed one again after a growing pause."""
        for key in list(islice(waiting, len(self._failures) + max(AT_ONCE.values()))):
            if self._failures.is_due(key):
                yield key

    def _begin(self, desired: DesiredVersion, source: ArtifactSource) -> bool:
        details = self._read_details(desired)
        if details is None:
            return False  # the version has just changed, or the database is unavailable: the next poll decides
        self._details[desired.key] = details
        self._fetches[desired.key] = Fetching(
            desired.build,
            lambda: self._preparation.fetch(desired, services.copier(self._storage, desired)),
            source=source,
            on_end=self._on_end,
        )
        del self._waiting[source][desired.key]
        return True

    def _end(self, key: str) -> None:
        del self._fetches[key], self._details[key]
