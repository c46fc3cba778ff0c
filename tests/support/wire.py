"""Requests and answers as bytes on a connection."""

from __future__ import annotations

import json
import socket

BODY = json.dumps({"features": [0, 0, 0, 0]}).encode()


def request(path: str = "/models/quick/predict", *lines: str, body: bytes = BODY, method: str = "POST") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


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
