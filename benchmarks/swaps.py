"""A hundred activations under load, against a quiet minute; and how long an activation takes to the last worker."""

from __future__ import annotations

import json
import statistics
import threading
from typing import Any

import joblib
from sklearn.base import clone

from benchmarks.artifacts import ESTIMATORS
from benchmarks.bench import Bench
from benchmarks.load import Figures, run
from benchmarks.report import Section, number
from benchmarks.servers import running

SWAPS = 100
CONNECTIONS = 16
PIECE_SECONDS = 10
QUIET_PIECES = 6
IN_TURN = """
import json, time
from models_registry import services
marks = []
model = services.get_model("forest")
for turn in range({swaps}):
    version = services.get_version(model, 1 + (turn + 1) % 2)
    services.activate(version, by="benchmark")
    began = time.perf_counter()
    final = services.wait_for_rollout(model, timeout_seconds=60, poll_seconds=0.02)
    assert final.is_complete and final.live == {workers}, final
    marks.append(time.perf_counter() - began)
print(json.dumps(marks))
"""


def measure(bench: Bench) -> list[Section]:
    """Publish a second forest, then swap under load."""
    publish_another(bench)
    section = Section("Swaps under load, and activation")
    _swap_under_load(bench, section)
    _activate(bench, section)
    return [section]


def publish_another(bench: Bench) -> Any:
    """Publish a second forest that was fitted with another seed, and return it."""
    data = bench.models
    other = clone(ESTIMATORS["forest"]).set_params(random_state=1).fit(data.rows, data.labels["forest"])
    path = bench.directory / "other.joblib"
    joblib.dump(other, path)
    manifest = data.directory / "forest" / "model.joblib.manifest.json"
    declared = json.loads(manifest.read_text())
    declared["sample"].pop("predictions")
    path.with_name(path.name + ".manifest.json").write_text(json.dumps(declared))
    bench.registry.manage("publish_model", "forest", str(path))
    return other


def _swap_under_load(bench: Bench, section: Section) -> None:
    server = bench.ours(MODELS_POLL_SECONDS="0.2")
    bodies = bench.bodies(server)

    def piece() -> Figures:
        return run(server.url("forest"), bodies, connections=CONNECTIONS, seconds=PIECE_SECONDS)

    with running([server]):
        quiet = [piece() for _ in range(QUIET_PIECES)]
        marks: list[float] = []
        thread = threading.Thread(target=lambda: marks.extend(activate_in_turn(bench, SWAPS, workers=1)))
        thread.start()
        busy = []
        while thread.is_alive():
            busy.append(piece())
        thread.join()
        swapped = server.log.read_text().count('"event": "swapped"')
    if len(marks) != SWAPS or swapped < SWAPS:
        raise RuntimeError(f"{len(marks)} activations, {swapped} swaps; expected {SWAPS}.")
    section.table(
        ["", "answers/s", "p50, ms", "p99, ms", "slowest, ms", "failed or refused"],
        [
            (
                name,
                number(statistics.median(item.served_per_second for item in pieces)),
                number(statistics.median(item.p50_ms for item in pieces)),
                number(statistics.median(item.p99_ms for item in pieces)),
                number(max(item.max_ms for item in pieces)),
                sum(item.failed + item.refused for item in pieces),
            )
            for name, pieces in ((f"quiet, {QUIET_PIECES * PIECE_SECONDS} s", quiet), (f"during {SWAPS} swaps", busy))
        ],
    )
    section.say(f"The forest at {CONNECTIONS} connections without pause; medians over pieces of {PIECE_SECONDS} s.")
    section.aim(
        f"p99 during {SWAPS} swaps, of the quiet minute's",
        statistics.median(item.p99_ms for item in busy) / statistics.median(item.p99_ms for item in quiet),
        at_most=2.0,
    )


def _activate(bench: Bench, section: Section) -> None:
    server = bench.ours(WEB_WORKERS="2")
    with running([server]):
        marks = activate_in_turn(bench, 10, workers=2)
        seconds = [json.loads(line)["seconds"] for line in server.log.read_text().splitlines() if '"swapped"' in line]
    section.table(
        ["Activation, two workers, polls every 2 s", "seconds"],
        [
            ("to the last worker, median of 10", number(statistics.median(marks))),
            ("the slowest of 10", number(max(marks))),
            (
                "of that, preparing in one worker (fetch, digest, open, verify, warm up), median",
                number(statistics.median(seconds)),
            ),
        ],
    )
    section.say("The rest is the wait for the next poll, up to 2 s, and for the sibling that prepares first.")


def activate_in_turn(bench: Bench, swaps: int, *, workers: int) -> list[float]:
    """Activate the two forests in turn; return the seconds until every worker served each."""
    printed = bench.registry.manage("shell", "-v", "0", "-c", IN_TURN.format(swaps=swaps, workers=workers))
    marks: list[float] = json.loads(printed)
    return marks
