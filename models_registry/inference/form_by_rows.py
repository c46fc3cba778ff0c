"""Predicts few rows with the compiled form and many rows with the native form, whichever is faster."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog

from models_registry.artifacts.prediction import Prediction
from models_registry.inference.batching import DynamicBatcher, UnbatchedPredictor

log = structlog.get_logger(__name__)


class FormByRows:
    """Holds the compiled form, and after a request with enough rows also the native form.

    The native form is loaded in the background: it takes seconds and memory that most models never need. Until then, or
    if the load fails, the compiled form predicts.
    """

    def __init__(
        self,
        compiled: Any,
        *,
        version_id: int,
        native_from_rows: int,
        open_native: Callable[[], Any],
        as_native: Callable[[Any], Any],
        is_batched: bool = True,
    ) -> None:
        """Predict `native_from_rows` rows or more with the result of `open_native`.

        `as_native` converts rows parsed for the compiled form to the native form. Without `is_batched`, several threads
        may call the native form at the same time, each for its own request.
        """
        self._compiled = UnbatchedPredictor(compiled, version_id=version_id)
        self._version_id = version_id
        self._native_from_rows = native_from_rows
        self._open_native = open_native
        self._as_native = as_native
        self._is_batched = is_batched
        self._guard = threading.Lock()
        self._opening: threading.Thread | None = None
        self._native: Any = None
        self._by_native: DynamicBatcher | UnbatchedPredictor | None = None

    @property
    def native(self) -> Any:
        """The native form; None if it is not loaded."""
        return self._native

    async def predict(self, rows: Any, count: int) -> Prediction:
        """Return the prediction for `count` rows."""
        if count < self._native_from_rows:
            return await self._compiled.predict(rows, count)
        if self._by_native is None:
            self._begin_opening()
            return await self._compiled.predict(rows, count)
        return await self._by_native.predict(self._as_native(rows), count)

    def wait_until_opened(self) -> None:
        """Wait for the end of a load that has started."""
        if self._opening is not None:
            self._opening.join()

    def _begin_opening(self) -> None:
        with self._guard:
            if self._opening is None:
                self._opening = threading.Thread(target=self._open, name="native-form", daemon=True)
                self._opening.start()

    def _open(self) -> None:
        try:
            native = self._open_native()
        except Exception as error:  # noqa: BLE001 - an artifact may raise anything; the compiled form goes on
            log.warning("native_form_not_opened", reason=str(error), next="The compiled form answers all requests.")
            return
        predictor = DynamicBatcher if self._is_batched else UnbatchedPredictor
        self._native, self._by_native = native, predictor(native, version_id=self._version_id)
