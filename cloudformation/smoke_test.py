"""A smoke test of a running service: it is ready, and each of its models answers its own example.

Run by `python -m cloudformation smoke`, and, as this very text, by the Lambda function that ECS calls before it shifts
traffic to a new image. So it needs nothing but Python.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any, NamedTuple
from urllib.parse import urlsplit

SECONDS = 10


class Target(NamedTuple):
    """Where a service is. `address` is connected to in place of the URL's host; `headers` go with each request."""

    url: str
    address: str = ""
    headers: dict[str, str] = {}

    def call(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Return status and JSON of a GET, or of a POST if there is a body."""
        parts = urlsplit(self.url)
        host, is_tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
        connection.sock = socket.create_connection((self.address or host, port), SECONDS)
        if is_tls:
            connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=host)
        try:
            sent = {"Content-Type": "application/json", "Accept": "application/json", **self.headers}
            content = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", path, content, sent)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or "{}")
        finally:
            connection.close()


def problems(target: Target) -> list[str]:
    """Return a sentence for each thing that is wrong, none where the service answers as it should."""
    found = []
    try:
        status, health = target.call("/health")
        if status != 200:
            return [f"/health answered {status}: {health.get('error', '')}"]
        for model in target.call("/models")[1]["models"]:
            path = f"/models/{model['name']}/predict"
            status, answer = target.call(path, model["example"]["body"])
            # Where predictions need a key, the refusal shows that the service answers.
            if status not in {200, 401}:
                found.append(f"{path} answered {status}: {answer.get('error', '')}")
    except (OSError, http.client.HTTPException, KeyError, ValueError) as error:
        found.append(f"{target.url} does not answer as a service: {error!r}")
    return found


def handler(event: Any, context: Any) -> dict[str, str]:
    """Answer ECS, which calls before it shifts traffic: SUCCEEDED continues, FAILED rolls back.

    The service's template says in the hook's details where the new image is reached.
    """
    del context
    details = event["hookDetails"]
    found = problems(Target(details["url"], details["address"], details["headers"]))
    print(json.dumps({"event": "smoke_test", "problems": found}))
    return {"hookStatus": "FAILED" if found else "SUCCEEDED"}
