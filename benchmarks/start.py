"""Start time and memory of a process, and which parts take them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from benchmarks.bench import Bench
from benchmarks.report import Section, number
from benchmarks.servers import ROOT, SERVER_CORE, Server

TURNS = 3
# Each has done what the previous one did, and one thing more.
STEPS = {
    "the interpreter": "pass",
    "gunicorn": "import gunicorn.app.wsgiapp",
    "Django with its apps": "import gunicorn.app.wsgiapp, django; django.setup()",
    "the pipeline, routes and protocols": (
        "import gunicorn.app.wsgiapp, django; django.setup(); import mlapi.http.application, mlapi.http.process"
    ),
}
MEMORY = "; import psutil; print(psutil.Process().memory_full_info().uss)"
NOT_NEEDED = (
    "sklearn",
    "pandas",
    "scipy",
    "boto3",
    "storages",
    "joblib",
    "rest_framework",
    "drf_spectacular",
    "unfold",
    "skl2onnx",
    "onnx",
)


def measure(bench: Bench) -> list[Section]:
    """Start each server a few times, and our steps one by one."""
    servers = [bench.ours(), bench.native(), *bench.peers_with_joblib(), bench.fastapi("async", "onnx")]
    found = {server.name: _starts(server, bench) for server in servers}
    section = Section("Start and memory")
    section.table(
        ["With all three models", "start to ready, s", "memory after 300 answers, MB"],
        [(name, number(statistics.median(seconds)), number(memory)) for name, (seconds, memory) in found.items()],
    )
    steps = _steps(bench)
    ready = statistics.median(found["mlapi"][0])
    before = (0.0, 0.0)
    rows = []
    for name, (seconds, memory) in steps.items():
        rows.append((name, number(max(0.0, seconds - before[0])), number(max(0.0, memory - before[1]))))
        before = (seconds, memory)
    rest = number(max(0.0, ready - before[0])), number(max(0.0, found["mlapi"][1] - before[1]))
    section.table(
        ["Of mlapi's", "seconds", "MB"],
        [*rows, ("URLs, models opened, verified and warm, the first poll; onnxruntime", *rest)],
    )
    present = _present(bench)
    section.say(
        "Memory is what a process shares with no other (USS), over all processes of a server. Of "
        f"{', '.join(NOT_NEEDED)}, a worker that serves compiled models has loaded: {', '.join(present) or 'none'}."
    )
    return [section]


def _starts(server: Server, bench: Bench) -> tuple[list[float], float]:
    """Return the seconds from the start to ready, and the memory after some answers."""
    seconds, memory = [], 0.0
    for _ in range(TURNS):
        began = time.perf_counter()
        server.start()
        seconds.append(time.perf_counter() - began)
        for model in ("forest", "logistic", "boosting"):
            for index in range(100):
                server.ask(model, bench.models.named(index))
        memory = server.resident_mb()
        server.stop()
    return seconds, memory


def _steps(bench: Bench) -> dict[str, tuple[float, float]]:
    environment = {**bench.registry.environment, "DJANGO_SETTINGS_MODULE": "mlapi.settings"}
    found = {}
    for name, code in STEPS.items():
        seconds, memory = [], []
        for _ in range(TURNS):
            began = time.perf_counter()
            _python(code, environment)
            seconds.append(time.perf_counter() - began)
            memory.append(int(_python(code + MEMORY, environment)) / 1e6)
        found[name] = statistics.median(seconds), statistics.median(memory)
    return found


def _present(bench: Bench) -> list[str]:
    """Return which of the libraries that serving does not need a worker has mapped into its memory."""
    code = (
        "import time; from mlapi.asgi import application, replica; from mlapi.replica import runtime; replica.start()\n"
        "while not runtime.snapshot.has_read_desired_state or runtime.snapshot.missing(): time.sleep(0.05)\n"
        f"import sys; print(' '.join(name for name in {NOT_NEEDED!r} if name in sys.modules)); sys.stdout.flush()\n"
        "import os; os._exit(0)"
    )
    environment = {**bench.registry.environment, "MLAPI_VAR": str(bench.directory / "imports")}
    os.makedirs(environment["MLAPI_VAR"], exist_ok=True)  # noqa: PTH103
    return _python(code, environment).split()


def _python(code: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["taskset", "-c", str(SERVER_CORE), sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{code}: {done.stderr}")
    return done.stdout
