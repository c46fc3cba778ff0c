"""Batch scoring: a validated version on files of any size, in bounded memory, also inside other engines.

`mlapi_model` can be imported without a Django setup, for example in a script of another engine.
"""

from models_registry.scoring.engine import mlapi_model

__all__ = ["mlapi_model"]
