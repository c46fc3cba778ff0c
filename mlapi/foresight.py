"""What an application and the worker that hosts it tell each other about a request before it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

# In the WSGI environment: a refusal was foreseen, and nothing else may take its time, for others wait behind it.
MUST_BE_REFUSED = "mlapi.must_be_refused"
# In the WSGI environment: the caller has left while it waited, and hears no answer.
CALLER_LEFT = "mlapi.caller_left"
# In the WSGI environment: when it came, by time.perf_counter(), where it has waited since.
CAME_AT = "mlapi.came_at"
# In the WSGI environment: the Finding about the request, which is not looked for again.
FINDING = "mlapi.finding"
# In the WSGI environment: the worker has taken a place for the request, and gives it back.
HAS_PLACE = "mlapi.has_place"


class Foresight(Enum):
    """What a request will take."""

    BRIEF = auto()
    """It is answered within a moment, and waits for nothing."""
    LONG = auto()
    """It may wait, and needs a place; its answer is small and comes whole."""
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a request's head says: whose it is, or why it is refused whatever its body says."""

    key: str = ""
    refusal: Exception | None = None
