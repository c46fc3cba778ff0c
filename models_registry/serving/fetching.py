"""An artifact under way to this machine; one that is long in coming delays no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from models_registry.artifacts.cache import CachedArtifact


class Fetching:
    """The fetch of one version's artifact, in a thread of its own."""

    def __init__(
        self,
        version_id: int,
        fetch: Callable[[], CachedArtifact],
        *,
        turn: AbstractContextManager[object],
        on_end: Callable[[], None],
    ) -> None:
        """Begin as soon as `turn` is given, and call `on_end` when the artifact is here or cannot be had."""
        self.version_id = version_id
        self.began_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._fetch = fetch
        self._turn = turn
        self._on_end = on_end
        self._guard = threading.Lock()
        self._is_abandoned = False
        self._artifact: CachedArtifact | None = None
        self._error: Exception | None = None
        # A daemon: a process that ends waits for no storage.
        threading.Thread(target=self._run, name="fetching", daemon=True).start()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    @property
    def has_ended(self) -> bool:
        """Whether `take` has an answer."""
        return self._artifact is not None or self._error is not None

    def take(self) -> CachedArtifact:
        """Return the artifact, which is the caller's to release, or raise what kept it from coming."""
        if self._error is not None:
            raise self._error
        if self._artifact is None:
            raise RuntimeError("The artifact is still under way.")
        return self._artifact

    def abandon(self) -> None:
        """Let go of what came, or comes yet: nobody wants it any more."""
        with self._guard:
            self._is_abandoned = True
            if self._artifact is not None:
                self._artifact.release()

    def _run(self) -> None:
        with self._turn:
            if self._is_abandoned:
                return
            try:
                artifact = self._fetch()
            except Exception as error:  # noqa: BLE001 - raised again where the artifact is taken
                self._error = error
            else:
                self._keep(artifact)
        self._on_end()

    def _keep(self, artifact: CachedArtifact) -> None:
        with self._guard:
            if self._is_abandoned:
                artifact.release()
            else:
                self._artifact = artifact
