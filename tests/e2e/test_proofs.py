"""The proof runs: what they take for a fault, and a short run of each."""

from __future__ import annotations

import faulthandler
import json
import os
import random
import socket

import pytest

from benchmarks import chaos, fuzz, fuzz_artifacts, leak
from benchmarks.chaos import Answer, History
from benchmarks.faulty_storage import MODES, faulty_storage
from benchmarks.fuzz import judge, spoilt, whole
from tests.support.databases import migrated_database

GOOD = b'HTTP/1.1 200 OK\r\nX-Request-ID: whole-1\r\nContent-Length: 17\r\n\r\n{"prediction":7.0}'
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("answers", "mismatched"),
    [
        ([(1, 1.0), (2, 2.0)], 0),
        ([(1, 2.0)], 1),
        ([(2, 2.5), (1, 1.0)], 1),
        ([(5, 5.0)], 1),
    ],
)
def test_an_answer_of_another_version_is_a_mismatch(answers, mismatched):
    history = History(answers=[Answer(0.0, version, prediction) for version, prediction in answers])
    assert len(history.mismatches(range(1, 5))) == mismatched


@pytest.mark.parametrize(
    ("status", "body", "header", "is_fault"),
    [
        (200, b'{"version": 1, "prediction": 1}', "1", False),
        (200, b'{"version": 1, "prediction": 1}', "2", True),
        (503, b'{"code": "overloaded"}', None, False),
        (500, b'{"code": "internal_error"}', None, True),
        (200, b"<html>", None, True),
    ],
)
def test_an_answer_outside_of_the_contract_is_a_fault(status, body, header, is_fault):
    history = History()
    history.take(status, body, header)
    assert bool(history.faults) is is_fault


@pytest.mark.parametrize(
    ("received", "is_clear", "is_fault"),
    [
        (b"", True, False),
        (REFUSED, True, False),
        (REFUSED + GOOD, True, False),
        (GOOD, True, False),
        (GOOD.replace(b"7.0", b"8.0"), False, True),
        (GOOD.replace(b"200 OK", b"400 No"), True, True),
        (GOOD.replace(b"200 OK", b"400 No"), False, False),
        (REFUSED + REFUSED + GOOD, True, True),
        (REFUSED + REFUSED + GOOD, False, False),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", False, True),
        (REFUSED + b"HTTP/1.1 502 Bad Gateway\r\n\r\n", False, True),
        (b"HTTP/1.1 oops\r\n\r\n", False, True),
        (REFUSED.replace(b"{}", b"no HTTP/1.0 and HTTP/1.1 a"), False, False),
        (b"nonsense", False, True),
    ],
)
def test_wrong_answer_to_a_whole_request_is_detected(received, is_clear, is_fault):
    assert (judge(received, "whole-1", is_clear=is_clear) is not None) is is_fault


def test_spoilt_requests_are_the_same_again_by_their_seed():
    first, again = ([spoilt(random.Random(seed)) for seed in range(200)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 150
    assert 40 < sum(is_clear for _, is_clear in first) < 120
    assert whole("x").endswith(b'{"features": [0, 0]}')


@pytest.mark.parametrize("mode", ["works", *MODES])
def test_the_storage_fails_as_it_is_told(mode):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000
    received = b""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        faulty_storage(f"http://127.0.0.1:{server.getsockname()[1]}") as storage,
    ):
        storage.mode = mode
        with socket.create_connection(("127.0.0.1", int(storage.endpoint.rpartition(":")[2]))) as client:
            client.settimeout(1)
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            if mode in {"works", "cuts"}:
                behind, _ = server.accept()
                with behind:
                    behind.recv(100)
                    behind.sendall(answer)
            try:
                while part := client.recv(65_536):
                    received += part
            except TimeoutError:
                received = b"nothing"
    expected = {"works": answer, "fails": b"HTTP/1.1 503 Slow Down", "stalls": b"nothing", "cuts": answer[:700]}
    assert received == expected[mode] if mode != "fails" else received.startswith(expected[mode])


def figures(capsys) -> dict[str, object]:
    return json.loads(capsys.readouterr().out)


@pytest.mark.timeout(900)
@pytest.mark.any_database
def test_a_short_chaos_has_no_mismatch(capsys, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    status = chaos.run(seconds=12, seed=1, pause_seconds=0.05)
    told = figures(capsys)
    assert status == 0, told
    assert told["answers"] > 100
    assert told["mismatched"] == 0


@pytest.mark.timeout(900)
@pytest.mark.any_database
def test_a_short_fuzz_breaks_nothing(capsys, tmp_path):
    status = fuzz.run(requests=600, seed=1, database_url=migrated_database(tmp_path))
    told = figures(capsys)
    assert status == 0, told
    assert told["outcomes"]["whole ones answered"] > 50


@pytest.mark.timeout(900)
def test_a_short_fuzz_of_artifacts_hurts_no_process(capsys, tmp_path):
    status = fuzz_artifacts.run(files=150, seconds=600, seed=1, keep=tmp_path)
    told = figures(capsys)
    assert status == 0, told
    assert told["outcomes"]["refused by the inspection"] > 50
    assert told["outcomes"]["answered"] > 5


def abort_quietly(*arguments: object) -> None:
    """End the process by SIGABRT, without the traceback that pytest's fault handler prints beside a green run."""
    faulthandler.disable()
    os.abort()


@pytest.mark.timeout(900)
def test_a_process_that_crashes_is_a_fault(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_artifacts, "outcome_of", abort_quietly)
    assert fuzz_artifacts.run(files=2, seconds=600, seed=1, keep=tmp_path, kinds="sets.ubj") == 1
    assert ["SIGABRT" in fault for fault in figures(capsys)["faults"]] == [True, True]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.timeout(900)
@pytest.mark.any_database
def test_a_short_row_of_swaps_leaks_nothing(capsys, tmp_path):
    status = leak.run(swaps=30, database_url=migrated_database(tmp_path))
    told = figures(capsys)
    assert status == 0, told
