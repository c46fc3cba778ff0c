"""What the request pipeline knows of a route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlapi.protocols import native
from mlapi.protocols.base import Handler, HttpError, PredictionHandler, Reply

ErrorReply = Callable[[HttpError, str], Reply]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route: its pattern, its methods, the handler that answers, and how its protocol says errors."""

    name: str
    pattern: str
    handler: Handler | PredictionHandler
    methods: tuple[str, ...] = ("POST",)
    protocol: str = "native"
    error_reply: ErrorReply = native.error_reply
    content_types: tuple[str, ...] = ("application/json",)
    is_prediction: bool = True
    # Where predictions need an API key, this route does too.
    takes_key: bool = False
    any_host: bool = False
    is_quiet: bool = False
    # Answered on the event loop: it reads memory alone.
    is_inline: bool = False
    # For clients in MLAPI_ADMIN_CIDR with the metrics' token alone.
    is_internal: bool = False
    # A model that is loaded on demand is loaded for it.
    loads_model: bool = True
    # The caller may name what else it wants of the model, e.g. `transform`, which only the native one can.
    names_outputs: bool = False
