"""Discovers a model as soon as S3 reports a new file of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

import structlog
from django.conf import settings

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread
from models_registry.errors import RegistryError, StorageUnavailable
from models_registry.storage.notifications import BadNotification, Message, NotificationQueue, models_of

log = structlog.get_logger(__name__)

# A message whose discovery fails this often is dropped: the listing will find the file.
MAX_RECEIVES = 5
# Pause after a failure; otherwise the next call, which waits in SQS, starts at once.
RETRY_SECONDS = 15.0


class Queue(Protocol):
    """The interface of the queue."""

    def receive(self) -> list[Message]:
        """Wait for messages and return them; raises StorageUnavailable."""

    def delete(self, messages: list[Message]) -> None:
        """Delete messages; raises StorageUnavailable."""


class NotificationWatch:
    """A loop that waits for notifications; each message goes to one replica."""

    def __init__(self, queue: Queue, *, on_found: Callable[[], None]) -> None:
        """Read `queue`; `on_found` is called if there is something to validate."""
        storage = urlsplit(settings.MODELS_STORAGE)
        self._bucket, self._prefix = storage.netloc, storage.path.strip("/")
        self._queue = queue
        self._on_found = on_found
        self._is_away = False
        self._pause_seconds = 0.0
        self._thread = DatabaseThread("notifications", self.look, seconds=lambda: self._pause_seconds)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current call; other replicas receive further messages."""
        self._thread.stop(join_seconds=0)

    def look(self) -> None:
        """Wait for messages, discover the models that they name, and delete them."""
        self._pause_seconds = RETRY_SECONDS
        try:
            messages = self._queue.receive()
            self._queue.delete(self._handled(messages))
        except StorageUnavailable as error:
            if not self._is_away:
                log.error("queue_away", reason=str(error), next="The storage is listed every 15 minutes meanwhile.")
            self._is_away = True
            return
        self._is_away = False
        self._pause_seconds = 0.0

    def _handled(self, messages: list[Message]) -> list[Message]:
        """Discover the models in the messages; return the processed messages."""
        models: dict[str, list[Message]] = {}
        done = []
        for message in messages:
            named = self._models_of(message)
            if not named:
                done.append(message)
            for model in named:
                models.setdefault(model, []).append(message)
        failed = {message for model, about in models.items() if not self._discover(model) for message in about}
        done += [message for message in {one for about in models.values() for one in about} if message not in failed]
        for message in failed:
            if message.receives >= MAX_RECEIVES:
                log.warning("notification_dropped", reason=f"Its discovery failed {message.receives} times.")
                done.append(message)
        return done

    def _models_of(self, message: Message) -> set[str]:
        try:
            return models_of(message.body, bucket=self._bucket, prefix=self._prefix)
        except BadNotification as error:
            log.warning("notification_dropped", reason=str(error))
            return set()

    def _discover(self, model: str) -> bool:
        try:
            result = services.discover(only=model)
        except RegistryError as error:
            log.error("discovery_failed", model=model, reason=str(error))
            return False
        if result.found or result.returned:
            self._on_found()
        return True


def notification_watch(on_found: Callable[[], None]) -> NotificationWatch | None:
    """Return the watch of MODELS_QUEUE_URL, or None if none is set."""
    url = settings.MODELS_QUEUE_URL
    return NotificationWatch(NotificationQueue(url), on_found=on_found) if url else None
