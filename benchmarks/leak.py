"""A worker that swaps models forever grows no larger: `python -m benchmarks.leak --swaps 300`.

Two versions of a model take turns, and each answers its own label in between. The first third of the swaps warms the
worker up. From then on its memory, its open files and its threads must not grow. Exit status 1: they do not, or
an answer is another version's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import psutil

from benchmarks.proof import Bed, bed, finish, say
from tests.support.estimators import forest, save

TREES = 60
# What an allocator may keep: of what it had, and in all.
MAX_GROWTH = 0.1
MAX_GROWTH_BYTES = 24_000_000
MAX_FILES_MORE = 8


def state_of(process: psutil.Process) -> tuple[int, int, int]:
    """Return a worker's resident bytes, open files and threads."""
    return process.memory_info().rss, process.num_fds(), process.num_threads()


def swap(stage: Bed, number: int, faults: list[str]) -> None:
    """Activate a version, wait for it, and ask it."""
    status, told = stage.api("/api/models/m/activate", {"version": number, "wait_seconds": 50})
    if status != 200 or not told["is_complete"]:
        faults.append(f"version {number}: {status} {told}")
        return
    answered = stage.service.post("/models/m/predict", {"features": [0, 0, 0, 0]})[1]
    if answered.get("version") != number:
        faults.append(f"asked for version {number}, answered {answered}")


def run(*, swaps: int, database_url: str | None = None) -> int:
    """Run it and return the exit status; without a migrated database, on a PostgreSQL server of its own."""
    faults: list[str] = []
    states: list[tuple[int, int, int]] = []
    with bed(database_url, WEB_WORKERS="1", MODELS_POLL_SECONDS="0.05") as stage:
        models = [forest(seed=number, trees=TREES, rows=2000) for number in (1, 2)]
        files = [save(model, stage.directory / f"{turn}.joblib") for turn, model in enumerate(models)]
        stage.publish("m", list(map(Path, files)))
        (pid,) = stage.service.start().worker_pids()
        process = psutil.Process(pid)
        for turn in range(swaps):
            swap(stage, 1 + (turn + 1) % 2, faults)
            states.append(state_of(process))
            if turn % 50 == 49:
                say(f"{turn + 1} swaps: {states[-1][0] / 1e6:.0f} MB, {states[-1][1]} files, {states[-1][2]} threads")
    warm = states[len(states) // 3 :]
    edge = max(1, len(warm) // 4)
    (bytes_before, files_before, _), (bytes_after, files_after, threads_after) = (
        tuple(int(statistics.median(column)) for column in zip(*part, strict=True))
        for part in (warm[:edge], warm[-edge:])
    )
    grown = bytes_after - bytes_before
    if grown > min(MAX_GROWTH_BYTES, MAX_GROWTH * bytes_before):
        faults.append(f"the worker grew by {grown / 1e6:.1f} MB in {len(warm)} swaps")
    if files_after > files_before + MAX_FILES_MORE:
        faults.append(f"the worker has {files_after} open files; it had {files_before}")
    figures = {
        "swaps": swaps,
        "resident_mb_before": round(bytes_before / 1e6, 1),
        "resident_mb_after": round(bytes_after / 1e6, 1),
        "open_files": [files_before, files_after],
        "threads": threads_after,
    }
    return finish(figures, faults)


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leak", description=__doc__)
    parser.add_argument("--swaps", type=int, default=300)
    return run(swaps=parser.parse_args().swaps)


if __name__ == "__main__":
    sys.exit(main())
