"""Single rows of 64 named features, at one and at sixteen connections."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.answers import compare
from benchmarks.artifacts import TITLES
from benchmarks.bench import Bench, only
from benchmarks.load import Figures, run
from benchmarks.report import Section, number, ratio
from benchmarks.servers import Server, running

COMPARED_ROWS = 100
SECONDS = {1: 1, 16: 2}
JOBLIB_TARGETS = {
    "forest": 10.0,
    "logistic": 1.5,
    "boosting": 5.0,
    "xgboost": 3.0,
    "lightgbm": 3.0,
    "xgboost-pipeline": 10.0,
    "lightgbm-pipeline": 10.0,
}

Rounds = dict[str, list[Figures]]


def measure(bench: Bench) -> list[Section]:
    """Compare all answers, then take turns."""
    ours, native = bench.ours(), bench.native()
    joblib = bench.peers_with_joblib()
    by_hand = [bench.fastapi("def", "onnx"), bench.fastapi("async", "onnx")]
    batching = bench.batching_peer()
    servers = [ours, native, *joblib, batching, *by_hand]
    sections = []
    with running(servers):
        compared = compare(servers, bench.models, rows=COMPARED_ROWS)
        for model in TITLES:
            seen = {connections: _rounds(bench, servers, model, connections) for connections in SECONDS}
            section = Section(f"Single rows: {TITLES[model]}")
            _tabulate(section, servers, seen, ours)
            _aim(section, model, seen, ours=ours.name, joblib=[peer.name for peer in joblib])
            if model == "forest":
                _aim_native(section, seen[16], native.name, [peer.name for peer in joblib])
            _aim_by_hand(
                section,
                model,
                seen[16],
                ours=ours.name,
                by_hand=[peer.name for peer in by_hand],
            )
            sections.append(section)
    sections[0].lines[:0] = [f"{compared:,} answers were compared with scikit-learn's first.", ""]
    return sections


def _rounds(bench: Bench, servers: list[Server], model: str, connections: int) -> Rounds:
    found: Rounds = {server.name: [] for server in servers}
    for _ in range(bench.rounds):
        for server in servers:
            with only(server, servers):
                # Who was stopped may have to catch up first.
                server.ask(model, bench.models.named(0))
                figures = run(
                    server.url(model), bench.bodies(server), connections=connections, seconds=SECONDS[connections]
                )
            found[server.name].append(figures)
            print(f"  {model:17} c={connections:<3} {server.name:32} {figures.served_per_second:7.0f}/s", flush=True)
    return found


def _tabulate(section: Section, servers: list[Server], seen: dict[int, Rounds], ours: Server) -> None:
    rows = []
    for server in servers:
        alone, many = seen[1][server.name], seen[16][server.name]
        rows.append(
            (
                server.name,
                number(_median(alone, lambda item: item.p50_ms)),
                number(_median(alone, lambda item: item.served_per_second)),
                number(_median(many, lambda item: item.served_per_second)),
                number(_median(many, lambda item: item.p99_ms)),
                f"{ratio(_rates(seen[16][ours.name]), _rates(many)):.2f} ×",
            )
        )
    section.table(
        ["", "c=1: p50, ms", "c=1: answers/s", "c=16: answers/s", "c=16: p99, ms", "mlapi against it, c=16"], rows
    )


def _aim(section: Section, model: str, seen: dict[int, Rounds], *, ours: str, joblib: list[str]) -> None:
    title = TITLES[model]
    section.aim(
        f"{title}, c=16, against the best peer with the same joblib file",
        min(ratio(_rates(seen[16][ours]), _rates(seen[16][name])) for name in joblib),
        at_least=JOBLIB_TARGETS[model],
    )
    everybody = [name for name in seen[16] if not name.startswith("mlapi")]
    for connections, what in ((16, "p99"), (1, "p50")):
        figure: Callable[[Figures], float] = (lambda item: item.p99_ms) if what == "p99" else (lambda item: item.p50_ms)
        mine = [figure(item) for item in seen[connections][ours]]
        section.aim(
            f"{title}, c={connections}, {what} against the best of all peers",
            max(ratio(mine, [figure(item) for item in seen[connections][name]]) for name in everybody),
            at_most=1.0,
        )


def _aim_native(section: Section, many: Rounds, native: str, joblib: list[str]) -> None:
    section.aim(
        "forest natively (acceleration off), c=16, against the best such peer",
        min(ratio(_rates(many[native]), _rates(many[name])) for name in joblib),
        at_least=4.0,
    )


def _aim_by_hand(section: Section, model: str, many: Rounds, *, ours: str, by_hand: list[str]) -> None:
    plain, asynchronous = by_hand
    for name, other, what, bound in (
        (ours, plain, "against the same ONNX session by hand in FastAPI `def`", 1.5),
        (ours, asynchronous, "against the same in `async def`", 1.15),
    ):
        section.aim(f"{TITLES[model]}, c=16, {what}", ratio(_rates(many[name]), _rates(many[other])), at_least=bound)


def _rates(found: Sequence[Figures]) -> list[float]:
    return [item.served_per_second for item in found]


def _median(found: Sequence[Figures], figure: Callable[[Figures], float]) -> float:
    return statistics.median(figure(item) for item in found)
