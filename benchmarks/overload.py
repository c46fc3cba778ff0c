"""Four times as much as a worker can serve: what is served, what is refused, how health and memory fare."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.load import run
from benchmarks.report import Section, number
from benchmarks.servers import Server, running

# As many as make the most of coalescing, and are all let in.
PEAK_CONNECTIONS = (32, 96)
CONNECTIONS = 512
SECONDS = 8
SETTLE_SECONDS = 1
OFFERED = 4
HEALTH_EVERY_SECONDS = 0.05
# A worker's memory may move by that much between two readings of a quiet one.
MEMORY_SLACK_MB = 30


def measure(bench: Bench) -> list[Section]:
    """Overload a slow model and a compiled one."""
    section = Section("Four times the load")
    rows = []
    for server, model in ((bench.native(), "forest"), (bench.ours(), "forest")):
        with running([server]):
            rows.append(_overload(bench, section, server, model))
    section.table(
        [
            "",
            "peak, answers/s",
            "offered/s",
            "served/s",
            "refused/s",
            "health p50, ms",
            "health max, ms",
            "memory before, MB",
            "after, MB",
        ],
        rows,
    )
    section.say(
        f"The peak is that of {' or '.join(map(str, PEAK_CONNECTIONS))} connections. "
        f"Then {CONNECTIONS} connections want to send {OFFERED} "
        "times as much, each at its own pace, refused or not; they send less where an answer takes longer. "
        "Every request was either served (200) or refused (503 with Retry-After). Health was asked "
        f"every {HEALTH_EVERY_SECONDS * 1000:.0f} ms on a connection of its own each time."
    )
    return [section]


def _overload(bench: Bench, section: Section, server: Server, model: str) -> tuple[object, ...]:
    bodies = bench.bodies(server)
    run(server.url(model), bodies, connections=PEAK_CONNECTIONS[-1], seconds=2)
    peak = _peak(bench, server, model)
    before = server.resident_mb()
    delay_ms = max(1, round(1000 * CONNECTIONS / (OFFERED * peak)))
    with health_watched(server) as health:
        figures = run(
            server.url(model), bodies, connections=CONNECTIONS, seconds=SECONDS, delay_ms=delay_ms, allow_refusals=True
        )
    # The callers have gone; what they asked last is still answered.
    time.sleep(SETTLE_SECONDS)
    peak = (peak + _peak(bench, server, model)) / 2
    after = server.resident_mb()
    health.sort()
    section.aim(
        f"{server.name}, {model}: served at {OFFERED} × the load, of the peak",
        figures.served_per_second / peak,
        at_least=0.9,
    )
    section.aim(f"{server.name}, {model}: slowest health answer meanwhile", health[-1], at_most=100, unit="ms")
    section.aim(f"{server.name}, {model}: growth of memory", after - before, at_most=MEMORY_SLACK_MB, unit="MB")
    return (
        f"{server.name}, {model}",
        number(peak),
        number(figures.offered_per_second),
        number(figures.served_per_second),
        number(figures.refused / figures.seconds),
        number(health[len(health) // 2]),
        number(health[-1]),
        number(before),
        number(after),
    )


def _peak(bench: Bench, server: Server, model: str) -> float:
    """Return the most answers a second that the server gives to callers that it has room for."""
    return max(
        run(
            server.url(model),
            bench.bodies(server),
            connections=connections,
            seconds=SECONDS // 2,
            # Those of the last callers may still be under way.
            allow_refusals=True,
        ).served_per_second
        for connections in PEAK_CONNECTIONS
    )


@contextmanager
def health_watched(server: Server) -> Iterator[list[float]]:
    """Ask for health all the time; give the list that its milliseconds are put in."""
    taken: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(HEALTH_EVERY_SECONDS):
            began = time.perf_counter()
            status, answer = server.request("GET", "/health", timeout=10)
            if status != 200:
                raise RuntimeError(f"health answers {status}: {answer}")
            taken.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join()
