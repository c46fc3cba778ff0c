"""Batch scoring: a checked version over files of any size, in bounded memory, and inside other engines.

`mlapi_model` may be imported where Django is not set up, as in a script of another engine.
"""

from models_registry.scoring.engine import mlapi_model

__all__ = ["mlapi_model"]
