"""The replay of a deployed service's models, before a server that answers as the registry does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cloudformation import replay
from cloudformation.__main__ import main
from cloudformation.smoke_test import Target
from tests.cloudformation.test_smoke import Answers

MODEL = {"name": "digits", "active_version": 1, "versions": [{"number": 1, "state": "ready"}]}
WAITING = {"id": 7, "state": "waiting", "reason": None}
DONE = {"id": 7, "state": "done", "reason": None, "rows": 200, "changed": 3, "changed_percent": 1.5}
WAIT = f"/api/models/digits/replays/7?wait_seconds={replay.WAIT_SECONDS}"


@pytest.fixture
def answers() -> Iterator[Answers]:
    server = Answers({"/api/models": (200, [MODEL]), "/api/models/digits/replays": (201, WAITING), WAIT: (200, DONE)})
    yield server
    server.server.shutdown()
    server.server.server_close()


def found(answers: Answers, tolerate: float = 2) -> tuple[list[str], list[str]]:
    said: list[str] = []
    return replay.problems(Target(answers.url), tolerate=tolerate, say=said.append), said


def test_newest_ready_version_is_replayed(answers: Answers) -> None:
    versions = [*MODEL["versions"], {"number": 2, "state": "ready"}, {"number": 3, "state": "rejected"}]  # type: ignore[misc]
    answers.answers["/api/models"] = (200, [{**MODEL, "versions": versions}])
    assert found(answers) == ([], ["digits 2: 3 of 200 rows change (1.5 %)."])
    assert ("POST", "/api/models/digits/replays", None, {"version": 2}) in answers.asked


CASES: dict[str, tuple[dict[str, tuple[int, Any]], float, str]] = {
    "too much changes": ({}, 1, "At most 1 % are tolerated"),
    "replay failed": ({WAIT: (200, {**DONE, "state": "failed", "reason": "It crashed."})}, 2, "failed. It crashed."),
    "no permission": ({"/api/models/digits/replays": (403, {"error": "not you"})}, 2, "answered 403: not you"),
    "no token": ({"/api/models": (401, {"error": "a token is needed"})}, 2, "answered 401: a token is needed"),
}


@pytest.mark.parametrize("case", CASES)
def test_service_fails_by_what_is_wrong(case: str, answers: Answers) -> None:
    changes, tolerate, sentence = CASES[case]
    answers.answers |= changes
    (problem,), _ = found(answers, tolerate)
    assert sentence in problem


QUIET: dict[str, dict[str, tuple[int, Any]]] = {
    "not in service": {"/api/models": (200, [{**MODEL, "active_version": None}])},
    "nothing to compare with": {
        "/api/models/digits/replays": (400, {"code": "invalid_request", "error": "nothing to compare"})
    },
}


@pytest.mark.parametrize("case", QUIET)
def test_model_that_cannot_be_replayed_is_named(case: str, answers: Answers) -> None:
    answers.answers |= QUIET[case]
    problems, said = found(answers)
    assert (problems, len(said)) == ([], 1)
    assert "not replayed" in said[0]


def test_replay_without_a_token_is_asked_wrongly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLAPI_TOKEN", raising=False)
    assert main(["replay", "--env", "dev"]) == 2
    assert "MLAPI_TOKEN" in capsys.readouterr().err
