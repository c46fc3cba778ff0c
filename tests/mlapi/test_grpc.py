"""The Open Inference Protocol over gRPC: the same answers, refusals and limits as over HTTP."""

from __future__ import annotations

import asyncio
import gc
import json
import queue
import socket
import subprocess
import threading
from dataclasses import replace

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mlapi import draining
from mlapi.grpc import open_inference_pb2 as pb
from mlapi.grpc.server import InferenceServer
from mlapi.http import process
from mlapi.version import VERSION
from tests.support.estimators import constant, save
from tests.support.service import ROOT, free_port
from tests.support.waiting import eventually

ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
PLAIN = LogisticRegression().fit(ROWS, [0, 1, 0, 1])
TEXTS = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["good film", "bad film"], ["pos", "neg"])


class Caller:
    """A channel to a server on an event loop of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def __call__(self, method: str, request, answer, *, service: str = "inference.GRPCInferenceService", **metadata):
        call = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return call.with_call(request, metadata=tuple(metadata.items()), timeout=20)

    def infer(self, request, **metadata):
        return self("ModelInfer", request, pb.ModelInferResponse, **metadata)


@pytest.fixture
def ask():
    """Return a caller of a server that answers with this process's pipeline."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = InferenceServer(process.pipeline, port=0, host="127.0.0.1")
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(20)
    caller = Caller(server.port)
    caller.stop = lambda seconds: asyncio.run_coroutine_threadsafe(server.stop(seconds), loop)
    yield caller
    caller.channel.close()
    asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def raw(rows: np.ndarray, name: str = "m", **given) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="input", datatype="FP64", shape=rows.shape)
    return pb.ModelInferRequest(model_name=name, inputs=[tensor], raw_input_contents=[rows.tobytes()], **given)


def typed(datatype: str, values: list, name: str = "input", field: str = "fp64_contents") -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=[len(values), 1] if name != "input" else [len(values) // 2, 2]
    )
    getattr(tensor.contents, field).extend(values)
    return pb.ModelInferRequest(model_name="m", inputs=[tensor])


def refusal(ask, request, **metadata) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        ask.infer(request, **metadata)
    return refused.value


def test_raw_tensors_go_both_ways(ask, load):
    load(PLAIN)
    outputs = [pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in ("predict", "predict_proba")]
    response, call = ask.infer(raw(ROWS, id="seven", outputs=outputs), **{"x-request-id": "mine"})
    assert (response.model_name, response.model_version, response.id) == ("m", "1", "seven")
    assert [output.datatype for output in response.outputs] == ["INT64", "FP64"]
    labels, chances = response.raw_output_contents
    assert np.frombuffer(labels, np.int64).tolist() == PLAIN.predict(ROWS).tolist()
    np.testing.assert_allclose(np.frombuffer(chances).reshape(-1, 2), PLAIN.predict_proba(ROWS))
    assert dict(call.trailing_metadata())["x-request-id"] == "mine"


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("FP64", "fp64_contents", [0.0, 0.0, 1.0, 1.0]),
        ("FP32", "fp32_contents", [0.0, 0.0, 1.0, 1.0]),
        ("INT32", "int_contents", [0, 0, 1, 1]),
        ("INT64", "int64_contents", [0, 0, 1, 1]),
        ("UINT8", "uint_contents", [0, 0, 1, 1]),
        ("UINT64", "uint64_contents", [0, 0, 1, 1]),
    ],
)
def test_typed_contents_are_answered_in_kind(ask, load, datatype, field, values):
    load(PLAIN)
    response, _ = ask.infer(typed(datatype, values, field=field))
    assert list(response.outputs[0].contents.int64_contents) == [0, 1]
    assert not response.raw_output_contents


def test_compressed_message_is_refused(ask, load):
    load(PLAIN)
    call = ask.channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    with pytest.raises(grpc.RpcError) as refused:
        call(raw(np.zeros((10_000, 2))), compression=grpc.Compression.Gzip, timeout=20)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_call_without_a_message_is_refused(ask):
    call = ask.channel.stream_unary(
        "/inference.GRPCInferenceService/ModelInfer", response_deserializer=pb.ModelInferResponse.FromString
    )
    with pytest.raises(grpc.RpcError) as refused:
        call(iter(()), timeout=20)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "has no message" in refused.value.details()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (pb.ModelReadyRequest(name="m" * 70_000).SerializeToString(), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
@pytest.mark.parametrize(
    "method", ["inference.GRPCInferenceService/ServerLive", "inference.GRPCInferenceService/ModelReady"]
)
def test_message_that_is_no_small_one_is_refused(ask, method, message, code):
    with pytest.raises(grpc.RpcError) as refused:
        ask.channel.unary_unary(f"/{method}")(message, timeout=20)
    assert refused.value.code() == code


def test_bodies_share_the_memory_of_http(ask, load, monkeypatch):
    load(PLAIN)
    monkeypatch.setattr(process.admission, "max_body_bytes", 1_000_000)
    with process.admission.hold(900_000):
        assert refusal(ask, raw(np.zeros((20_000, 2)))).code() == grpc.StatusCode.UNAVAILABLE
    assert len(ask.infer(raw(np.zeros((20_000, 2))))[0].raw_output_contents[0]) == 160_000


def test_refused_calls_keep_no_body(ask, load):
    load(PLAIN)
    wrong = raw(np.full((500_000, 2), np.nan))
    refusal(ask, wrong)
    gc.collect()
    gc.disable()
    try:
        before = psutil.Process().memory_info().rss
        for _ in range(40):
            refusal(ask, wrong)
        assert psutil.Process().memory_info().rss - before < 160e6  # of 320 MB that were sent
    finally:
        gc.enable()


def test_texts_go_both_ways(ask, load):
    loaded = load(TEXTS)
    request = typed("BYTES", [b"good", b"bad"], name=loaded.schema.names[0], field="bytes_contents")
    response, _ = ask.infer(request)
    assert list(response.outputs[0].contents.bytes_contents) == [b"pos", b"neg"]


def both_kinds() -> pb.ModelInferRequest:
    request = typed("FP64", [0.0, 0.0])
    request.raw_input_contents.append(b"")
    return request


def two_contents() -> pb.ModelInferRequest:
    request = raw(ROWS)
    request.raw_input_contents.append(b"")
    return request


@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        (lambda: raw(ROWS[:, :1]), "INVALID_ARGUMENT", "wrong_feature_count"),
        (lambda: raw(ROWS, name="other"), "NOT_FOUND", "unknown_model"),
        (lambda: raw(ROWS, name="m/ready"), "NOT_FOUND", "not_found"),
        (lambda: raw(ROWS, name="a/b\nc"), "NOT_FOUND", "not_found"),
        (lambda: raw(ROWS, model_version="9"), "NOT_FOUND", "version_not_loaded"),
        (lambda: raw(np.full((1, 2), np.nan)), "INVALID_ARGUMENT", "invalid_feature"),
        (lambda: typed("FP16", [0.0, 0.0]), "INVALID_ARGUMENT", "invalid_tensor"),
        (lambda: typed("BYTES", [b"\xff", b"a"], field="bytes_contents"), "INVALID_ARGUMENT", "invalid_tensor"),
        (both_kinds, "INVALID_ARGUMENT", "invalid_request"),
        (two_contents, "INVALID_ARGUMENT", "invalid_request"),
        (lambda: pb.ModelInferRequest(model_name="m"), "INVALID_ARGUMENT", "invalid_request"),
    ],
)
def test_errors_have_a_status_and_a_code(ask, load, request_of, status, code):
    load(PLAIN)
    error = refusal(ask, request_of())
    assert (error.code().name, dict(error.trailing_metadata())["code"]) == (status, code)
    assert error.details()


def test_a_key_is_required_where_http_requires_one(ask, load, settings):
    load(PLAIN)
    settings.MLAPI_REQUIRE_API_KEY = True
    assert refusal(ask, raw(ROWS)).code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_message_over_the_limit_is_refused(ask, load, settings):
    load(PLAIN)
    settings.MLAPI_MAX_BODY_MB = 0.0001
    assert refusal(ask, raw(ROWS)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_server_and_models_describe_themselves(ask, load):
    load(PLAIN)
    answered, _ = ask("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
    assert (answered.name, answered.version) == ("mlapi", VERSION)
    model, _ = ask("ModelMetadata", pb.ModelMetadataRequest(name="m"), pb.ModelMetadataResponse)
    assert [(item.name, item.datatype, list(item.shape)) for item in model.inputs] == [("input", "FP64", [-1, 2])]
    for method, request, kind, word in (
        ("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse, "live"),
        ("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse, "ready"),
        ("ModelReady", pb.ModelReadyRequest(name="m"), pb.ModelReadyResponse, "ready"),
    ):
        assert getattr(ask(method, request, kind)[0], word) is True
    assert ask("ModelReady", pb.ModelReadyRequest(name="x"), pb.ModelReadyResponse)[0].ready is False


def test_health_and_reflection_are_served(ask, load):
    health = {"service": "grpc.health.v1.Health"}
    load(PLAIN)
    told, _ = ask("Check", health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse, **health)
    assert told.status == health_pb2.HealthCheckResponse.SERVING
    stream = ask.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (listed,) = stream(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=20)
    assert "inference.GRPCInferenceService" in {item.name for item in listed.list_services_response.service}


def health(ask) -> int:
    request, answer = health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse
    return ask("Check", request, answer, service="grpc.health.v1.Health")[0].status


def balancer_check(ask, message: bytes | None = b"") -> grpc.StatusCode:
    """Return the status of the check that a load balancer makes; with no message where it is None."""
    call = ask.channel.stream_unary("/AWS.ALB/healthcheck")
    try:
        call(iter(() if message is None else (message,)), timeout=20)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("message", [b"", None, b"\xff", b"m" * 3_000_000])
def test_balancer_s_check_is_ok_whatever_its_message(ask, load, message):
    load(PLAIN)
    assert balancer_check(ask, message) is grpc.StatusCode.OK


def test_balancer_s_check_of_an_unmodified_client_is_ok(ask, load):
    load(PLAIN)
    ask("healthcheck", health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse, service="AWS.ALB")


@pytest.mark.parametrize(("was_ready", "status"), [(False, grpc.StatusCode.UNAVAILABLE), (True, grpc.StatusCode.OK)])
def test_balancer_s_check_follows_that_of_http(ask, load, was_ready, status):
    load(PLAIN)
    snapshot = process.runtime.snapshot
    process.runtime.snapshot = replace(snapshot, desired={"m": 1, "other": 1}, was_ready=was_ready)
    assert balancer_check(ask) is status
    assert health(ask) == health_pb2.HealthCheckResponse.NOT_SERVING


def test_draining_server_is_not_serving_and_answers_calls(ask, load, tmp_path, monkeypatch):
    monkeypatch.setenv("MLAPI_VAR", str(tmp_path))
    load(PLAIN)
    assert (balancer_check(ask), health(ask)) == (grpc.StatusCode.OK, health_pb2.HealthCheckResponse.SERVING)
    draining.begin()
    assert balancer_check(ask) is grpc.StatusCode.UNAVAILABLE
    assert health(ask) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert ask("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse)[0].ready is False
    assert len(ask.infer(raw(ROWS))[0].outputs) == 1
    draining.clear()
    assert (balancer_check(ask), health(ask)) == (grpc.StatusCode.OK, health_pb2.HealthCheckResponse.SERVING)


class Waiting(ClassifierMixin, BaseEstimator):
    """Predicts when it is told to."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()
        self.classes_, self.n_features_in_ = np.array([0, 1]), 2

    def predict(self, rows: np.ndarray) -> np.ndarray:
        self.has_begun.set()
        assert self.may_end.wait(20)
        return np.zeros(len(rows), dtype=int)


def test_call_and_stream_finish_while_the_server_stops(ask, load):
    model = Waiting()
    load(model)
    infer = ask.channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    running = infer.future(raw(ROWS), timeout=20)
    questions: queue.SimpleQueue = queue.SimpleQueue()
    answers = ask.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter(questions.get, None), timeout=20)
    questions.put(reflection_pb2.ServerReflectionRequest(list_services=""))
    assert next(answers).list_services_response.service
    assert model.has_begun.wait(20)
    stopped = ask.stop(20)
    eventually(lambda: refuses_connections(ask.port))
    questions.put(reflection_pb2.ServerReflectionRequest(list_services=""))
    assert next(answers).list_services_response.service
    model.may_end.set()
    assert running.result().model_name == "m"
    assert not stopped.done()
    questions.put(None)
    stopped.result(20)


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


CLIENT = """
import json, select, sys
import numpy as np, tritonclient.grpc as triton
answers, failures = {}, 0
client = triton.InferenceServerClient(sys.argv[1])
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("m")
tensor = triton.InferInput("input", [1, 2], "FP64")
tensor.set_data_from_numpy(np.zeros((1, 2)))
print("ready", flush=True)
# A call every few milliseconds, until the input ends.
while not select.select([sys.stdin], [], [], 0.003)[0]:
    result = client.infer("m", [tensor])
    version = int(result.get_response().model_version)
    if float(result.as_numpy("predict").ravel()[0]) != version:
        failures += 1
    answers[version] = answers.get(version, 0) + 1
print(json.dumps({"answers": answers, "failures": failures}))
"""


@pytest.mark.any_database
def test_triton_client_sees_no_failure_during_version_changes(new_service, tmp_path):
    port = free_port()
    service = new_service(GRPC_PORT=str(port), WEB_WORKERS="2")
    service.add_ready("m", *(save(constant(number), tmp_path / f"{number}.joblib") for number in (1, 2)))
    service.start()
    command = [ROOT / ".venv-clients/bin/python", "-c", CLIENT, f"127.0.0.1:{port}"]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdout.readline() == "ready\n"
    service.manage_all(*(["activate_model", "m", 1 + turn % 2, "--wait"] for turn in range(1, 8)))
    told = json.loads(client.communicate(timeout=120)[0])
    assert told["failures"] == 0
    assert set(told["answers"]) == {"1", "2"}
