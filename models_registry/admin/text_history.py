"""The revisions of a model card or of notes: each text, its author, its time and its changes."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest

from models_registry.services.texts import Revision

REVISIONS_SHOWN = 50
# The comparison of long texts with many equal lines takes seconds.
MAX_COMPARED_LINES = 1000
SIGNS = {"+": "added", "-": "removed", "@": "position"}

Revisions = Callable[..., list[Revision]]


def history_context(request: HttpRequest, revisions_of: Revisions, owner: Any) -> dict[str, Any]:
    """Return the revisions of one page, and the one that the query names, else the newest of the page."""
    before = _number(request.GET.get("before"))
    asked = _number(request.GET.get("revision"))
    rows = revisions_of(owner, before=before, limit=REVISIONS_SHOWN + 1)
    newest = revisions_of(owner, limit=1)
    pair = rows[:2] if asked is None else revisions_of(owner, before=asked + 1, limit=2)
    shown = pair[0] if pair and asked in (None, pair[0].number) else None
    earlier = pair[1].text if len(pair) > 1 else ""
    return {
        "revisions": rows[:REVISIONS_SHOWN],
        "next_before": rows[REVISIONS_SHOWN - 1].number if len(rows) > REVISIONS_SHOWN else None,
        "before": before,
        "present_number": newest[0].number if newest else None,
        "asked": asked,
        "shown": shown,
        "changes": changed_lines(earlier, shown.text) if shown else [],
    }


def restore_text(
    request: HttpRequest, revisions_of: Revisions, owner: Any, store: Callable[[str], bool], subject: str
) -> bool:
    """Restore the text of the posted revision; return False if there is no such revision."""
    asked = _number(request.POST.get("revision"))
    found = revisions_of(owner, before=asked + 1, limit=1) if asked is not None else []
    if not found or found[0].number != asked:
        messages.error(request, "There is no such revision. Choose one from the list.")
        return False
    if store(found[0].text):
        messages.success(request, f"{subject} restored from revision {asked}.")
    else:
        messages.info(request, "The text is the same. Nothing has changed.")
    return True


def changed_lines(earlier: str, later: str) -> list[tuple[str, str]]:
    """Return the lines of a unified diff with their kinds; nothing for texts that are too long to compare."""
    before, after = earlier.splitlines(), later.splitlines()
    if len(before) + len(after) > MAX_COMPARED_LINES:
        return []
    lines = list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]  # without the names of files
    return [(SIGNS.get(line[:1], "same"), line) for line in lines]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 10 else None
