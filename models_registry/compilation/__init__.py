"""Serves a verified compiled form of a model, if there is one that is right and faster.

`accelerate(request, cache_dir)` has an artifact compiled, once per machine, in its own process, and returns an
`AccelerationReport`; `open_compiled(report.directory)` opens the compiled form for serving, with onnxruntime and numpy
alone.
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
