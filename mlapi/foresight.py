"""What an application and the worker that hosts it tell each other about a request before it is answered."""

from __future__ import annotations

from enum import Enum, auto

# In the WSGI environment: a refusal was foreseen, and nothing else may take its time, for others wait behind it.
MUST_BE_REFUSED = "mlapi.must_be_refused"


class Foresight(Enum):
    """What a request will take."""

    BRIEF = auto()
    """It is answered within a moment, and waits for nothing."""
    REFUSED = auto()
    """It is refused within a moment: there is no room for it."""
    LONG = auto()
    """It may wait; its answer is small and comes whole."""
    UNKNOWN = auto()
