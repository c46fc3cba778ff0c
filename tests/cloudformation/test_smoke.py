"""The smoke test with a real service: what it accepts and what it refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cloudformation import smoke_test
from cloudformation.smoke_test import Target, problems

EXAMPLE = {"features": [1, 2]}
MODELS = {"models": [{"name": "digits", "example": {"body": EXAMPLE}}, {"name": "wine", "example": {"body": EXAMPLE}}]}
GOOD = {"/health": (200, {}), "/models": (200, MODELS), "/models/digits/predict": (200, {"prediction": 1})}
GOOD |= {"/models/wine/predict": (200, {"prediction": 2})}


class Answers:
    """A server on loopback that answers each path as it is told, and notes what it was asked."""

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, str | None, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                sent = json.loads(body) if body else None
                server.asked.append((self.command, self.path, self.headers.get("X-Smoke"), sent))
                status, content = server.answers[self.path]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

            do_POST = do_GET

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def answers() -> Iterator[Answers]:
    server = Answers(dict(GOOD))
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_service_passes_that_is_ready_and_predicts(answers: Answers) -> None:
    assert problems(Target(answers.url, headers={"X-Smoke": "green"})) == []
    assert ("POST", "/models/wine/predict", "green", EXAMPLE) in answers.asked
    assert {seen for _, _, seen, _ in answers.asked} == {"green"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"/health": (503, {"error": "digits is missing"})}, "/health answered 503: digits is missing"),
        ({"/models/wine/predict": (500, {"error": "internal"})}, "/models/wine/predict answered 500: internal"),
        ({"/models/wine/predict": (400, {"error": "no such column"})}, "answered 400: no such column"),
        ({"/models/digits/predict": (404, {})}, "/models/digits/predict answered 404"),
        ({"/models": (404, {"error": "nothing here"})}, "does not answer as a service: KeyError"),
        ({"/health": (200, b"<html>")}, "does not answer as a service: JSONDecodeError"),
    ],
)
def test_service_fails_by_what_is_wrong(answers: Answers, changes: dict[str, Any], said: str) -> None:
    answers.answers |= changes
    (found,) = problems(Target(answers.url))
    assert said in found


def test_predictions_that_need_a_key_are_no_fault(answers: Answers) -> None:
    answers.answers["/models/wine/predict"] = (401, {"error": "a key is needed"})
    assert problems(Target(answers.url)) == []


def test_service_that_is_not_there_fails() -> None:
    assert "does not answer as a service" in problems(Target("http://127.0.0.1:9"))[0]


@pytest.mark.parametrize(("health", "status"), [(200, "SUCCEEDED"), (503, "FAILED")])
def test_hook_answers_ecs(answers: Answers, health: int, status: str) -> None:
    answers.answers["/health"] = (health, {})
    # The name in the URL is the certificate's; the balancer's own address is what is connected to.
    url = f"http://api.example.com:{answers.server.server_port}"
    details = {"url": url, "address": "127.0.0.1", "headers": {"X-Smoke": "green"}}
    assert smoke_test.handler({"hookDetails": details}, None) == {"hookStatus": status}
    assert {seen for _, _, seen, _ in answers.asked} == {"green"}
