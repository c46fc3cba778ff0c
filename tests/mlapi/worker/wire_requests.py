"""Requests of which some bytes are missing, and the settings of the service that answers them."""

from __future__ import annotations

import json

from tests.support.wire import request

THREADS = 4
MAX_IN_FLIGHT = 30
TOKEN = "a" * 40
LARGE = json.dumps({"instances": [[0, 0, 0, 0]] * 100_000}).encode()


def large(path: str = "/models/slow/predict", *lines: str) -> bytes:
    """Return a request for the slow model of which all but one byte of a large body is to come."""
    return request(path, *lines, body=b"{").replace(b"Content-Length: 1", b"Content-Length: 20000")
