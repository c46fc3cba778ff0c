"""Downloads of artifacts to this machine; a slow one does not delay the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Self

from models_registry.artifacts.cache import CachedArtifact


class ArtifactSource(Enum):
    """The source of an artifact: each has a limit on downloads that are running or wait for their load."""

    DISK = "disk"
    STORAGE = "storage"
    # After a failed download: parallel downloads over a slow line could all miss their deadline.
    STORAGE_AGAIN = "storage again"


class Fetching:
    """The download of one version's artifact, in its own thread.

    In a `with` block its value is the artifact, which is released at the end.
    """

    def __init__(
        self, build: str, fetch: Callable[[], CachedArtifact], *, source: ArtifactSource, on_end: Callable[[], None]
    ) -> None:
        """Start, and call `on_end` when the download has succeeded or failed."""
        self.build = build
        self.source = source
        self.began_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._fetch = fetch
        self._on_end = on_end
        self._guard = threading.Lock()
        self._is_let_go = False
        self._artifact: CachedArtifact | None = None
        self._error: Exception | None = None
        # A daemon thread, so that the process can end without waiting for the storage.
        threading.Thread(target=self._run, name="fetching", daemon=True).start()

    @property
    def seconds(self) -> float:
        """The seconds since the download began."""
        return time.monotonic() - self._began

    @property
    def has_ended(self) -> bool:
        """Whether `take` returns or raises at once."""
        return self._artifact is not None or self._error is not None

    @property
    def has_failed(self) -> bool:
        """Whether the download failed."""
        return self._error is not None

    def take(self) -> CachedArtifact:
        """Return the artifact, or raise the download's error."""
        if self._error is not None:
            raise self._error
        if self._artifact is None:
            raise RuntimeError("The download has not ended.")
        return self._artifact

    def let_go(self) -> None:
        """Release the artifact, now or when its download ends; a second call does nothing."""
        with self._guard:
            self._is_let_go = True
            if self._artifact is not None:
                self._artifact.release()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the artifact."""
        self.let_go()

    def _run(self) -> None:
        try:
            self._keep(self._fetch())
        except Exception as error:  # noqa: BLE001 - raised again where the artifact is taken
            self._error = error
        self._on_end()

    def _keep(self, artifact: CachedArtifact) -> None:
        with self._guard:
            if self._is_let_go:
                artifact.release()
            else:
                self._artifact = artifact
