"""An artifact under way to this machine; one that is long in coming delays no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Self

from models_registry.artifacts.cache import CachedArtifact


class Fetching:
    """The fetch of one version's artifact, in a thread of its own.

    In a `with` it is what came, until it is let go.
    """

    def __init__(
        self,
        build: str,
        fetch: Callable[[], CachedArtifact],
        *,
        turns: threading.Semaphore | None,
        on_end: Callable[[], None],
    ) -> None:
        """Begin as soon as there is one of the `turns`, and call `on_end` when the artifact is here or cannot be had.

        The turn is kept until the artifact is let go: no more are fetched ahead of their load than there are turns.
        """
        self.build = build
        self.began_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._fetch = fetch
        self._turns = turns
        self._on_end = on_end
        self._guard = threading.Lock()
        self._has_turn = False
        self._is_let_go = False
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
        """Return the artifact, or raise what kept it from coming."""
        if self._error is not None:
            raise self._error
        if self._artifact is None:
            raise RuntimeError("The artifact is still under way.")
        return self._artifact

    def let_go(self) -> None:
        """Release what came, or comes yet, and the turn; harmless when repeated."""
        with self._guard:
            self._is_let_go = True
            if self._artifact is not None:
                self._artifact.release()
            self._give_turn_back()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self.let_go()

    def _run(self) -> None:
        if not self._take_turn():
            return
        try:
            self._keep(self._fetch())
        except Exception as error:  # noqa: BLE001 - raised again where the artifact is taken
            self._error = error
            self.let_go()
        self._on_end()

    def _take_turn(self) -> bool:
        """Wait for a turn; say whether the artifact is still wanted then."""
        if self._turns is None:
            return True
        self._turns.acquire()
        with self._guard:
            self._has_turn = True
            if self._is_let_go:
                self._give_turn_back()
        return self._has_turn

    def _give_turn_back(self) -> None:
        if self._turns is not None and self._has_turn:
            self._has_turn = False
            self._turns.release()

    def _keep(self, artifact: CachedArtifact) -> None:
        with self._guard:
            if self._is_let_go:
                artifact.release()
            else:
                self._artifact = artifact
