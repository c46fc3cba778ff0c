"""Too many predictions at once are refused, in every protocol and through both hosts."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from mlapi import replica
from mlapi.http.application import Application
from mlapi.http.process import admission, pipeline
from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.inference.batching import UnbatchedPredictor
from tests.support.asgi import AsgiClient
from tests.support.estimators import constant
from tests.support.waiting import eventually

LIMIT = 3
ONE_INPUT = Schema(inputs=(Feature("x"),))
TENSOR = {"inputs": [{"name": "input", "shape": [1, 1], "datatype": "FP64", "data": [1]}]}
JSON = {"Content-Type": "application/json"}


class HeldModel:
    """Answers once it is open."""

    def __init__(self) -> None:
        self.is_open = threading.Event()

    def predict(self, rows):
        assert self.is_open.wait(20)
        return rows[:, 0]


@contextmanager
def full(host, load, monkeypatch):
    """Have as many predictions in flight as a worker takes."""
    monkeypatch.setattr(admission, "max_in_flight", LIMIT)
    monkeypatch.setattr(admission, "queue_timeout_seconds", 0)
    model = HeldModel()
    load(model, schema=ONE_INPUT)
    with ThreadPoolExecutor(LIMIT) as pool:
        asked = [pool.submit(host.post, "/predict", {"features": [1]}) for _ in range(LIMIT)]
        eventually(lambda: admission.in_flight == LIMIT)
        try:
            yield model
        finally:
            model.is_open.set()
        assert [future.result().status for future in asked] == [200] * LIMIT


def load_quick(load, name="quick", **given):
    loaded = load(constant(2), name=name, schema=ONE_INPUT, inline_max_bytes=8_192, **given)
    return replace(loaded, predictor=UnbatchedPredictor(loaded.estimator))


class ThreadNotingModel:
    """Notes the thread of its last call."""

    def predict(self, rows):
        self.thread = threading.get_ident()
        return rows[:, 0]


@pytest.mark.parametrize(
    ("blocks_loop", "inline_max_bytes", "rows", "is_on_loop"),
    [
        (False, 0, 1, True),
        (True, 0, 1, False),
        (True, 100, 1, True),
        (True, 100, 100, False),
        (True, 100, 9_000, False),
    ],
)
def test_slow_compiled_model_leaves_the_event_loop_free(load, blocks_loop, inline_max_bytes, rows, is_on_loop):
    model = ThreadNotingModel()
    loaded = load(model, schema=ONE_INPUT, blocks_loop=blocks_loop, inline_max_bytes=inline_max_bytes)
    snapshot = replica.runtime.snapshot
    unbatched = replace(loaded, predictor=UnbatchedPredictor(model))
    replica.runtime.snapshot = replace(snapshot, models={"m": unbatched})
    answer = AsgiClient(Application(pipeline, None)).post("/predict", {"instances": [[1]] * rows})
    # The client's loop runs in the thread of this test.
    assert (answer.status, model.thread == threading.get_ident()) == (200, is_on_loop)
    assert admission.in_flight == 0


@pytest.mark.parametrize("path", ["/predict", "/models/m/predict", "/models/m/versions/1/predict"])
def test_one_prediction_too_many_gets_503_with_retry_after(host, load, monkeypatch, path):
    with full(host, load, monkeypatch):
        refused = host.post(path, {"features": [1]})
    assert (refused.status, refused.json["code"]) == (503, "overloaded")
    assert "MLAPI_MAX_IN_FLIGHT" in refused.json["error"]
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-request-id"] == refused.json["request_id"]


def test_a_large_body_takes_several_slots(host, load, monkeypatch):
    large = {"instances": [[1]] * 120_000}
    assert 500_000 < len(json.dumps(large)) < 750_000
    with full(host, load, monkeypatch) as model:
        monkeypatch.setattr(admission, "max_in_flight", LIMIT + 2)
        refused = host.post("/predict", large)
        assert (refused.status, refused.json["code"]) == (503, "overloaded")
        assert "A body of this size needs 3 of them." in refused.json["error"]
        monkeypatch.setattr(admission, "max_in_flight", LIMIT + 3)
        with ThreadPoolExecutor(1) as pool:
            served = pool.submit(host.post, "/predict", large)
            eventually(lambda: admission.in_flight == LIMIT + 3)
            model.is_open.set()
        assert served.result().status == 200
    assert admission.in_flight == 0
    monkeypatch.setattr(admission, "max_in_flight", 1)
    assert host.post("/predict", large).status == 200, "one alone is admitted, whatever it needs"


COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_compressed_body_counts_as_what_it_becomes(host, load, monkeypatch, encoding):
    packed = COMPRESS[encoding](json.dumps({"instances": [[1]] * 400_000}).encode())
    assert len(packed) < 10_000
    with full(host, load, monkeypatch):
        monkeypatch.setattr(admission, "max_in_flight", LIMIT + 3)
        refused = host.post("/predict", packed, **{"Content-Encoding": encoding})
    assert (refused.status, refused.json["code"]) == (503, "overloaded")
    assert admission.in_flight == 0
    assert host.post("/predict", packed, **{"Content-Encoding": encoding}).status == 200


def test_body_with_a_false_size_gets_no_more_slots(host, load, monkeypatch):
    packed = gzip.compress(b" " * 2_000_000)[:-4] + (10).to_bytes(4, "little")
    with full(host, load, monkeypatch):
        monkeypatch.setattr(admission, "max_in_flight", LIMIT + 3)
        assert host.post("/predict", packed, **{"Content-Encoding": "gzip"}).status == 503
    assert admission.in_flight == 0


def test_other_protocols_refuse_in_their_own_form(host, load, monkeypatch):
    with full(host, load, monkeypatch):
        answers = [
            host.post("/v2/models/m/infer", TENSOR),
            host.post("/invocations", {"inputs": [[1]]}),
        ]
    assert [answer.status for answer in answers] == [503, 503]
    assert all(answer.headers["retry-after"] == "1" for answer in answers)
    assert set(answers[0].json) == {"error"}


def test_health_and_the_catalogue_answer_under_overload(host, load, monkeypatch):
    with full(host, load, monkeypatch):
        for path in ("/health/live", "/health/ready", "/models"):
            assert host.get(path).status == 200


def test_a_free_slot_is_taken_again(host, load, monkeypatch):
    with full(host, load, monkeypatch):
        assert host.post("/predict", {"features": [1]}).status == 503
    assert host.post("/predict", {"features": [1]}).json["prediction"] == 1.0
    assert admission.in_flight == 0


def test_requests_that_fail_hold_no_slot(host, load):
    load(HeldModel(), schema=ONE_INPUT)
    for body in (b"{", b"", b'{"features": ["x"]}', b'{"features": []}'):
        assert host.post("/predict", body).status == 400
    assert admission.in_flight == 0


def test_fast_model_answers_while_slow_one_holds_slots(host, load, monkeypatch):
    with full(host, load, monkeypatch):
        load_quick(load)
        assert host.post("/models/quick/predict", {"features": [1]}).json["prediction"] == 2.0
        many = host.post("/models/quick/predict", {"instances": [[1]] * 3_000})
        packed = gzip.compress(json.dumps({"instances": [[1]] * 3_000}).encode())
        unpacked = host.post("/models/quick/predict", packed, **{"Content-Encoding": "gzip"})
    assert [many.json["code"], unpacked.json["code"]] == ["overloaded"] * 2, "many rows take a slot"


def test_outputs_of_the_native_model_are_not_inline(host, load, monkeypatch):
    with full(host, load, monkeypatch):
        schema = replace(ONE_INPUT, methods=("predict", "transform"))
        load(constant(1), name="t", schema=schema, inline_max_bytes=8_192)
        assert host.post("/models/t/predict", {"features": [1]}).status == 200
        assert host.post("/v2/models/t/infer", TENSOR).status == 503


@pytest.mark.parametrize(
    ("method", "headers", "code"),
    [
        ("GET", {}, "method_not_allowed"),
        ("POST", {"Host": "elsewhere.example"}, "invalid_host"),
        ("POST", {"Content-Type": "text/plain"}, "unsupported_media_type"),
        ("POST", {"Content-Encoding": "br"}, "unsupported_encoding"),
        ("POST", {}, "missing_api_key"),
    ],
)
def test_what_its_head_refuses_takes_no_slot(  # noqa: PLR0917 - the fixtures and the case
    host, load, settings, monkeypatch, method, headers, code
):
    settings.MLAPI_REQUIRE_API_KEY = False
    settings.ALLOWED_HOSTS = ["localhost"]
    if "Host" in headers and host.is_behind_django:
        pytest.skip("Django's own host check answers this one")
    with full(host, load, monkeypatch):
        settings.MLAPI_REQUIRE_API_KEY = code == "missing_api_key"
        answer = host.request(method, "/predict", b"{", JSON | headers)
    assert answer.json["code"] == code


def test_a_large_answer_takes_memory_until_it_is_sent(load, monkeypatch):
    load(constant(1), schema=ONE_INPUT)
    monkeypatch.setattr(admission, "max_body_bytes", 100_000)
    client = AsgiClient(Application(pipeline, pipeline))
    answer = client.post("/predict", {"instances": [[1]] * 120_000})
    assert (answer.status, answer.json["code"]) == (503, "overloaded")
    monkeypatch.setattr(admission, "max_body_bytes", 1_000_000)
    for _ in range(3):
        assert len(client.post("/predict", {"instances": [[1]] * 120_000}).json["predictions"]) == 120_000


def test_a_disconnected_client_frees_its_slot(load, monkeypatch):
    model = HeldModel()
    load(model, schema=ONE_INPUT)
    sent = []

    async def leave_while_waiting() -> None:
        left = asyncio.Event()
        messages = [{"type": "http.request", "body": b'{"features": [1]}', "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "scheme": "http",
            "headers": [(b"host", b"localhost"), (b"content-length", b"17")],
            "client": ("127.0.0.1", 1),
        }
        asking = asyncio.create_task(Application(pipeline, pipeline)(scope, receive, send))
        await asyncio.to_thread(eventually, lambda: admission.in_flight == 1)
        left.set()
        await asking

    asyncio.run(leave_while_waiting())
    model.is_open.set()
    assert (sent[0]["status"], admission.in_flight) == (499, 0)


REFUSED = {
    "rows": b'{"instances":[' + b"[]," * 50_000 + b"[]]}",
    "features": b'{"features":[' + b"[]," * 50_000 + b"[]]}",
}


@pytest.fixture(scope="module")
def few_objects():
    """Leave what was made before out of every collection and count."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("few_objects")
@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("path", ["/predict", "/invocations", "/v2/models/m/infer"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_refused_body_is_freed_at_once(host, load, content, path, packed):
    load(constant(2), schema=ONE_INPUT)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        status = host.post(path, gzip.compress(content) if packed else content, **headers).status
        held = len(gc.get_objects()) - before
    finally:
        gc.enable()
    assert status == 400
    assert held < 40_000
