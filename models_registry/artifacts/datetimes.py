"""Converts times between ISO 8601, as in requests and samples, and `datetime64[ns]`, as models take them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np

# A date, optionally a time after "T" or a space, a fraction and an offset; datetime.fromisoformat accepts more.
ISO_8601 = re.compile(
    r"(?P<date>[0-9]{4}-?[0-9]{2}-?[0-9]{2}|[0-9]{4}-?W[0-9]{2}-?[1-7])"
    r"(?:[T ](?P<time>[0-9]{2}(?::?[0-9]{2}){0,2})(?:[.,](?P<fraction>[0-9]{1,30}))?"
    r"(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?",
    re.IGNORECASE,
)
EPOCH = datetime(1970, 1, 1)
NANOSECOND_DIGITS = 9
# The lowest int64 is NaT, "not a time".
LARGEST_NANOSECONDS = 2**63 - 1


def parse_datetime(text: str) -> np.datetime64 | None:
    """Return the time in `text` as `datetime64[ns]`, in UTC if it has an offset; None if it is not a valid time.

    Times that `datetime64[ns]` cannot hold exactly are invalid: before 1677-09-21, after 2262-04-11, or with a part of
    a nanosecond.
    """
    found = ISO_8601.fullmatch(text)
    if found is None:
        return None
    whole = found["date"].upper()
    if found["time"]:
        whole += f"T{found['time']}{(found['zone'] or '').upper()}"
    fraction = (found["fraction"] or "").rstrip("0")
    # Only fractions of seconds are accepted; ISO 8601 also allows fractions of minutes.
    if len(fraction) > NANOSECOND_DIGITS or (fraction and len(found["time"].replace(":", "")) != len("HHMMSS")):
        return None
    try:
        moment = datetime.fromisoformat(whole)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    seconds = (moment - EPOCH) // timedelta(seconds=1)
    nanoseconds = seconds * 10**NANOSECOND_DIGITS + int(fraction.ljust(NANOSECOND_DIGITS, "0") or 0)
    return np.datetime64(nanoseconds, "ns") if abs(nanoseconds) <= LARGEST_NANOSECONDS else None


def format_datetime(moment: np.datetime64) -> str:
    """Return a time in ISO 8601, with a fraction only if it has one."""
    seconds = moment.astype("datetime64[s]")
    return str(seconds if seconds == moment else moment.astype("datetime64[ns]"))
