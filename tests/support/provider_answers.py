"""Sign-ins at a provider whose answers are given, in a process whose settings name that provider."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

Answers = dict[str, Any]
CONFIGURATION, TOKEN, USER = "/.well-known/openid-configuration", "/token", "/userinfo"
NO_TYPE = "no content type"


def _ordinary(issuer: str) -> Answers:
    """Return the answers of a provider by path: JSON values, or bytes as they are."""
    subject = {"sub": "00u1", "email": "ann@example.com", "groups": ["ml-admins"]}
    claims = {**subject, "iss": issuer, "aud": "registry", "exp": int(time.time()) + 600}
    return {
        CONFIGURATION: {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": issuer + TOKEN,
            "userinfo_endpoint": issuer + USER,
            "jwks_uri": f"{issuer}/keys",
        },
        TOKEN: {
            "access_token": "a",
            "expires_in": 600,
            "id_token": jwt.encode(claims, "of the provider, 32 bytes or more", algorithm="HS256"),
        },
        USER: subject,
    }


def _replaced(path: str, answer: Any) -> Callable[[Answers], None]:
    return lambda answers: answers.update({path: answer})


def _changed(path: str, **fields: Any) -> Callable[[Answers], None]:
    return lambda answers: answers[path].update(fields)


def _without(path: str, field: str) -> Callable[[Answers], None]:
    return lambda answers: answers[path].pop(field)


MALFORMED: dict[str, Callable[[Answers], Any]] = {
    "configuration of text": _replaced(CONFIGURATION, b"<html>"),
    "configuration of a list": _replaced(CONFIGURATION, []),
    "configuration without authorization endpoint": _without(CONFIGURATION, "authorization_endpoint"),
    "configuration without token endpoint": _without(CONFIGURATION, "token_endpoint"),
    "configuration without userinfo endpoint": _without(CONFIGURATION, "userinfo_endpoint"),
    "configuration with a number as endpoint": _changed(CONFIGURATION, token_endpoint=1),
    "token without content type": _changed(TOKEN, **{NO_TYPE: True}),
    "token with a lifetime in words": _changed(TOKEN, expires_in="soon"),
    "user of text": _replaced(USER, b"ann"),
    "user without subject": _without(USER, "sub"),
    "user with an empty subject": _changed(USER, sub=""),
}


@contextmanager
def _provider(port: int, answers: Answers) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers[self.path]
            is_typed = not (isinstance(answer, dict) and answer.get(NO_TYPE))
            content = answer if isinstance(answer, bytes) else json.dumps(answer, indent=1).encode()
            self.send_response(200)
            if is_typed:
                self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _sign_in() -> tuple[int, str]:
    """Return the status and the text of the last answer of a sign-in."""
    from django.test import Client

    client = Client(raise_request_exception=False, SERVER_NAME="localhost")
    answer = client.get("/admin/sign-in/")
    if answer.status_code == 302:
        state = parse_qs(urlsplit(answer["Location"]).query)["state"][0]
        answer = client.get("/admin/sign-in/callback/", {"code": "x", "state": state})
    return answer.status_code, answer.content.decode()


@contextmanager
def _failing_receiver(error: Exception) -> Iterator[None]:
    """Let a receiver of this service raise at each sign-in."""
    from django.contrib.auth.signals import user_logged_in

    def fail(**_: Any) -> None:
        raise error

    user_logged_in.connect(fail)
    try:
        yield
    finally:
        user_logged_in.disconnect(fail)


def main() -> None:
    """Sign in once for each malformed answer, and with faults of the service; print the results as JSON."""
    from django.conf import settings
    from django.core.management import call_command
    from django.test import override_settings

    call_command("migrate", verbosity=0)
    issuer = settings.MLAPI_OIDC_ISSUER
    answers = _ordinary(issuer)
    results: dict[str, tuple[int, str]] = {}
    with _provider(urlsplit(issuer).port or 0, answers):
        for name, change in MALFORMED.items():
            change(answers)
            results[name] = _sign_in()
            answers.update(_ordinary(issuer))
        for error in (KeyError("ours"), ValueError("ours")):
            with _failing_receiver(error):
                results[type(error).__name__] = _sign_in()
        app = {"provider_id": "oidc", "name": "Example ID", "client_id": "registry", "secret": "", "settings": {}}
        with override_settings(SOCIALACCOUNT_PROVIDERS={"openid_connect": {"APPS": [app]}}):
            results["setting without address"] = _sign_in()
        results["ordinary"] = _sign_in()
    print(json.dumps(results))
