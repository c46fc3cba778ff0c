"""A proxy in front of an S3 server that fails, stalls or cuts answers short on command."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

REFUSAL = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CUT_AFTER_BYTES = 700
MODES = ("fails", "stalls", "cuts")


class FaultyStorage:
    """Listens on loopback; `mode` says what becomes of the connections that are made from now on."""

    def __init__(self, endpoint: str) -> None:
        self.mode = "works"
        parts = urlsplit(endpoint)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_over = threading.Event()

    @property
    def endpoint(self) -> str:
        """The address to give to clients."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Take connections until it is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._handle, args=(client, self.mode), daemon=True).start()

    def close(self) -> None:
        """End; what stalls is let go."""
        self._is_over.set()
        self._listener.close()

    def _handle(self, client: socket.socket, mode: str) -> None:
        with client, suppress(OSError):
            if mode == "stalls":
                self._is_over.wait(30)
            elif mode == "fails":
                client.recv(65_536)
                client.sendall(REFUSAL)
            else:
                self._pass_on(client, CUT_AFTER_BYTES if mode == "cuts" else None)

    def _pass_on(self, client: socket.socket, limit: int | None) -> None:
        with socket.create_connection(self._target) as server:
            threading.Thread(target=_pump, args=(client, server, None), daemon=True).start()
            _pump(server, client, limit)


def _pump(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    passed = 0
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data if limit is None else data[: max(0, limit - passed)])
            passed += len(data)
            if limit is not None and passed >= limit:
                break
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def faulty_storage(endpoint: str) -> Iterator[FaultyStorage]:
    """Run the proxy as long as the block lasts."""
    proxy = FaultyStorage(endpoint)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
