"""Which workers of a server have something to serve: a few bytes of memory that all of them share.

A worker that replaces another leaves the connections to its siblings until it serves what they do. The memory is
anonymous, so that no disk and no file can keep a worker from it.
"""

from __future__ import annotations

import mmap
import time
from typing import TYPE_CHECKING

from models_registry.agent.periodic import PeriodicThread

if TYPE_CHECKING:
    # The server's master, which forks, must not load numpy.
    from models_registry.inference.runtime import Runtime, ServingSnapshot

# Workers are numbered in the order of their forks; more than that many never live at once.
SLOTS = 512
REPORT_SECONDS = 0.5
# A worker that stands still counts no longer.
FRESH_SECONDS = 3.0
# A slot is one aligned word, which is read whole: milliseconds since the machine's start, and the models it lacks.
_MISSING_BITS = 16
MAX_MISSING = (1 << _MISSING_BITS) - 1


class Siblings:
    """A slot for each worker of the server: when it last reported, and how many models it lacks."""

    def __init__(self) -> None:
        """Share the slots with every process that is forked from this one."""
        self._slots: memoryview[int] = memoryview(mmap.mmap(-1, SLOTS * 8)).cast("Q")
        self._own: int | None = None
        self._counted: ServingSnapshot | None = None
        self._missing = MAX_MISSING

    def join(self, number: int) -> None:
        """Take the slot of the worker with that `number`; until then this process has no siblings."""
        self._own = number % SLOTS
        self._slots[self._own] = 0

    def report(self, snapshot: ServingSnapshot) -> None:
        """Report what `snapshot` lacks; a worker that reports no more counts for FRESH_SECONDS."""
        # A snapshot never changes, and to count what it lacks takes longer the more models there are.
        if snapshot is not self._counted:
            self._counted, self._missing = snapshot, missing_of(snapshot)
        if self._own is not None:
            self._slots[self._own] = _milliseconds() << _MISSING_BITS | self._missing

    def leave(self) -> None:
        """Count no longer: this worker ends."""
        if self._own is not None:
            self._slots[self._own] = 0

    def fewest_missing(self) -> int | None:
        """Return how many models the best sibling lacks; None if no sibling lives."""
        oldest = _milliseconds() - int(FRESH_SECONDS * 1000)
        words: list[int] = self._slots.tolist()
        found = [
            word & MAX_MISSING
            for slot, word in enumerate(words)
            if word and slot != self._own and word >> _MISSING_BITS >= oldest
        ]
        return min(found) if found else None

    def may_accept(self, snapshot: ServingSnapshot) -> bool:
        """Return whether the worker with this `snapshot` may take connections now."""
        return may_accept(snapshot, None if self._own is None or snapshot.was_ready else self.fewest_missing())


def may_accept(snapshot: ServingSnapshot, fewest_missing: int | None) -> bool:
    """Return whether a worker may take connections where its best sibling lacks `fewest_missing` models.

    A worker that was ready once may always. Another one may unless a sibling serves more of what should serve: it
    would refuse what the sibling answers.
    """
    return snapshot.was_ready or fewest_missing is None or missing_of(snapshot) <= fewest_missing


def missing_of(snapshot: ServingSnapshot) -> int:
    """Return how many versions that should serve do not; MAX_MISSING if that is not known yet."""
    if not snapshot.has_read_desired_state:
        return MAX_MISSING
    # Without a candidate a worker would break the split that its siblings keep.
    return min(len(snapshot.missing()) + len(snapshot.awaited), MAX_MISSING)


class SiblingReport:
    """A thread that reports to the siblings, whatever else this worker is busy with."""

    def __init__(self, runtime: Runtime, siblings: Siblings) -> None:
        """Report on `runtime`."""
        self._runtime = runtime
        self._siblings = siblings
        self._thread = PeriodicThread("sibling_report", self._report, seconds=REPORT_SECONDS, is_eager=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and count no longer."""
        self._thread.stop()
        self._siblings.leave()

    def _report(self) -> None:
        self._siblings.report(self._runtime.snapshot)


class _Shared:
    siblings: Siblings | None = None


def shared() -> Siblings:
    """Return the slots that this process shares: call it in the server's master before it forks."""
    if _Shared.siblings is None:
        _Shared.siblings = Siblings()
    return _Shared.siblings


def _milliseconds() -> int:
    return time.monotonic_ns() // 1_000_000
