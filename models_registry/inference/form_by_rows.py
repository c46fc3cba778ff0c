"""Answers few rows by the compiled form, and many by the native one, each if it is faster."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog

from models_registry.artifacts.prediction import Prediction
from models_registry.inference.batching import DynamicBatcher, UnbatchedPredictor

log = structlog.get_logger(__name__)


class FormByRows:
    """Holds the compiled form, and the native one once a request of enough rows has come.

    The native form is opened in the background: it takes seconds and memory that most models never need. Until it is
    open, and if it cannot be opened, the compiled form answers.
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
        """Answer `native_from_rows` rows and more by what `open_native` returns; calls are counted as of `version_id`.

        `as_native` gives rows that were parsed for the compiled form as the native one takes them. Without `is_batched`
        several threads may call the native form at once, each for its own request.
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
        """The native form; None if it is not in memory."""
        return self._native

    async def predict(self, rows: Any, count: int) -> Prediction:
        """Return the answer to `count` rows."""
        if count < self._native_from_rows:
            return await self._compiled.predict(rows, count)
        if self._by_native is None:
            self._begin_opening()
            return await self._compiled.predict(rows, count)
        return await self._by_native.predict(self._as_native(rows), count)

    def wait_until_opened(self) -> None:
        """Wait until an opening that has begun has ended."""
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
