"""Answers and logs requests that are not acceptable HTTP and so have no route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mlapi.http.messages import send_reply
from mlapi.http.request import request_id_of
from mlapi.observability import logging
from mlapi.protocols.base import HttpError
from mlapi.protocols.native import error_reply

MAX_HEAD_BYTES = 65_536
MAX_HEADERS = 100
MAX_TARGET_BYTES = 8_190


def bad_request(message: str) -> HttpError:
    """Return the 400 for a request that is not acceptable HTTP."""
    return HttpError(400, "bad_request", message)


def head_too_large() -> HttpError:
    """Return the 431 for a long target, or for too many or too large headers."""
    return HttpError(
        431,
        "head_too_large",
        f"The head of the request is too large: at most {MAX_TARGET_BYTES} bytes of target, {MAX_HEADERS} headers and "
        f"{MAX_HEAD_BYTES} bytes in all are accepted.",
    )


def refuse_with(error: HttpError) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """Return an ASGI application that answers `error` and closes the connection."""

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        request_id = request_id_of(None)
        note_refusal(error, request_id)
        await send_reply(send, error_reply(error, request_id), closes=True)

    return refuse


def note_refusal(error: HttpError, request_id: str) -> None:
    """Write the refused request to the access log."""
    logging.write_line("request", {"id": request_id, "route": "", "status": error.status, "code": error.code})
