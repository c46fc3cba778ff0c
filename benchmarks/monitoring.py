"""What watching costs: the usage windows of a worker, and a shadow that gets a fifth of the requests.

    python -m benchmarks.monitoring [--rounds 10]

Three services with one worker each take turns on one processor, and the others are stopped meanwhile: one without a
shadow, one with, and another one without, whose ratio to the first is the noise of the machine. Ratios are those of a
round's runs, which saw the same machine; figures are the medians of the rounds, with the quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import psutil
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.bench import only
from benchmarks.load import Figures, bodies_file, run
from benchmarks.servers import ROOT, Registry, Server, running

CONNECTIONS = 16
SECONDS = 1
SHADOW_PERCENT = 20
WINDOW_SECONDS = 60
STEP_SECONDS = 5
MODELS_COUNTED = (1, 100)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one server: wrk's figures, and the processor's seconds of its worker and of all its processes."""

    figures: Figures
    worker_seconds: float
    all_seconds: float

    @property
    def worker_per_request(self) -> float:
        """Processor seconds of the worker for a request."""
        return self.worker_seconds / self.figures.requests

    @property
    def all_per_request(self) -> float:
        """Processor seconds of all processes of the service for a request."""
        return self.all_seconds / self.figures.requests


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="mlapi-bench-") as folder:
        directory = Path(folder)
        inputs, labels = load_breast_cancer(return_X_y=True)
        artifacts = _artifacts(directory, inputs, labels)
        bodies = bodies_file(directory, "rows", [json.dumps({"features": row}).encode() for row in inputs.tolist()])
        registries = {name: _registry(directory / name, artifacts) for name in ("plain", "shadowed", "control")}
        registries["shadowed"].manage("shadow_model", "m", "2", "--percent", str(SHADOW_PERCENT))
        servers = [registry.server(name) for name, registry in registries.items()]
        with running(servers):
            found = _rounds(servers, bodies, rounds)
        _print_shadow(found)
        _print_windows(registries["plain"], found["plain"], rounds)


def _artifacts(directory: Path, inputs: object, labels: object) -> list[Path]:
    found = []
    for strength in (1.0, 0.1):
        path = directory / f"{strength}.joblib"
        joblib.dump(make_pipeline(StandardScaler(), LogisticRegression(C=strength)).fit(inputs, labels), path)
        found.append(path)
    return found


def _registry(directory: Path, artifacts: Sequence[Path]) -> Registry:
    registry = Registry(directory)
    registry.manage("publish_model", "m", str(artifacts[0]), "--activate")
    registry.manage("publish_model", "m", str(artifacts[1]))
    return registry


def _rounds(servers: list[Server], bodies: Path, rounds: int) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {server.name: [] for server in servers}
    for number in range(rounds):
        # In turn the first: what the machine does to one of them is done to all.
        turn = number % len(servers)
        for server in servers[turn:] + servers[:turn]:
            with only(server, servers):
                found[server.name].append(_run(server, bodies))
    return found


def _run(server: Server, bodies: Path) -> Run:
    server.request("GET", "/health")  # after the stop it may have to catch up
    before = _processor_seconds(server)
    figures = run(server.url("m"), bodies, connections=CONNECTIONS, seconds=SECONDS)
    after = _processor_seconds(server)
    return Run(figures, after[0] - before[0], after[1] - before[1])


def _processor_seconds(server: Server) -> tuple[float, float]:
    """Return the processor's seconds of the worker, and of all processes, those that have ended among them."""
    assert server.process is not None
    master = psutil.Process(server.process.pid)
    family = [(member, member.cpu_times()) for member in master.children(recursive=True)]
    worker = next(times for member, times in family if member.ppid() == master.pid)
    every = [master.cpu_times(), *(times for _, times in family)]
    return worker.user + worker.system, sum(
        times.user + times.system + times.children_user + times.children_system for times in every
    )


def _print_shadow(found: dict[str, list[Run]]) -> None:
    plain, shadowed, control = found["plain"], found["shadowed"], found["control"]
    print(f"A shadow at {SHADOW_PERCENT} %, {CONNECTIONS} connections, {len(plain)} rounds of {SECONDS} s:")
    for title, figure in (
        ("p50", lambda item: item.figures.p50_ms),
        ("p99", lambda item: item.figures.p99_ms),
        ("answers a second", lambda item: item.figures.served_per_second),
        ("processor a request, the worker", lambda item: item.worker_per_request),
        ("processor a request, with the shadow's process", lambda item: item.all_per_request),
    ):
        ratios, noise = (
            _spread([figure(one) / figure(other) for one, other in zip(runs, plain, strict=True)])
            for runs in (shadowed, control)
        )
        print(f"  {title:48} {ratios}; without a shadow {noise}")


def _print_windows(registry: Registry, plain: list[Run], rounds: int) -> None:
    per_request = [item.worker_per_request for item in plain]
    print(f"A request takes {_spread([1e6 * seconds for seconds in per_request])} µs of the worker's processor.")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.usage_windows", str(rounds), *map(str, MODELS_COUNTED)],
        cwd=ROOT,
        env={**os.environ, **registry.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(done.stdout)
    for count, windows in measured["windows"].items():
        print(
            f"A window of {count} models takes {_spread([1e3 * seconds for seconds in windows])} ms once a minute: "
            f"{100 * statistics.median(windows) / WINDOW_SECONDS:.4f} % of a processor."
        )
    shares = [100 * one / other for one, other in zip(measured["recording"], per_request, strict=True)]
    print(
        f"Summing a request up for /metrics, of which the windows are made, takes {_spread(shares)} % of its processor "
        "time; the windows add nothing to it."
    )
    offered = [100 * one / other for one, other in zip(measured["offering"], per_request, strict=True)]
    print(
        f"Handing a row over to be counted by feature takes {_spread(offered)} % of it. Counting takes "
        f"{_spread([1e3 * seconds for seconds in measured['counting']])} ms every {STEP_SECONDS:.0f} s at most: "
        f"{100 * statistics.median(measured['counting']) / STEP_SECONDS:.4f} % of a processor for each version."
    )


def _spread(values: Sequence[float]) -> str:
    """Return the median with the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
