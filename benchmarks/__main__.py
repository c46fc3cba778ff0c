"""`make bench`: measure, print, and write docs/benchmarks.md.

python -m benchmarks                     everything, and the page
python -m benchmarks single swaps        some parts, printed only
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import batches, forest_batches, grpc_swaps, overload, single_rows, start, swaps
from benchmarks.artifacts import train
from benchmarks.bench import Bench
from benchmarks.load import CLIENT_CORE
from benchmarks.report import PAGE, Section, page
from benchmarks.servers import Registry

PARTS: dict[str, Callable[[Bench], list[Section]]] = {
    "single": single_rows.measure,
    "batches": batches.measure,
    "forest-batches": forest_batches.measure,
    "overload": overload.measure,
    "start": start.measure,
    "swaps": swaps.measure,
    "swaps-grpc": grpc_swaps.measure,
}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="mlapi against other servers")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, where none is named")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    # Ended from outside, the run still ends its servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlapi-bench-") as folder:
        directory = Path(folder)
        models = train(directory / "models")
        registry = Registry(directory / "registry")
        registry.publish(models)
        os.sched_setaffinity(0, {CLIENT_CORE})
        bench = Bench(directory, models, registry, given.rounds)
        sections: list[Section] = []
        for name in given.parts or PARTS:
            print(f"{name} …", flush=True)
            found = PARTS[name](bench)
            print("\n".join(section.text() for section in found), flush=True)
            sections += found
    text = page(sections, minutes=(time.monotonic() - began) / 60)
    print(text)
    if not given.parts:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
