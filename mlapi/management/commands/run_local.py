"""`run_local`: what `make run` does after it has installed the requirements."""

from __future__ import annotations

import io
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from mlapi.sign_in.models import OneTimePassword
from models_registry import conf, services
from models_registry.errors import UnknownKey
from models_registry.models import RegisteredModel

READY_SECONDS = 120.0
KEY_NAME = "make run"


def publish_lines() -> list[str]:
    """Return the lines that tell how to publish a model from a shell without the service's settings."""
    storage = settings.MODELS_STORAGE
    is_default = storage == (settings.VAR_DIR / "models").as_uri()
    given = [] if is_default else [f"MODELS_STORAGE={shlex.quote(storage)}"]
    # `identity` removes credentials, which an endpoint may contain.
    endpoint = conf.storage().identity().endpoint
    given += [f"AWS_ENDPOINT_URL_S3={shlex.quote(endpoint)}"] if endpoint else []
    given += [f"MLAPI_VAR={shlex.quote(os.environ['MLAPI_VAR'])}"] if os.environ.get("MLAPI_VAR") else []
    line = " ".join([*given, ".venv/bin/python manage.py publish_model churn churn.joblib --activate"])
    # DATABASE_URL is not printed, because it contains a password.
    return [line, *(["In that shell, set the same DATABASE_URL as here."] if os.environ.get("DATABASE_URL") else [])]


class Command(BaseCommand):
    """Prepare the registry, serve in the foreground, and print the URLs."""

    # The checks require the storage, which this command creates.
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
        account = self._prepare(is_local=parts.scheme == "file")
        key = self._kept_key() if settings.MLAPI_REQUIRE_API_KEY else ""
        self._run_server(account, key)

    def _run_server(self, account: str, key: str) -> None:
        """Run gunicorn until it ends or a signal stops it, and print the URLs when it is ready."""
        command = [sys.executable, "-m", "gunicorn", "-c", str(settings.BASE_DIR / "gunicorn.conf.py")]
        # The server has its own process group: Ctrl-C reaches only this process, which then stops the server. A server
        # that is still starting would report the signal as an error with a traceback.
        received: list[int] = []
        servers: list[subprocess.Popen[bytes]] = []

        def end(number: int, _frame: Any) -> None:
            received.append(number)
            for server in servers:
                server.terminate()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, end)
        environment = {**os.environ, "MLAPI_BIND": self._host()}
        servers.append(subprocess.Popen(command, process_group=0, env=environment))
        server = servers[0]
        if received:
            server.terminate()
        try:
            if self._wait_until_ready(server):
                self._print_urls(account, key)
        except OSError:
            # The server may have ended before the query for its models.
            if not received:
                raise
        status = server.wait()
        if received:
            raise SystemExit(130 if received[0] == signal.SIGINT else 0)
        if status:
            raise CommandError(f"The server ended with status {status}; its last log lines give the reason.")

    def _require_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host(), settings.PORT))
            except OSError as error:
                raise CommandError(
                    f"Port {settings.PORT} cannot be used: {error.strerror}. Stop the program that uses it, "
                    "or choose another port: PORT=8123 make run"
                ) from error

    def _host(self) -> str:
        """Return the address to listen on, by default localhost."""
        return os.environ.get("MLAPI_BIND") or "127.0.0.1"

    def _kept_key(self) -> str:
        """Return the API key of `make run`; it is stored with the data, so that printed curl lines stay valid."""
        path = settings.VAR_DIR / "make-run-key"
        key = path.read_text().strip() if path.is_file() else ""
        in_use = {stored.digest for stored in services.read_keys()}
        if key and services.digest_of_key(key) in in_use:
            return key
        with suppress(UnknownKey):
            services.revoke_key(services.get_key(KEY_NAME), by=KEY_NAME)
        _, key = services.create_key(KEY_NAME, by=KEY_NAME)
        path.touch(mode=0o600)
        path.write_text(key)
        return key

    def _prepare(self, *, is_local: bool) -> str:
        try:
            self._step("Database", "migrate", verbosity=0, skip_checks=False)
            # At every start, because an update of the project or of a library changes static files.
            self._step("Static files", "collectstatic", interactive=False, verbosity=0, ignore_patterns=["redoc"])
            account = io.StringIO()
            call_command("ensure_admin", stdout=account)
            if is_local:
                call_command("publish_demo", stdout=self.stdout)
            else:
                self.stdout.write(f"The storage is {settings.MODELS_STORAGE}: the demo models are not published to it.")
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
                with urllib.request.urlopen(f"{self._url()}/health/ready", timeout=5):  # noqa: S310 - a local http URL
                    return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        if server.poll() is None:
            self.stderr.write(
                f"Not ready after {READY_SECONDS:.0f} s: {self._url()}/health/ready lists the missing models."
            )
        return False

    def _url(self) -> str:
        return f"http://localhost:{settings.PORT}"

    def _print_urls(self, account: str, key: str) -> None:
        url = self._url()
        lines = [
            "",
            f"API:    {url}",
            f"Docs:   {url}/docs",
            f"Admin:  {url}/admin/",
            f"        {account or self._account()}",
            "",
            *([f"Key:    {key}", ""] if key else []),
            *self._curl(key),
            "",
            "Ctrl-C stops it.",
        ]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()

    def _account(self) -> str:
        """Return a line that says which password the admin account has, if it is older than this start."""
        unused = OneTimePassword.objects.select_related("user").first()
        held = "your own password" if unused is None else "the one-time password of the first start"
        name = unused.user.get_username() if unused else os.environ.get("DJANGO_SUPERUSER_USERNAME") or "admin"
        return f"Admin account: user {name}, {held}; a new one: .venv/bin/python manage.py changepassword {name}"

    def _curl(self, key: str) -> list[str]:
        """Return a curl command for the default model that works unchanged."""
        with urllib.request.urlopen(f"{self._url()}/models", timeout=5) as answer:  # noqa: S310 - a local http URL
            listing = orjson.loads(answer.read())
        for model in listing["models"]:
            if model["is_default"]:
                return [
                    "Try it:",
                    model["example"]["curl"]
                    .replace(f"/models/{model['name']}/predict", "/predict")
                    .replace("$MLAPI_KEY", key),
                ]
        if RegisteredModel.objects.exists():
            return ["No model is active yet: activate one in the admin."]
        return [
            "No model yet: upload one in the admin, or publish it:",
            *publish_lines(),
        ]
