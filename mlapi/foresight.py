"""What an application and the worker that hosts it tell each other about a request before it is answered."""

from __future__ import annotations

from enum import Enum, auto

# In the WSGI environment: a refusal was foreseen, and nothing else may take its time, for others wait behind it.
MUST_BE_REFUSED = "mlapi.must_be_refused"
# In the WSGI environment: when it came, by time.perf_counter(), where it has waited since.
CAME_AT = "mlapi.came_at"


class Foresight(Enum):
    """What a request will take."""

    BRIEF = auto()
    """It is answered within a moment, and waits for nothing."""
    LONG = auto()
    """It may wait; its answer is small and comes whole."""
    FULL = auto()
    """It is LONG, and there is no room for it now."""
    UNKNOWN = auto()
