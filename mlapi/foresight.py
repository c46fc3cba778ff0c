"""What an application and the worker that hosts it tell each other about a request before it is answered."""

from __future__ import annotations

from enum import Enum, auto

# In the WSGI environment: the answer must take no longer than was foreseen, for others wait behind it.
MUST_BE_BRIEF = "mlapi.must_be_brief"


class Foresight(Enum):
    """What a request will take."""

    BRIEF = auto()
    """It is answered within a moment, and waits for nothing."""
    LONG = auto()
    """It may wait; its answer is small and comes whole."""
    UNKNOWN = auto()
