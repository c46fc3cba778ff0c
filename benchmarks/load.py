"""Load: wrk on the client's core, with its figures as values."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CLIENT_CORE = 1

# Bodies in turn, one a line; `delay` where the client is to hold a rate.
SCRIPT = """
local requests = {}
function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, line)
  end
end
local turn = 0
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency, rates)
  io.write(string.format(
    '\\nFIGURES {"requests": %d, "seconds": %.6f, "refused": %d, "failed": %d, ' ..
    '"p50": %.1f, "p99": %.1f, "max": %.1f}\\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""
DELAY = "\nfunction delay() return %d end\n"
# Where refusals are allowed, each answer is looked at: nothing but 200, and the 503 of who found no place.
LOOK = """
local asking
strange = 0
function setup(thread) asking = thread end
function response(status, headers)
  if status ~= 200 and not (status == 503 and headers["Retry-After"] == "1") then strange = strange + 1 end
end
local say = done
function done(summary, latency, rates)
  local found = asking:get("strange")
  if found > 0 then error(found .. " answers were neither 200 nor 503 with Retry-After") end
  say(summary, latency, rates)
end
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of wrk saw; latencies in milliseconds, of refusals too."""

    requests: int
    seconds: float
    refused: int
    failed: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def served_per_second(self) -> float:
        """Answers with a status below 400, a second."""
        return (self.requests - self.refused) / self.seconds

    @property
    def refused_per_second(self) -> float:
        """Answers with a status from 400, a second."""
        return self.refused / self.seconds

    @property
    def offered_per_second(self) -> float:
        """All answers, a second."""
        return self.requests / self.seconds


def bodies_file(directory: Path, name: str, bodies: Sequence[bytes]) -> Path:
    """Write one body a line and return the file."""
    path = directory / f"{name}.bodies"
    path.write_bytes(b"\n".join(bodies) + b"\n")
    return path


def run(
    url: str,
    bodies: Path,
    *,
    connections: int,
    seconds: int,
    delay_ms: int = 0,
    allow_refusals: bool = False,
    patience: int = 2,
) -> Figures:
    """Post `bodies` in turn on `connections` kept-alive connections, and return what was seen.

    A run without a single answer is tried again, `patience` times: one of the peers stalls for seconds at times. Raises
    RuntimeError for a request that failed, for a refused one if none is allowed, and for any other answer than a
    refusal if they are: such figures say nothing.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT + (DELAY % delay_ms if delay_ms else "") + (LOOK if allow_refusals else ""))
        script.flush()
        command = ["taskset", "-c", str(CLIENT_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        command += ["--timeout", "30s", "-s", script.name, url, "--", str(bodies)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if not lines:
        raise RuntimeError(f"wrk gave no figures for {url}: {done.stdout}{done.stderr}")
    seen = json.loads(lines[0].removeprefix("FIGURES "))
    figures = Figures(
        seen["requests"],
        seen["seconds"],
        seen["refused"],
        seen["failed"],
        seen["p50"] / 1000,
        seen["p99"] / 1000,
        seen["max"] / 1000,
    )
    if not figures.requests and patience:
        return run(
            url,
            bodies,
            connections=connections,
            seconds=seconds,
            delay_ms=delay_ms,
            allow_refusals=allow_refusals,
            patience=patience - 1,
        )
    if figures.failed or not figures.requests or (figures.refused and not allow_refusals):
        raise RuntimeError(f"{url} at {connections} connections: {figures}")
    return figures
