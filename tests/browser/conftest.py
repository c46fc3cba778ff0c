"""A real Chromium in front of a real server; the replicas are reported as their reconcilers would report them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from playwright.sync_api import Browser, Page

from models_registry import services
from models_registry.models import RegisteredModel
from models_registry.services.rollout import ModelReport

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 800}


@pytest.fixture
def open_page(chromium: Browser, live_server) -> Iterator[Callable[..., Page]]:
    """Return a way to look as a new person with these permissions; a script's error fails the test."""
    contexts, problems = [], []

    def open_it(*codenames: str, name: str = "ann", is_superuser: bool = False, size: dict = DESKTOP) -> Page:
        user = User.objects.create_user(name, password="opens", is_staff=True, is_superuser=is_superuser)
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="models_registry", codename__in=codenames)
        )
        context = chromium.new_context(base_url=live_server.url, viewport=size)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not problems


class Replicas:
    """Replicas that are alive, and report what a test says."""

    def __init__(self, model: RegisteredModel, pids: tuple[int, ...]) -> None:
        self._model = model
        self._reports: dict[int, ModelReport] = {}
        self._lock = threading.Lock()
        self.pids = pids

    def serve(self, pid: int, number: int | None, *, state: str = "serving", reason: str = "", text: str = "") -> None:
        """Let a replica say that it serves that version, in the model's present generation where it is active."""
        self._model.refresh_from_db()
        version = self._model.versions.get(number=number) if number else None
        is_current = state == "serving" and version is not None and version.pk == self._model.active_version_id
        report = ModelReport(
            self._model.pk,
            state,
            self._model.generation if is_current else max(0, self._model.generation - 1),
            version.pk if version else None,
            reason,
            desired_generation=self._model.generation,
            runs={"form": "compiled", "text": text} if text else {"form": "native"},
        )
        with self._lock:
            self._reports[pid] = report
        self._send(pid, changed=True)

    def put_down(self, pid: int) -> None:
        """Let a replica say that it serves nothing of the model."""
        with self._lock:
            self._reports.pop(pid, None)
        self._send(pid, changed=True)

    def _send(self, pid: int, *, changed: bool) -> None:
        with self._lock:
            reports = [self._reports[pid]] if pid in self._reports else []
        services.report_replica(
            f"box-{pid}", host="box", pid=pid, started_at=datetime.now(UTC), reports=reports, changed=changed
        )

    @contextmanager
    def beating(self) -> Iterator[Replicas]:
        """Keep all of them alive until the end of the block."""
        for pid in self.pids:
            self._send(pid, changed=True)
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(1):
                for pid in self.pids:
                    self._send(pid, changed=False)
            connection.close()

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()
