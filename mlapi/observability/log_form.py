"""Chooses the log format: JSON for machines, or text for a terminal."""

from __future__ import annotations

import sys


def is_text(form: str) -> bool:
    """Return whether the log is text.

    `form` is `json`, `text`, or `auto`: text if standard error is a terminal.
    """
    return form == "text" or (form == "auto" and sys.stderr.isatty())
