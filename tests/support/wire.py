"""Requests and answers as bytes on a connection."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.support.waiting import eventually

BODY = json.dumps({"features": [0, 0, 0, 0]}).encode()


def request(path: str = "/models/quick/predict", *lines: str, body: bytes = BODY, method: str = "POST") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def until_read(*connections: socket.socket) -> None:
    """Wait until the server, on this machine, has read every byte that was sent on these connections."""
    ports = {connection.getsockname()[1] for connection in connections}
    eventually(lambda: not ports & _ports_with_unread_bytes(), saying="the server reads what was sent")


def _ports_with_unread_bytes() -> set[int]:
    """Return the ports from which bytes were sent that are not read yet, by the kernel's table of TCP connections."""
    unread = set()
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        local, remote, _, queues = line.split()[1:5]
        for end, size in zip((local, remote), queues.split(":"), strict=True):
            if int(size, 16):
                unread.add(int(end.rpartition(":")[2], 16))
    return unread


def receive(connection: socket.socket, count: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
    """Return the status, headers and body of the next `count` answers; an early end is an empty list's error."""
    found = []
    with connection.makefile("rb") as stream:
        for _ in range(count):
            status = int(stream.readline().split()[1])
            lines = iter(stream.readline, b"\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.decode().partition(":") for line in lines)
            }
            found.append((status, headers, stream.read(int(headers["content-length"]))))
    return found
