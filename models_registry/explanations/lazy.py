"""Builds an explainer at the first request for an explanation, so that predictions have no cost for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from models_registry.artifacts.schema import Schema
from models_registry.errors import NotExplainable
from models_registry.explanations.base import CONTAINERS_WITHOUT_FEATURES

if TYPE_CHECKING:
    from models_registry.explanations.explainer import Explainer


class LazyExplainer:
    """Builds the explainer of a model once, from its native form."""

    def __init__(self, schema: Schema, open_native: Callable[[], Any], *, is_open: bool) -> None:
        """Store the schema of requests, and a function that returns the native estimator.

        `is_open` tells whether the estimator is in memory.
        """
        self._schema = schema
        self._open_native = open_native
        self._is_open = is_open
        self._guard = threading.Lock()
        self._made: Explainer | NotExplainable | None = None

    def is_refused(self) -> bool:
        """Return whether explanations are known to be refused; False if only the artifact can tell."""
        if not self._is_open and self._made is None:
            return self._schema.container in CONTAINERS_WITHOUT_FEATURES
        try:
            self.get()
        except NotExplainable:
            return True
        return False

    def get(self) -> Explainer:
        """Return the explainer.

        Raises NotExplainable if the contributions are not exact, and the errors of loading the model.
        """
        # Imported here: a worker without explanations does not load scipy for them.
        from models_registry.explanations.explainer import Explainer

        with self._guard:
            if self._made is None:
                try:
                    self._made = Explainer(self._open_native(), self._schema)
                except NotExplainable as error:
                    self._made = error.with_traceback(None)
        if isinstance(self._made, NotExplainable):
            raise NotExplainable(str(self._made))
        return self._made
