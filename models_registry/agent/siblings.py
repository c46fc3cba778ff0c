"""Tells each worker of a server how many models its siblings lack, through shared memory.

A replacement worker leaves new connections to its siblings until it serves the same models. The memory is anonymous, so
no disk error can affect it.
"""

from __future__ import annotations

import mmap
import time
from typing import TYPE_CHECKING

from models_registry.agent.periodic import PeriodicThread

if TYPE_CHECKING:
    # The server's master, which forks, must not import numpy.
    from models_registry.inference.runtime import Runtime, ServingSnapshot

# Workers are numbered in the order of their forks, modulo this number, which exceeds the workers that run at once.
SLOTS = 512
REPORT_SECONDS = 0.5
# A worker that is blocked this long no longer counts.
FRESH_SECONDS = 3.0
# A slot is one aligned word, so reads are atomic: milliseconds since boot, and the number of missing models.
_MISSING_BITS = 16
MAX_MISSING = (1 << _MISSING_BITS) - 1


class Siblings:
    """A slot for each worker of the server: the time of its last report, and the number of missing models."""

    def __init__(self) -> None:
        """Share the slots with every process that is forked from this one."""
        self._slots: memoryview[int] = memoryview(mmap.mmap(-1, SLOTS * 8)).cast("Q")
        self._own: int | None = None
        # The last reported snapshot, with the number of its missing models.
        self._counted: tuple[ServingSnapshot | None, int] = (None, MAX_MISSING)

    def join(self, number: int) -> None:
        """Use the slot of the worker with that `number`; before this call the process has no siblings."""
        self._own = number % SLOTS
        self._slots[self._own] = 0

    def report(self, snapshot: ServingSnapshot) -> None:
        """Report the missing models of `snapshot`, from any thread; a report counts for FRESH_SECONDS."""
        counted, missing = self._counted
        # A snapshot never changes, and counting its missing models takes time with many models.
        if snapshot is not counted:
            missing = missing_of(snapshot)
            self._counted = (snapshot, missing)
        if self._own is not None:
            self._slots[self._own] = _milliseconds() << _MISSING_BITS | missing

    def leave(self) -> None:
        """Stop counting as a live worker: this worker ends."""
        if self._own is not None:
            self._slots[self._own] = 0

    def fewest_missing(self) -> int | None:
        """Return the smallest number of missing models among the siblings; None without a live sibling."""
        oldest = _milliseconds() - int(FRESH_SECONDS * 1000)
        words: list[int] = self._slots.tolist()
        found = [
            word & MAX_MISSING
            for slot, word in enumerate(words)
            if word and slot != self._own and word >> _MISSING_BITS >= oldest
        ]
        return min(found) if found else None

    def may_accept(self, snapshot: ServingSnapshot) -> bool:
        """Return whether the worker with this `snapshot` may accept connections now."""
        return may_accept(snapshot, None if self._own is None or snapshot.was_ready else self.fewest_missing())


def may_accept(snapshot: ServingSnapshot, fewest_missing: int | None) -> bool:
    """Return whether a worker may accept while its best sibling has `fewest_missing` missing models.

    A worker that was ready once always may. Another worker may not if a sibling lacks fewer models: it would refuse
    requests that the sibling can answer.
    """
    return snapshot.was_ready or fewest_missing is None or missing_of(snapshot) <= fewest_missing


def missing_of(snapshot: ServingSnapshot) -> int:
    """Return the number of desired versions that are not served; MAX_MISSING if unknown."""
    if not snapshot.has_read_desired_state:
        return MAX_MISSING
    # Without a candidate, a worker would violate the traffic split of its siblings.
    return min(len(snapshot.missing()) + len(snapshot.awaited), MAX_MISSING)


class SiblingReport:
    """A thread that reports to the siblings, even while the worker is busy."""

    def __init__(self, runtime: Runtime, siblings: Siblings) -> None:
        """Report on `runtime`."""
        self._runtime = runtime
        self._siblings = siblings
        self._thread = PeriodicThread("sibling_report", self._report, seconds=REPORT_SECONDS, is_eager=True)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and no longer count as live."""
        self._thread.stop()
        self._siblings.leave()

    def _report(self) -> None:
        self._siblings.report(self._runtime.snapshot)


class _Shared:
    siblings: Siblings | None = None


def shared() -> Siblings:
    """Return the slots of this process; call it in the server's master before the forks."""
    if _Shared.siblings is None:
        _Shared.siblings = Siblings()
    return _Shared.siblings


def _milliseconds() -> int:
    return time.monotonic_ns() // 1_000_000
