"""`replay_model NAME VERSION`: compare a version with the active one on known rows."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from models_registry import services
from models_registry.artifacts.table import Table, read_table
from models_registry.errors import RequestError
from models_registry.management.base import RegistryCommand, command_user
from models_registry.models import Replay
from models_registry.monitoring.replay import DEFAULT_TOLERANCE
from models_registry.services.replays import DEFAULT_ROWS, MAX_ROWS

# The exit status if more rows change than --tolerate allows.
TOO_MANY_CHANGES = 3


class Command(RegistryCommand):
    """Run a ready version on known rows, compare it with the active version, and print the differences."""

    help = (
        "Runs a ready version on logged requests, a file or the sample. Its predictions are compared with those of the "
        "active version. The active version itself is compared with recorded predictions."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("version", metavar="VERSION", type=int)
        parser.add_argument("--rows", type=int, default=DEFAULT_ROWS, help=f"rows at most, up to {MAX_ROWS}")
        parser.add_argument("--input", type=Path, help="a CSV, JSON Lines or Parquet file, in place of the log")
        parser.add_argument("--json", action="store_true", help="print the whole result as JSON")
        parser.add_argument(
            "--tolerance",
            type=float,
            default=DEFAULT_TOLERANCE,
            help="allowed difference of a number, as a share of it",
        )
        parser.add_argument(
            "--tolerate", type=float, metavar="PERCENT", help="exit with status 3 if more than that changes"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay, print, and exit with status 3 if too much changes."""
        version = services.get_version(services.get_model(options["name"]), options["version"])
        table = _read(options["input"], options["rows"]) if options["input"] else None
        request = services.ReplayRequest(version, table, rows=options["rows"], tolerance=options["tolerance"])
        replay = services.run_replay(services.request_replay(request, by=command_user(), state=Replay.State.RUNNING))
        if replay.result is None:
            raise CommandError(replay.reason)
        self.stdout.write(json.dumps(replay.result) if options["json"] else describe(replay))
        tolerated, found = options["tolerate"], replay.result["changed_percent"]
        if tolerated is not None and found > tolerated:
            raise CommandError(
                f"{found:g} % of the rows change; --tolerate allows {tolerated:g} %.", returncode=TOO_MANY_CHANGES
            )


def _read(path: Path, rows: int) -> Table:
    if not path.is_file():
        raise RequestError(f"There is no file {path}. Give a CSV, JSON Lines or Parquet file to --input.")
    return read_table(path, path.name, max_rows=min(max(rows, 1), MAX_ROWS))


def describe(replay: Replay) -> str:
    """Return the result as text."""
    result: dict[str, Any] = replay.result or {}
    other = f"version {replay.compared_with.number}" if replay.compared_with else "the recorded predictions"
    low, high = result["interval"]
    lines = [
        f"{replay.version} beside {other}, over {result['rows']} rows of {replay.get_source_display()}:",
        f"  changed  {result['changed']} ({result['changed_percent']:.3g} %; 95 % interval {low:.3g} to {high:.3g} %)",
        f"  errors   {result['errors']} (active: {result['active_errors']})",
    ]
    for which in ("active", "candidate"):
        times = result["latency"][which]
        if times["p50_ms"] is not None:
            lines.append(f"  {which:<9} p50 {times['p50_ms']:.3g} ms, p99 {times['p99_ms']:.3g} ms a row, uncompiled")
    for example in result["examples"]:
        lines.append(f"  row {example['row']}: {_answer(example['active'])} → {_answer(example['candidate'])}")
    return "\n".join(lines)


def _answer(answer: dict[str, Any]) -> str:
    return f"error ({answer['error']})" if "error" in answer else json.dumps(answer["prediction"], ensure_ascii=False)
