"""Environment variables from JSON objects: one object of plain values, one of secrets.

A template has a fixed list of variables. These two objects let an operator set any other variable.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, MutableMapping


class ExtraEnvironmentError(ValueError):
    """The variable is not a JSON object of texts; the message never contains a value."""


def expand(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables in MLAPI_EXTRA_ENVIRONMENT and MLAPI_EXTRA_SECRETS, unless they are set already.

    Raises:
        ExtraEnvironmentError: one of them is not a JSON object of texts.
    """
    given = {
        "MLAPI_EXTRA_ENVIRONMENT": environment.get("MLAPI_EXTRA_ENVIRONMENT", ""),
        "MLAPI_EXTRA_SECRETS": environment.get("MLAPI_EXTRA_SECRETS", ""),
    }
    for source, text in given.items():
        for name, value in _read(source, text).items():
            environment.setdefault(name, value)


def _read(source: str, text: str) -> Mapping[str, str]:
    if not text.strip():
        return {}
    try:
        variables = json.loads(text)
    except ValueError:
        variables = None
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise ExtraEnvironmentError(f'{source} is not a JSON object of texts; expected {{"NAME": "value", …}}.')
    return variables
