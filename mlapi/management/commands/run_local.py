"""`run_local`: everything that `make run` does after the requirements are installed."""

from __future__ import annotations

import io
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

READY_SECONDS = 120.0


class Command(BaseCommand):
    """Prepare the data, serve in the foreground, and say where."""

    # The storage that the checks would miss is made here first.
    requires_system_checks: list[str] = []
    help = "Migrates the database, publishes the demo into an empty registry, and serves on $PORT."

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until Ctrl-C."""
        try:
            self._serve()
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    def _serve(self) -> None:
        parts = urlsplit(settings.MODELS_STORAGE)
        if parts.scheme == "file":
            Path(unquote(parts.path)).mkdir(parents=True, exist_ok=True)
        self._require_port()
        account = self._prepare()
        command = [sys.executable, "-m", "gunicorn", "-c", str(settings.BASE_DIR / "gunicorn.conf.py")]
        # The terminal's Ctrl-C reaches this process alone, and the server is asked to end: in the middle of its start,
        # it would take the signal itself for a fault, with a traceback.
        asked: list[int] = []
        servers: list[subprocess.Popen[bytes]] = []

        def end(number: int, _frame: Any) -> None:
            asked.append(number)
            for server in servers:
                server.terminate()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, end)
        servers.append(subprocess.Popen(command, process_group=0))
        server = servers[0]
        if asked:
            server.terminate()
        try:
            if self._wait_until_ready(server):
                self._say_where(account)
        except OSError:
            # It may be gone by the time that it is asked which models it has.
            if not asked:
                raise
        status = server.wait()
        if asked:
            raise SystemExit(130 if asked[0] == signal.SIGINT else 0)
        if status:
            raise CommandError(f"The server ended with status {status}; its last lines above say why.")

    def _require_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", settings.PORT))  # noqa: S104 - as the server will
            except OSError as error:
                raise CommandError(
                    f"Port {settings.PORT} cannot be used: {error.strerror}. Stop what listens there, or choose "
                    "another: PORT=8123 make run"
                ) from error

    def _prepare(self) -> str:
        try:
            self._step("Database", "migrate", verbosity=0, skip_checks=False)
            if not (settings.STATIC_ROOT / "staticfiles.json").exists():
                self._step("Static files", "collectstatic", interactive=False, verbosity=0, ignore_patterns=["redoc"])
            account = io.StringIO()
            call_command("ensure_admin", stdout=account)
            call_command("publish_demo", stdout=self.stdout)
        except DatabaseError as error:
            raise CommandError(
                f"The registry's database cannot be used: {str(error).strip().splitlines()[0]}. Check DATABASE_URL."
            ) from error
        return account.getvalue().strip()

    def _step(self, title: str, command: str, **options: Any) -> None:
        self.stdout.write(f"{title} …")
        call_command(command, **options)

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> bool:
        self.stdout.write("Starting the service …")
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and server.poll() is None:
            try:
                with urllib.request.urlopen(f"{self._url()}/health/ready", timeout=5):  # noqa: S310 - our own
                    return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        if server.poll() is None:
            self.stderr.write(
                f"Not ready after {READY_SECONDS:.0f} s: see {self._url()}/health/ready for what is missing."
            )
        return False

    def _url(self) -> str:
        return f"http://localhost:{settings.PORT}"

    def _say_where(self, account: str) -> None:
        url = self._url()
        hint = "the password that was shown at the first start; a new one: python3 manage.py changepassword admin"
        lines = [
            "",
            f"API:    {url}",
            f"Docs:   {url}/docs",
            f"Admin:  {url}/admin/",
            f"        {account or 'Admin account: ' + hint}",
            "",
            *self._curl(),
            "",
            "Ctrl-C stops it.",
        ]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()

    def _curl(self) -> list[str]:
        """Return a line that works as it stands, for the default model."""
        with urllib.request.urlopen(f"{self._url()}/models", timeout=5) as answer:  # noqa: S310 - our own
            listing = orjson.loads(answer.read())
        for model in listing["models"]:
            if model["is_default"]:
                return [
                    "Try it:",
                    f"{model['example']['curl'].replace('/models/' + model['name'] + '/predict', '/predict')}",
                ]
        return ["No model is active yet: activate one in the admin."]
