"""gunicorn's own log messages in the service's format. gunicorn's master imports this, so imports stay light."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

from gunicorn.glogging import Logger

from mlapi.observability.log_form import is_text


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON, with the same field names as the service's own events."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "event": record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class ServerLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's logger, for messages such as that a worker was killed."""

    def setup(self, cfg: Any) -> None:
        """Set the format that MLAPI_LOG_FORMAT names."""
        super().setup(cfg)
        if not is_text(os.environ.get("MLAPI_LOG_FORMAT") or "auto"):
            for handler in self.error_log.handlers:
                handler.setFormatter(JsonLines())
