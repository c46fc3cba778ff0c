"""A connection waits for its caller only where nobody else waits behind it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from mlapi.connections import Connection, PatientParser, Together

PEER = ("127.0.0.1", 1234)
SERVER = ("127.0.0.1", 8000)
# More than the kernel keeps of it.
LARGE = os.urandom(10_000_000)


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    ours, caller = socket.socketpair()
    with ours, caller:
        caller.settimeout(10)
        yield Connection(Config(), ours, PEER, SERVER, {"wsgi.version": (1, 0)}), caller


def test_only_a_connection_of_the_short_way_reads_with_patience():
    parsers = {}
    for base in (None, {"wsgi.version": (1, 0)}):
        ours, caller = socket.socketpair()
        with ours, caller:
            conn = Connection(Config(), ours, PEER, SERVER, base)
            conn.init()
            parsers[base is None] = type(conn.parser)
    assert parsers == {True: RequestParser, False: PatientParser}


def test_an_answer_that_nobody_reads_is_kept_in_its_order(ends):
    conn, caller = ends
    conn.sock.setblocking(True)
    together = Together(conn)
    for piece in (b"head", LARGE, b"a", LARGE, b"b"):
        together.sendall(piece)
    together.flush()
    rest = conn.take_unsent()
    received = _receive(caller, 2 * len(LARGE) + 6 - len(rest))
    assert received + rest == b"head" + LARGE + b"a" + LARGE + b"b"
    assert not conn.unsent


def test_a_file_that_nobody_reads_is_kept_too(ends, tmp_path):
    conn, caller = ends
    conn.sock.setblocking(True)
    (tmp_path / "large").write_bytes(LARGE)
    together = Together(conn)
    together.sendall(b"head")
    with (tmp_path / "large").open("rb") as file:
        together.sendfile(file, offset=5, count=len(LARGE) - 10)
    together.flush()
    rest = conn.take_unsent()
    received = _receive(caller, len(LARGE) - 6 - len(rest))
    assert received + rest == b"head" + LARGE[5:-5]


def _receive(caller: socket.socket, size: int) -> bytes:
    return caller.recv(size, socket.MSG_WAITALL) if size else b""
