"""The results of a run: tables for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.servers import ROOT, environment_of

PAGE = ROOT / "docs" / "benchmarks.md"
OURS = ("scikit-learn", "onnxruntime", "numpy", "gunicorn", "Django")
PEERS = {"peers": ("fastapi", "uvicorn", "pydantic", "litserve"), "mlserver": ("mlserver",)}


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that should be true, what was measured, and whether it is."""

    promise: str
    measured: str
    is_met: bool


@dataclass(slots=True)
class Section:
    """One part of the page."""

    title: str
    lines: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def say(self, *paragraphs: str) -> None:
        """Add paragraphs."""
        for paragraph in paragraphs:
            self.lines += [paragraph, ""]

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table."""
        self.lines += [_row(head), "|" + " --- |" * len(head), *(_row(row) for row in rows), ""]

    def aim(self, promise: str, measured: float, *, at_least: float = 0, at_most: float = 0, unit: str = "×") -> None:
        """Hold a figure against its target."""
        is_met = measured >= at_least if at_least else measured <= at_most
        bound = f"≥ {at_least:g}" if at_least else f"≤ {at_most:g}"
        self.targets.append(Target(f"{promise}: {bound} {unit}", f"{measured:.3g} {unit}", is_met))

    def text(self) -> str:
        """Return the section as Markdown."""
        return "\n".join([f"## {self.title}", "", *self.lines])


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the rounds' ratios: each round saw both under the same weather."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def number(value: float) -> str:
    """Return a figure with as many digits as it deserves."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def page(sections: list[Section], *, minutes: float) -> str:
    """Return the whole page."""
    targets = [target for section in sections for target in section.targets]
    summary = Section("Targets")
    summary.table(
        ["Target", "Measured", ""],
        [(item.promise, item.measured, "met" if item.is_met else "**not met**") for item in targets],
    )
    head = f"""# Benchmarks

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes. Do not edit it: run it.

- **Machine**: {_processor()}, {psutil.cpu_count()} processors, {psutil.virtual_memory().total / 1e9:.0f} GB, \
{platform.system()} {platform.release()}, Python {platform.python_version()}. Load average at the start of this page's \
writing: {psutil.getloadavg()[2]:.1f} over 15 minutes.
- **Versions**: {_versions()}.
- **How**: one server process with one worker, pinned to one processor; wrk with kept-alive connections on the other.
  Servers take turns within each round (A B C, A B C, …), all but the one measured are stopped meanwhile; figures are
  medians of the rounds, ratios are medians of the rounds' ratios. On a shared machine the figures drift by a factor of
  two within minutes; the ratios do not.
- **Fair to the peers**: one call of the model for label and confidence, uvloop and httptools, no access log, no
  metrics, no keys, no limits; ours has its log line, metrics, request id, host and limit checks in every figure.
  MLServer is sent a bare tensor, without names. "ONNX by hand" runs the very graph that mlapi compiled.
- **Again**: `make bench`, or one part of it:
  `.venv/bin/python -m benchmarks single|batches|overload|start|swaps|swaps-grpc`.

Before anything was timed, every server's answers were compared with scikit-learn's own: labels equal, probabilities
within 1e-7.
"""
    return "\n".join([head, summary.text(), *(section.text() for section in sections)]).rstrip() + "\n"


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> str:
    ours = [f"{name} {version(name)}" for name in OURS]
    theirs = [f"{name} {_version_in(environment, name)}" for environment, names in PEERS.items() for name in names]
    return ", ".join([*ours, *theirs])


def _version_in(environment: str, name: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    return subprocess.run(
        [environment_of(environment), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
