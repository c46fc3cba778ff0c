"""A route of the request pipeline and its properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlapi.protocols import native
from mlapi.protocols.base import Handler, HttpError, PredictionHandler, Reply

ErrorReply = Callable[[HttpError, str], Reply]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route: its pattern, its methods, its handler, and its protocol's form of errors."""

    name: str
    pattern: str
    handler: Handler | PredictionHandler
    methods: tuple[str, ...] = ("POST",)
    # Label of the metrics and field of the log. docs/observability.md lists its values.
    protocol: str = "native"
    error_reply: ErrorReply = native.error_reply
    content_types: tuple[str, ...] = ("application/json",)
    is_prediction: bool = True
    # Whether this route needs an API key if predictions need one.
    takes_key: bool = False
    # Whether every Host is accepted, also outside DJANGO_ALLOWED_HOSTS.
    any_host: bool = False
    # Whether its requests are neither logged nor counted.
    is_quiet: bool = False
    # Answered on the event loop: the handler only reads memory.
    is_inline: bool = False
    # Only for clients in MLAPI_ADMIN_CIDR with the metrics token.
    is_internal: bool = False
    # Whether a request triggers the load of a model that is loaded on demand.
    loads_model: bool = True
    # Whether the client may request other outputs, e.g. `transform`, which only the native model has.
    names_outputs: bool = False
