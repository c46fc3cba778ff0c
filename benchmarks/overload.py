"""Overload at four times the capacity of a worker: served and refused requests, health and memory."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.bench import Bench
from benchmarks.load import Figures, run
from benchmarks.report import Section, number
from benchmarks.servers import Server, running

# As many as make the most of batching, and all have slots.
PEAK_CONNECTIONS = (32, 96)
SECONDS = 8
ROUNDS = 3
SETTLE_SECONDS = 1
HEALTH_EVERY_SECONDS = 0.05
# A worker's memory may move by that much between two readings of a quiet one.
MEMORY_SLACK_MB = 30


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who asks: on so many connections, `times` the peak together, or without a pause if that is None."""

    connections: int
    times: int | None

    def pause_ms(self, peak: float) -> int:
        """Return each one's pause between an answer and the next request."""
        return max(1, round(1000 * self.connections / (self.times * peak))) if self.times else 0


# The second is about as many as a worker takes connections.
FOUR_TIMES, TOO_MANY = Crowd(512, 4), Crowd(950, None)


def measure(bench: Bench) -> list[Section]:
    """Overload a slow model and a compiled one."""
    section = Section("Four times the load")
    rows = []
    for server, crowd in ((bench.native(), FOUR_TIMES), (bench.ours(), FOUR_TIMES), (bench.native(), TOO_MANY)):
        with running([server]):
            rows.append(_overload(bench, section, server, crowd))
    section.table(
        [
            "",
            "callers",
            "peak, answers/s",
            "offered/s",
            "served/s",
            "served ÷ peak",
            "refused/s",
            "p50, ms",
            "p99, ms",
            "health max, ms",
            "memory, + MB",
        ],
        rows,
    )
    section.say(
        f"The peak is that of {' or '.join(map(str, PEAK_CONNECTIONS))} connections, measured before and after. "
        f"{FOUR_TIMES.connections} callers want to send {FOUR_TIMES.times} times as much, each at its own pace, "
        f"refused or not; they send less where an answer takes longer. {TOO_MANY.connections} callers ask again as "
        "soon as they are answered, refused or not. Every request was either served (200) or refused (503 with "
        f"Retry-After); the latencies are those of both. Medians of {ROUNDS} rounds. Health was asked every "
        f"{HEALTH_EVERY_SECONDS * 1000:.0f} ms on a connection of its own each time."
    )
    return [section]


def _overload(bench: Bench, section: Section, server: Server, crowd: Crowd) -> tuple[object, ...]:
    model = "forest"
    bodies = bench.bodies(server)
    run(server.url(model), bodies, connections=PEAK_CONNECTIONS[-1], seconds=2)
    peaks = [_peak(bench, server, model)]
    before = server.resident_mb()
    crowded: list[Figures] = []
    health: list[float] = []
    for _ in range(ROUNDS):
        with health_watched(server) as taken:
            crowded.append(
                run(
                    server.url(model),
                    bodies,
                    connections=crowd.connections,
                    seconds=SECONDS,
                    delay_ms=crowd.pause_ms(peaks[-1]),
                    allow_refusals=True,
                )
            )
        health += taken
        # The callers have gone; what they asked last is still answered.
        time.sleep(SETTLE_SECONDS)
        peaks.append(_peak(bench, server, model))
    growth = server.resident_mb() - before
    ratio = statistics.median(
        2 * figures.served_per_second / (earlier + later)
        for figures, (earlier, later) in zip(crowded, pairwise(peaks), strict=True)
    )
    title = f"{server.name}, {model}"
    where = f"{title}, {crowd.connections} callers"
    if crowd.times:
        section.aim(f"{title}: served at {crowd.times} × the load, of the peak", ratio, at_least=0.9)
    section.aim(f"{where}: slowest health answer meanwhile", max(health), at_most=100, unit="ms")
    section.aim(f"{where}: growth of memory", growth, at_most=MEMORY_SLACK_MB, unit="MB")

    def median(name: str) -> str:
        return number(statistics.median(getattr(figures, name) for figures in crowded))

    return (
        title,
        f"{crowd.connections}, {f'{crowd.times} × the peak' if crowd.times else 'no pause'}",
        number(statistics.median(peaks)),
        median("offered_per_second"),
        median("served_per_second"),
        number(ratio),
        median("refused_per_second"),
        median("p50_ms"),
        median("p99_ms"),
        number(max(health)),
        number(growth),
    )


def _peak(bench: Bench, server: Server, model: str) -> float:
    """Return the most answers a second that the server gives to callers that it has room for."""
    return max(
        run(
            server.url(model),
            bench.bodies(server),
            connections=connections,
            seconds=SECONDS // 2,
            # Those of the last callers may still be in progress.
            allow_refusals=True,
        ).served_per_second
        for connections in PEAK_CONNECTIONS
    )


@contextmanager
def health_watched(server: Server) -> Iterator[list[float]]:
    """Ask for health all the time; give the list that its milliseconds are put in.

    Raises RuntimeError at the end if it was not answered, or answered that the server is not well.
    """
    taken: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(HEALTH_EVERY_SECONDS):
            began = time.perf_counter()
            status, answer = server.request("GET", "/health", timeout=10)
            if status != 200:
                raise RuntimeError(f"health answers {status}: {answer}")
            taken.append((time.perf_counter() - began) * 1000)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield taken
        finally:
            stop.set()
        watching.result()
