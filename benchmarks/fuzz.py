"""No request breaks the service or another's answer: `python -m benchmarks.fuzz --requests 22000`.

Each connection sends a request that was spoilt somewhere, and a whole one behind it that asks for a known answer. The
spoilt one may be answered, refused or disconnected. The whole one may be swallowed as the other's body, but if it is
answered, it is answered right: anything else means that service and caller disagree on where a request ends. Exit
status 1: such an answer, a 500, an answer that is no HTTP, or a service that does not answer any more.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from benchmarks.proof import bed, finish, say
from tests.support.estimators import constant, save

ANSWER = 7.0
THREADS = 2
PATHS = (
    "/predict",
    "/models/m/predict",
    "/models/m/versions/1/predict",
    "/v2/models/m/infer",
    "/invocations",
    "/models",
    "/health",
    "/openapi.json",
    "/metrics",
    "/admin/login/",
    "/api/models",
    "/api/models/m/activate",
    "/api/models/m/versions",
    "/nowhere",
    "http://localhost/predict",
    "/predict#x",
    "//predict",
    "/%2e%2e/predict",
    "*",
)
# A request with one of these may end elsewhere than it looks.
FRAMING = ("content-length", "transfer-encoding", "connection", "expect", "upgrade", "x:")
# Pages about errors name the protocol too.
BEGINNING = re.compile(rb"(?=HTTP/1\.[01] [0-9]{3} )")
VERSIONS = ("1.1", "1.1", "1.1", "1.0", "2.0", "9")
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "post", "CONNECT")
HEADERS = (
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: 5, 5",
    "Content-Length: +5",
    "Content-Length: 1e3",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "Transfer-Encoding:\tchunked",
    "Connection: close",
    "Connection: keep-alive, Transfer-Encoding",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Content-Encoding: gzip",
    "Content-Type: multipart/form-data; boundary=b",
    "Content-Type: application/octet-stream",
    "Cookie: csrftoken=" + "a" * 32,
    "Authorization: Bearer " + "x" * 300,
    "X-Request-ID: " + "é" * 20,
    "X-Forwarded-For: 1.2.3.4, x",
    "Host: elsewhere",
    "Inference-Header-Content-Length: 3",
    "X: " + "y" * 9000,
)
BODIES = (
    b'{"features": [0, 0]}',
    b'{"instances": [[0, 0], [1, 1]]}',
    b'{"features": [NaN, 1e400]}',
    b'{"features": ["\xff", null]}',
    b"[" * 5000,
    b'{"features": [0, 0], "features": [1, 1]}',
    b'{"features": [' + b"9" * 5000 + b", 0]}",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nx",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"5;ext=\x00\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x1f\x8b\x08\x00" + b"\x00" * 50,
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + b"x" * 3000 + b"\r\n--b--\r\n",
    b"",
)


def whole(request_id: str) -> bytes:
    """Return a request as it should be."""
    body = json.dumps({"features": [0, 0]})
    lines = ["POST /models/m/predict HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"X-Request-ID: {request_id}", f"Content-Length: {len(body)}", "Connection: close", "", body]
    return "\r\n".join(lines).encode()


def spoilt(dice: random.Random) -> tuple[bytes, bool]:
    """Return a request with something wrong in it, and whether there is no doubt where it ends.

    Half of them are wrong in their path, headers and body alone.
    """
    body = dice.choice(BODIES)
    is_mild = dice.random() < 0.5
    method = dice.choice(("GET", "POST", "POST") if is_mild else METHODS)
    lines = [f"{method} {dice.choice(PATHS)} HTTP/{'1.1' if is_mild else dice.choice(VERSIONS)}"]
    lines += ["Host: localhost"] * (1 if is_mild else dice.choice((1, 1, 0, 2)))
    headers = dice.sample(HEADERS, dice.choice((0, 0, 1) if is_mild else (0, 1, 2, 3)))
    is_clear = is_mild and not any(header.strip().lower().startswith(FRAMING) for header in headers)
    lines += headers
    if is_mild or dice.random() < 0.6:
        lines.append(f"Content-Length: {len(body)}")
    end = b"\r\n" if is_mild else dice.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"))
    message = bytearray(end.join(line.encode("latin-1") for line in lines) + end * 2 + body)
    for _ in range(0 if is_mild else dice.choice((0, 0, 1, 3))):
        place = dice.randrange(len(message))
        act: Callable[[], None] = dice.choice(
            (
                lambda at=place: message.__setitem__(at, dice.randrange(256)),
                lambda at=place: message.insert(at, dice.randrange(256)),
                lambda at=place: message.__delitem__(slice(at, at + dice.randint(1, 9))),
            )
        )
        act()
        if not message:
            break
    return bytes(message), is_clear


def exchange(port: int, data: bytes) -> bytes:
    """Send all, say that there is no more, and return all that comes back."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while part := connection.recv(65_536):
                received += part
    return bytes(received)


def heads_of(received: bytes) -> list[bytes]:
    """Return the head of each answer."""
    return [part.partition(b"\r\n\r\n")[0] for part in BEGINNING.split(received) if part]


def judge(received: bytes, request_id: str, *, is_clear: bool) -> str | None:
    """Return what is wrong with what came back; None if nothing is.

    Where it `is_clear` where the spoilt request ends, the whole one is answered as it should be, or not at all.
    """
    if received and not received.startswith(b"HTTP/1."):
        return f"no HTTP: {received[:80]!r}"
    statuses = [status_of(head) for head in heads_of(received)]
    for status in statuses:
        if status >= 500 and status not in {501, 503, 505}:
            return f"a server error: {received[:300]!r}"
    if is_clear and len([status for status in statuses if status >= 200]) > 2:
        return f"more answers than requests: {received[-600:]!r}"
    before, marker, after = received.partition(f": {request_id}".encode())
    if not marker:
        return None
    status = status_of(heads_of(before)[-1])
    if 400 <= status < 500 and not is_clear:
        return None  # a part of it was read as the other's body
    body = after.partition(b"\r\n\r\n")[2]
    if status != 200 or json.loads(body[: body.index(b"}") + 1]).get("prediction") != ANSWER:
        return f"a whole request was answered wrongly: {received[-300:]!r}"
    return None


def status_of(head: bytes) -> int:
    """Return the status in an answer's first line; 599 if there is none."""
    word = head[9:12]
    return int(word) if word.isdigit() else 599


def attack(port: int, requests: int, seed: int, outcomes: Counter[str], faults: list[str]) -> None:
    """Send that many pairs."""
    dice = random.Random(seed)
    for number in range(requests):
        request_id = f"whole-{seed}-{number}"
        data, is_clear = spoilt(dice)
        try:
            received = exchange(port, data + whole(request_id))
        except TimeoutError:
            faults.append(f"no answer and no end within 20 s to {data[:200]!r}")
            continue
        except OSError as error:
            outcomes[type(error).__name__] += 1
            continue
        heads = heads_of(received)
        outcomes[heads[0][9:12].decode("latin-1") if heads else "disconnected"] += 1
        outcomes["whole ones answered"] += request_id.encode() in received
        fault = judge(received, request_id, is_clear=is_clear)
        if fault is not None:
            faults.append(f"{fault} (to {data[:200]!r})")


def run(*, requests: int, seed: int, database_url: str | None = None) -> int:
    """Run it and return the exit status; without a migrated database, on a PostgreSQL server of its own."""
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    with bed(database_url) as stage:
        stage.publish("m", [save(constant(int(ANSWER)), stage.directory / "m.joblib")])
        # The login page names them.
        stage.service.manage("collectstatic", "--no-input", "--verbosity", "0", "--ignore", "redoc")
        service = stage.service.start()
        service.wait_until_served("m", 1, replicas=2)
        before = set(service.worker_pids())
        say(f"seed {seed}: {requests} requests")
        threads = [
            threading.Thread(target=attack, args=(service.port, requests // THREADS, seed + turn, outcomes, faults))
            for turn in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        status, body, _ = service.post("/predict", {"features": [0, 0]})
        if (status, body.get("prediction")) != (200, ANSWER):
            faults.append(f"the service answers {status} {body} afterwards")
        if set(service.worker_pids()) != before:
            faults.append("a worker ended")
        faults += [
            f"the log has a traceback: {line[-2000:]}" for line in service.log().splitlines() if "Traceback" in line
        ]
    return finish({"seed": seed, "requests": requests, "outcomes": dict(outcomes.most_common())}, faults)


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=22_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    return run(requests=asked.requests, seed=asked.seed)


if __name__ == "__main__":
    sys.exit(main())
