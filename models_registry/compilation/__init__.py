"""Serves a verified compiled form of a model if it is correct and faster.

`accelerate(request, cache_dir)` compiles an artifact in its own process, once per machine, and returns an
`AccelerationReport`. `open_compiled(report.directory)` opens the compiled form, which needs only onnxruntime and numpy.
"""

from models_registry.compilation.cache import prune
from models_registry.compilation.compiled import CompiledModel, open_compiled
from models_registry.compilation.compiling import accelerate
from models_registry.compilation.report import AccelerationReport, AccelerationRequest, Limits

__all__ = [
    "AccelerationReport",
    "AccelerationRequest",
    "CompiledModel",
    "Limits",
    "accelerate",
    "open_compiled",
    "prune",
]
