"""The replay on the confirmation page: requested there, run by a replica, shown when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django import forms
from django.contrib import messages
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminIntegerFieldWidget

from models_registry import services
from models_registry.admin.base import may_here, refusals_as_messages
from models_registry.artifacts.table import Table, read_table
from models_registry.artifacts.table_formats import FORMATS
from models_registry.models import ModelVersion, Replay
from models_registry.permissions import ACTIVATE
from models_registry.services.replays import DEFAULT_ROWS, MAX_ROWS

MAX_COLUMNS_SHOWN = 8


class ReplayForm(forms.Form):
    """The rows to replay."""

    input = forms.FileField(
        label="File of rows",
        required=False,
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ",".join(FORMATS)}),
        help_text="CSV, JSON Lines or Parquet, up to 20 MB. Without a file, the replay uses logged rows or the sample.",
    )
    rows = forms.IntegerField(
        label="Maximum number of rows",
        initial=DEFAULT_ROWS,
        min_value=1,
        max_value=MAX_ROWS,
        widget=UnfoldAdminIntegerFieldWidget(),
    )


def take_files(request: HttpRequest) -> None:
    """Allow a file in the form if the user may replay; the file is read only then."""
    if request.user.is_active and may_here(request, ACTIVATE):
        request.upload_handlers = [TemporaryFileUploadHandler(request)]


def ask(request: HttpRequest, version: ModelVersion) -> None:
    """Request the replay in the form, and report the result as a message."""
    form = ReplayForm(request.POST, request.FILES)
    if not form.is_valid():
        for name, errors in form.errors.items():
            messages.error(request, f"{form.fields[name].label}: {' '.join(map(str, errors))}")
        return
    with refusals_as_messages(request):
        rows = form.cleaned_data["rows"]
        table = _read(form.cleaned_data["input"], rows) if form.cleaned_data["input"] else None
        wanted = services.ReplayRequest(version, table, rows=rows)
        services.request_replay(wanted, by=request.user.get_username())


def _read(upload: TemporaryUploadedFile, rows: int) -> Table:
    with upload:
        return read_table(Path(upload.temporary_file_path()), upload.name or "", max_rows=rows)


def replay_context(version: ModelVersion, *, may_view_log: bool) -> dict[str, Any]:
    """Return the template context of the newest replay of `version`."""
    replay = version.replays.select_related("version__model", "compared_with").first()
    if replay is not None and replay.result is not None:
        replay.result = services.replay_content(replay, may_view_log=may_view_log)
    return {
        "replay": replay,
        "replay_form": ReplayForm(),
        "replay_version": version,
        "replay_has_ended": replay is None or services.has_ended(replay),
        "examples": _examples(replay),
        "columns": _columns(replay),
    }


def _columns(replay: Replay | None) -> list[str]:
    """Return the column names of the examples; empty for rows that are lists, or too wide."""
    examples = (replay.result or {}).get("examples", []) if replay is not None else []
    rows = [example["input"] for example in examples]
    if not rows or not all(isinstance(row, dict) for row in rows):
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names if len(names) <= MAX_COLUMNS_SHOWN else []


def _examples(replay: Replay | None) -> list[dict[str, Any]]:
    columns = _columns(replay)
    examples = (replay.result or {}).get("examples", []) if replay is not None else []
    return [
        {**example, "cells": [example["input"].get(name) for name in columns] if columns else [example["input"]]}
        for example in examples
    ]
