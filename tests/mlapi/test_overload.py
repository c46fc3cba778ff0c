"""What is too much at once is refused, in every protocol and through both hosts."""

from __future__ import annotations

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from mlapi import replica
from mlapi.foresight import FINDING, HAS_PLACE, MUST_BE_REFUSED, Finding, Foresight
from mlapi.lane import PredictionLane
from models_registry.artifacts.features import Feature
from models_registry.artifacts.signature import Signature
from tests.support.estimators import constant
from tests.support.waiting import eventually

LIMIT = 3
ONE_INPUT = Signature(inputs=(Feature("x"),))
TENSOR = {"inputs": [{"name": "input", "shape": [1, 1], "datatype": "FP64", "data": [1]}]}


class HeldModel:
    """Answers once the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def predict(self, rows):
        assert self.gate.wait(20)
        return rows[:, 0]


class UnreadBody:
    """A body that must not be read."""

    def read(self, size=-1):
        raise AssertionError("the body was read")

    readline = read


class BrokenBody:
    """A body whose caller's connection fails."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def read(self, size=-1):
        raise self._error

    readline = read


@contextmanager
def full(host, load, settings):
    """Have as many predictions under way as the worker takes."""
    settings.MLAPI_MAX_WAITING = LIMIT
    model = HeldModel()
    load(model, signature=ONE_INPUT)
    with ThreadPoolExecutor(LIMIT) as pool:
        asked = [pool.submit(host.post, "/predict", {"features": [1]}) for _ in range(LIMIT)]
        eventually(lambda: replica.runtime.is_full(LIMIT))
        try:
            yield model
        finally:
            model.gate.set()
        assert [future.result().status for future in asked] == [200] * LIMIT


@pytest.mark.parametrize("path", ["/predict", "/models/m/predict", "/models/m/versions/1/predict"])
def test_one_more_than_allowed_is_refused_with_when_to_come_again(host, load, settings, path):
    with full(host, load, settings):
        refused = host.post(path, {"features": [1]})
    assert refused.status == 503
    assert refused.json["code"] == "overloaded"
    assert "MLAPI_MAX_WAITING" in refused.json["error"]
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-request-id"] == refused.json["request_id"]


def test_a_refused_body_is_not_read(host, load, settings):
    with full(host, load, settings):
        body = b'{"features": [1]}'
        refused = host.request(
            "POST", "/predict", body, {"Content-Type": "application/json"}, **{"wsgi.input": UnreadBody()}
        )
    assert refused.status == 503


BROKEN = {
    408: TimeoutError("the caller sends too slowly"),
    400: ConnectionResetError(104, "Connection reset by peer"),
}


@pytest.mark.parametrize("status", BROKEN)
@pytest.mark.parametrize("path", ["/predict", "/invocations", "/v2/models/m/infer"])
def test_a_body_that_cannot_be_read_is_its_callers_error(host, load, path, status):
    load(HeldModel(), signature=ONE_INPUT)
    body = {"wsgi.input": BrokenBody(BROKEN[status])}
    answer = host.request("POST", path, b"{}", {"Content-Type": "application/json"}, **body)
    assert answer.status == status
    if path == "/predict":
        assert answer.json["code"] == {408: "request_timeout", 400: "incomplete_body"}[status]
    assert not replica.runtime.is_full(1)


def test_a_large_body_takes_several_places(host, load, settings):
    large = {"instances": [[1]] * 120_000}
    assert 500_000 < len(json.dumps(large)) < 750_000
    with full(host, load, settings) as model:
        settings.MLAPI_MAX_WAITING = LIMIT + 2
        refused = host.post("/predict", large)
        assert (refused.status, refused.json["code"]) == (503, "overloaded")
        assert "It needs 3 of them for a body of this size." in refused.json["error"]
        settings.MLAPI_MAX_WAITING = LIMIT + 3
        with ThreadPoolExecutor(1) as pool:
            served = pool.submit(host.post, "/predict", large)
            eventually(lambda: replica.runtime.is_full(LIMIT + 3))
            model.gate.set()
        assert served.result().status == 200
    assert not replica.runtime.is_full(1)
    settings.MLAPI_MAX_WAITING = 1
    assert host.post("/predict", large).status == 200, "one alone is let in, whatever it needs"


def test_the_other_protocols_refuse_in_their_own_words(host, load, settings):
    with full(host, load, settings):
        answers = [
            host.post("/v2/models/m/infer", TENSOR),
            host.post("/invocations", {"inputs": [[1]]}),
        ]
    assert [answer.status for answer in answers] == [503, 503]
    assert all(answer.headers["retry-after"] == "1" for answer in answers)


def test_health_and_the_catalogue_answer_meanwhile(host, load, settings):
    with full(host, load, settings):
        assert host.get("/health/live").status == 200
        assert host.get("/health/ready").status == 200
        assert host.get("/models").status == 200


def test_what_was_refused_is_served_when_there_is_room_again(host, load, settings):
    with full(host, load, settings):
        assert host.post("/predict", {"features": [1]}).status == 503
    assert host.post("/predict", {"features": [1]}).json["prediction"] == 1.0
    assert not replica.runtime.is_full(1)


def test_requests_that_fail_leave_no_trace_in_the_count(host, load):
    load(HeldModel(), signature=ONE_INPUT)
    for body in (b"{", b"", b'{"features": ["x"]}', b'{"features": []}'):
        assert host.post("/predict", body).status == 400
    assert not replica.runtime.is_full(1)


def test_a_worker_learns_beforehand_what_a_request_takes(load, settings):
    lane = PredictionLane(lambda environ, start: [], replica.gate)
    slow = load(HeldModel(), name="slow", signature=ONE_INPUT)
    load(HeldModel(), name="quick", signature=ONE_INPUT, brief_bytes=8_192)
    assert not slow.brief_bytes
    assert lane.foresee("/models/slow/predict", 100) is Foresight.LONG
    assert lane.foresee("/models/quick/predict", 100) is Foresight.BRIEF
    assert lane.foresee("/models/quick/predict", 10_000) is Foresight.LONG
    assert lane.foresee("/models/unknown/predict", 100) is Foresight.BRIEF
    assert lane.foresee("/health/ready", 0) is Foresight.BRIEF
    assert lane.foresee("/models", 0) is Foresight.UNKNOWN
    assert lane.foresee("/admin/", 0) is Foresight.UNKNOWN


def test_what_was_to_be_refused_is_not_run_where_others_would_wait_behind_it(host, load):
    load(HeldModel(), signature=ONE_INPUT)
    answer = host.request(
        "POST", "/predict", b'{"features": [1]}', {"Content-Type": "application/json"}, **{MUST_BE_REFUSED: True}
    )
    assert answer.json["code"] == "overloaded"


def test_what_was_foreseen_as_brief_is_answered_though_a_swap_brought_a_slower_model(host, load):
    lane = PredictionLane(lambda environ, start: [], replica.gate)
    load(constant(1), name="m", signature=ONE_INPUT, brief_bytes=8_192)
    assert lane.foresee("/models/m/predict", 100) is Foresight.BRIEF
    load(constant(2), name="m", number=2, signature=ONE_INPUT)
    answer = host.post("/models/m/predict", {"features": [1]})
    assert (answer.status, answer.json["prediction"]) == (200, 2.0)


def test_what_only_the_native_model_can_is_foreseen_as_long(load):
    lane = PredictionLane(lambda environ, start: [], replica.gate)
    signature = replace(ONE_INPUT, methods=("predict", "transform"))
    load(constant(1), name="m", signature=signature, brief_bytes=500)
    assert lane.foresee("/v2/models/m/infer", 100) is Foresight.LONG
    assert lane.foresee("/models/m/predict", 100) is Foresight.BRIEF
    assert lane.foresee("/models/m/predict", 501) is Foresight.LONG
    load(constant(1), name="m", number=2, signature=ONE_INPUT, brief_bytes=500)
    assert lane.foresee("/v2/models/m/infer", 100) is Foresight.BRIEF


def test_a_place_that_the_worker_took_is_the_requests_own(host, load, settings):
    settings.MLAPI_MAX_WAITING = 1
    lane = PredictionLane(lambda environ, start: [], replica.gate)
    load(constant(1), name="m", signature=ONE_INPUT)
    assert lane.take_place()
    assert not lane.take_place()
    try:
        told = {HAS_PLACE: True}
        assert host.post("/predict", {"features": [1]}).json["code"] == "overloaded"
        body = b'{"features": [1]}'
        assert host.request("POST", "/predict", body, {"Content-Type": "application/json"}, **told).status == 200
        assert not lane.take_place(), "who took it gives it back"
    finally:
        lane.give_place_back()
    assert lane.take_place()
    lane.give_place_back()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"REQUEST_METHOD": "GET"}, "method_not_allowed"),
        ({"HTTP_HOST": "elsewhere.example"}, "invalid_host"),
        ({"CONTENT_TYPE": "text/plain"}, "unsupported_media_type"),
        ({}, "missing_api_key"),
    ],
)
def test_a_head_says_what_is_refused_whatever_the_body_says(host, load, settings, changes, code):
    settings.MLAPI_REQUIRE_API_KEY = code == "missing_api_key"
    settings.ALLOWED_HOSTS = ["localhost", "testserver"]
    load(HeldModel(), name="m", signature=ONE_INPUT)
    lane = PredictionLane(lambda environ, start: [], replica.gate)
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/models/m/predict",
        "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "application/json",
    }
    finding = lane.examine({**environ, **changes})
    assert finding.refusal.code == code
    answer = host.request("POST", "/predict", b"{", {"Content-Type": "application/json"}, **{FINDING: finding})
    assert answer.json["code"] == code, "what was found is not looked for again"


def test_what_was_found_when_it_came_is_not_looked_for_again(host, load, settings):
    settings.MLAPI_REQUIRE_API_KEY = True
    load(constant(1), name="m", signature=ONE_INPUT)
    known = {FINDING: Finding("somebody")}
    body = b'{"features": [1]}'
    assert host.request("POST", "/predict", body, {"Content-Type": "application/json"}, **known).status == 200


def test_a_quick_model_answers_though_a_slow_one_has_taken_every_place(host, load, settings):
    lane = PredictionLane(lambda environ, start: [], replica.gate)
    with full(host, load, settings):
        load(constant(2), name="quick", signature=ONE_INPUT, brief_bytes=8_192)
        assert lane.foresee("/models/quick/predict", 100) is Foresight.BRIEF
        assert host.post("/models/quick/predict", {"features": [1]}).json["prediction"] == 2.0
        many = host.post("/models/quick/predict", {"instances": [[1]] * 3_000})
        packed = gzip.compress(json.dumps({"instances": [[1]] * 3_000}).encode())
        assert len(packed) < 1_000
        unpacked = host.request(
            "POST", "/models/quick/predict", packed, {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        )
    assert [many.json["code"], unpacked.json["code"]] == ["overloaded"] * 2, "many rows take a place"
    assert not replica.runtime.is_full(1)


def test_the_count_is_right_whoever_counts():
    runtime = type(replica.runtime)()
    with ThreadPoolExecutor(8) as pool:
        let_in = list(pool.map(lambda _: runtime.admit(100), range(500)))
    assert sum(let_in) == 100
    for _ in range(100):
        runtime.leave()
    assert runtime.admit(1)
    assert np.count_nonzero([runtime.admit(1) for _ in range(10)]) == 0
