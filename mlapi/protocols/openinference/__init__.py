"""Open Inference Protocol v2 over REST, with Triton's extensions for binary tensors, repository and statistics.

`tensors` converts tensors, `requests` parses an inference request, `infer` answers it. `metadata` describes a model's
inputs and outputs, `repository` lists the loaded versions, `statistics` counts their predictions.
"""

from __future__ import annotations

from mlapi.protocols.openinference.infer import infer
from mlapi.protocols.openinference.metadata import model, model_config, model_ready, server
from mlapi.protocols.openinference.replies import error_reply, health_handler, unknown_address
from mlapi.protocols.openinference.repository import index, refuse_load
from mlapi.protocols.openinference.statistics import VersionStatistics, statistics

__all__ = [
    "VersionStatistics",
    "error_reply",
    "health_handler",
    "index",
    "infer",
    "model",
    "model_config",
    "model_ready",
    "refuse_load",
    "server",
    "statistics",
    "unknown_address",
]
