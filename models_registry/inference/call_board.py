"""Records in shared memory which versions each worker is calling; the record outlives the worker.

If a call crashes or hangs its process, that process cannot count it. So the server's master reads here which versions
an ended worker was calling.
"""

from __future__ import annotations

import mmap
import threading

# The kind of error of a call whose worker ended first.
WORKER_LOST = "worker_lost"
# Workers are numbered in the order of their forks, modulo this number, which exceeds the workers that run at once.
WORKERS = 512
# Threads of a worker that call models at the same time; further threads are not recorded.
CALLS = 128


class CallBoard:
    """For each worker, the id of the version that each of its threads calls; 0 for none."""

    def __init__(self) -> None:
        """Share the memory with every process that is forked from this one."""
        # Unused pages take no memory.
        self._words: memoryview[int] = memoryview(mmap.mmap(-1, WORKERS * CALLS * 8)).cast("Q")
        self._first: int | None = None
        self._places: dict[int, int] = {}
        self._guard = threading.Lock()

    def join(self, number: int) -> None:
        """Record calls as the worker with that `number`; before this call nothing is recorded."""
        self.take(number)
        self._first, self._places = number % WORKERS * CALLS, {}

    def mark(self, thread: int, version_id: int) -> None:
        """Record that `thread` calls a version, or with 0 that its call has ended."""
        if self._first is None:
            return
        place = self._places.get(thread) or self._place_of(thread)
        if place is not None:
            self._words[place] = version_id

    def _place_of(self, thread: int) -> int | None:
        with self._guard:
            # A worker's first word stays unused, so that no position is 0.
            if self._first is not None and len(self._places) < CALLS - 1:
                self._places[thread] = self._first + 1 + len(self._places)
        return self._places.get(thread)

    def take(self, number: int) -> list[int]:
        """Return and clear the versions that an ended worker was calling."""
        first = number % WORKERS * CALLS
        found = [word for word in self._words[first : first + CALLS].tolist() if word]
        for place in range(first, first + CALLS):
            self._words[place] = 0
        return found


class _Shared:
    board: CallBoard | None = None


def shared() -> CallBoard:
    """Return the board of this process; call it in the server's master before the forks."""
    if _Shared.board is None:
        _Shared.board = CallBoard()
    return _Shared.board
