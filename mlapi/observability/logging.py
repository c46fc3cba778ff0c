"""Logs are events with fields: one line of JSON each, or readable text on a terminal."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from mlapi.observability.log_form import is_text

SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


access = structlog.get_logger("mlapi.access")


class _State:
    is_json = False
    loop: asyncio.AbstractEventLoop | None = None
    thread = 0
    is_scheduled = False
    gathered: deque[bytes] = deque()


def gather(loop: asyncio.AbstractEventLoop) -> None:
    """From now on, write the request lines of one round of `loop` with one system call.

    Each system call releases the interpreter lock, and the loop then waits to get it again.
    """
    _State.loop = loop
    _State.thread = threading.get_ident()
    atexit.register(flush)


def flush() -> None:
    """Write the buffered lines."""
    _State.is_scheduled = False
    gathered = _State.gathered
    if gathered:
        _write(b"".join([gathered.popleft() for _ in range(len(gathered))]))


def _write(left: bytes) -> None:
    # A closed log stream must not fail a prediction, and no other stream can report the error.
    with suppress(OSError):
        while left:
            left = left[os.write(2, left) :]


def write_line(event: str, fields: dict[str, Any]) -> None:
    """Write one request's log line.

    JSON lines bypass the standard library's loggers, which take 20 times as long: some predictions take less time than
    these loggers do.
    """
    if not _State.is_json:
        access.info(event, **fields)
        return
    now = datetime.now(UTC)
    line = {**fields, "event": event, "logger": "mlapi.access", "level": "info", "timestamp": now}
    written = orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
    loop = _State.loop
    if loop is None or threading.get_ident() != _State.thread or loop.is_closed():
        _write(written)
        return
    _State.gathered.append(written)
    if not _State.is_scheduled:
        _State.is_scheduled = True
        loop.call_soon(flush)


def _without_client_traceback(record: logging.LogRecord) -> bool:
    """Drop the traceback of a request that Django refuses: it shows no fault of the service and fills the log."""
    if record.name.startswith("django.security."):
        record.exc_info = None
    return True


def configure(form: str) -> None:
    """Send structlog's events and standard library records to standard error in one format (see `is_text`)."""
    as_text = is_text(form)
    _State.is_json = not as_text
    finish: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if as_text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    handler.addFilter(_without_client_traceback)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "axes"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Django logs every 4xx as a warning; the request line already has this information.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
