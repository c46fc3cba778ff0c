"""Which versions the calls of each worker are in: a few bytes that outlive a worker.

A call that crashes its process, or never returns, is counted by no code of that process. The server's master reads here
what the worker was doing when it ended.
"""

from __future__ import annotations

import mmap
import threading

# The kind of error of a call whose worker ended before it did.
WORKER_LOST = "worker_lost"
# Workers are numbered in the order of their forks; more than that many never live at once.
WORKERS = 512
# Threads of a worker that call models at once; what is beyond is not marked.
CALLS = 128


class CallBoard:
    """For each worker, the id of the version that each of its threads calls; 0 if a thread calls none."""

    def __init__(self) -> None:
        """Share the words with every process that is forked from this one."""
        # Pages that no worker touches take no memory.
        self._words: memoryview[int] = memoryview(mmap.mmap(-1, WORKERS * CALLS * 8)).cast("Q")
        self._first: int | None = None
        self._places: dict[int, int] = {}
        self._guard = threading.Lock()

    def join(self, number: int) -> None:
        """Take the place of the worker with that `number`; until then nothing is marked."""
        self.take(number)
        self._first, self._places = number % WORKERS * CALLS, {}

    def mark(self, thread: int, version_id: int) -> None:
        """Note that `thread` calls a version, or with 0 that its call has ended."""
        if self._first is None:
            return
        place = self._places.get(thread) or self._place_of(thread)
        if place is not None:
            self._words[place] = version_id

    def _place_of(self, thread: int) -> int | None:
        with self._guard:
            # The first word of a worker stays free, so that no place is 0.
            if self._first is not None and len(self._places) < CALLS - 1:
                self._places[thread] = self._first + 1 + len(self._places)
        return self._places.get(thread)

    def take(self, number: int) -> list[int]:
        """Return the versions that the calls of a worker are in, and forget them: for one that has ended."""
        first = number % WORKERS * CALLS
        found = [word for word in self._words[first : first + CALLS].tolist() if word]
        for place in range(first, first + CALLS):
            self._words[place] = 0
        return found


class _Shared:
    board: CallBoard | None = None


def shared() -> CallBoard:
    """Return the board that this process shares: call it in the server's master before it forks."""
    if _Shared.board is None:
        _Shared.board = CallBoard()
    return _Shared.board
