"""Publish a model from a notebook or a script, and predict. Needs the standard library and joblib; Python 3.9 or newer.

    from urllib.request import urlretrieve
    urlretrieve("http://localhost:8000/client.py", "mlapi_client.py")
    from mlapi_client import predict, publish

    publish(model, X_test, "http://localhost:8000", token="…", name="churn", metrics={"accuracy": 0.97})
    predict(X_test, "http://localhost:8000", name="churn")

Create the token in the admin, under "API tokens". The service has this file at /client.py.
"""

from __future__ import annotations

import json
import math
import random
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
SAMPLE_ROWS = 20
REFERENCE_ROWS = 10_000
ROWS_PER_REQUEST = 5000
PIECE_BYTES = 1 << 18
TIMEOUT_SECONDS = 120
# How long one request waits for a result; load balancers close a connection after 60 s.
WAIT_SECONDS = 20
# A service without the model answers 503 with Retry-After until a user activates it.
MAX_RETRY_SECONDS = 120
# States of a version whose validation has not ended.
OPEN_STATES = ("found", "checking")


class ServiceError(RuntimeError):
    """The service refused the request; the text gives the reason. `status` is the HTTP status, 0 without a response."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def publish(
    model: Any,
    X_sample: Any,
    url: str,
    token: str,
    *,
    name: str,
    metrics: dict[str, float] | None = None,
    reference: Any = None,
    description: str = "",
    activate: bool = False,
    reason: str = "",
) -> dict[str, Any]:
    """Upload a fitted model as a new version of `name`, wait for its validation, and return the version.

    The first rows of `X_sample` (a DataFrame, an array or a list of rows) are stored with the model's predictions and
    probabilities. Every later load is compared with them. `reference` takes training rows in the same forms; drift is
    measured against them. Of more than 10,000 rows a random sample is sent. With `activate` the version serves when the
    function returns. Raises ServiceError if the version is rejected or the service refuses the request.
    """
    import joblib

    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(
            f"{name!r} is not a valid model name; expected 1 to 100 letters, digits, dots, dashes and underscores, the "
            "first a letter or a digit."
        )
    manifest = _manifest(sample_of(model, X_sample), metrics, description)
    address = f"/api/models/{quote(name, safe='')}"
    with tempfile.TemporaryDirectory() as directory:
        artifact = Path(directory) / "model.joblib"
        joblib.dump(model, artifact)
        files = {"artifact": artifact}
        if reference is not None:
            # Before the upload: an invalid reference is reported before gigabytes are sent.
            files = {"reference": _write_rows(reference, Path(directory) / "reference.jsonl"), **files}
        version = _upload(url, f"{address}/versions", token, files, manifest)
    version = _wait_for_verdict(url, address, token, version)
    page = url.rstrip("/") + version["page"]
    if version["state"] != "ready":
        raise ServiceError(f"{name} version {version['number']} is {version['state']}: {version['reason']}\n{page}")
    print(f"{name} version {version['number']} is ready: {page}")
    if activate:
        _activate(url, address, token, {"version": version["number"], "reason": reason})
        print(f"{name} version {version['number']} serves: {url.rstrip('/')}/#{name}")
    else:
        print("Next: try it there, compare it with the active version, and activate it.")
    return version


def _manifest(sample: dict[str, Any], metrics: dict[str, float] | None, description: str) -> dict[str, Any]:
    manifest: dict[str, Any] = {"sample": sample}
    if metrics:
        manifest["metrics"] = {key: float(value) for key, value in metrics.items()}
    if description:
        manifest["description"] = description
    return manifest


def predict(
    X: Any, url: str, *, name: str = "", key: str = "", probabilities: bool = False, version: int | str | None = None
) -> list[Any]:
    """Return the prediction for each row of `X`; with `probabilities`, a dict by class label for each row.

    Without a `name`, the default model predicts. `key` is an API key, if predictions need one.
    """
    rows = rows_of(X, None)
    chosen = f"/versions/{version}" if version is not None else ""
    path = f"/models/{quote(name, safe='')}{chosen}/predict" if name else "/predict"
    headers = {"Content-Type": "application/json"}
    if key:
        headers["X-API-Key"] = key
    found: list[Any] = []
    for start in range(0, len(rows), ROWS_PER_REQUEST):
        asked: dict[str, Any] = {"instances": rows[start : start + ROWS_PER_REQUEST]}
        if probabilities:
            asked["probabilities"] = True
        answer = _call("POST", url, path, headers, json.dumps(asked).encode())
        found += answer["probabilities" if probabilities else "predictions"]
    return found


def sample_of(model: Any, X: Any, count: int = SAMPLE_ROWS) -> dict[str, Any]:
    """Return the first rows of `X` with the model's predictions, in the manifest's form."""
    head = _head(X, count)
    sample: dict[str, Any] = {"instances": rows_of(head, count)}
    if not sample["instances"]:
        raise ValueError("X_sample has no rows. Give at least one row of the data that the model takes.")
    sample["predictions"] = [_plain(value) for value in _listed(model.predict(head))]
    probabilities = _probabilities(model, head)
    if probabilities is not None:
        sample["probabilities"] = probabilities
    return sample


def rows_of(X: Any, count: int | None) -> list[Any]:
    """Return rows as JSON values: by name if all column names are texts, else by position; a dict is one row."""
    if isinstance(X, dict):
        return [_plain(X)]
    if hasattr(X, "columns"):
        names = list(X.columns)
        values = [[_plain(value) for value in row] for row in X.itertuples(index=False, name=None)]
        if all(isinstance(name, str) for name in names):
            return [dict(zip(names, row)) for row in values]  # noqa: B905 - `strict` is younger than Python 3.9
        return values
    return [_plain(row) for row in _listed(_head(X, count))]


def _write_rows(X: Any, path: Path) -> Path:
    """Write rows as JSON Lines; from a large table, a random sample."""
    rows = rows_of(_some(X, REFERENCE_ROWS), None)
    if not rows:
        raise ValueError("The reference has no rows. Give rows of the training data, or omit it.")
    lines = (json.dumps(row if isinstance(row, (dict, list)) else [row]) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _some(X: Any, count: int) -> Any:
    """Return `count` random rows, the same for each call; all rows if there are fewer."""
    length = X.shape[0] if hasattr(X, "shape") else len(X)
    if length <= count:
        return X
    if hasattr(X, "sample"):
        return X.sample(count, random_state=0)
    indices = sorted(random.Random(0).sample(range(length), count))  # noqa: S311
    return X[indices] if hasattr(X, "shape") else [X[index] for index in indices]


def _head(X: Any, count: int | None) -> Any:
    if count is None:
        return X
    return X.head(count) if hasattr(X, "head") else X[:count]


def _listed(values: Any) -> list[Any]:
    values = values.toarray() if hasattr(values, "toarray") else values
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _plain(value: Any) -> Any:
    """Return a value for JSON: null for a missing value, ISO 8601 for a time."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "isoformat"):
        return None if value != value else value.isoformat()  # noqa: PLR0124 - a missing time differs from itself
    if hasattr(value, "item"):
        value = value.item()
    if value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value)):
        return None
    return value


def _probabilities(model: Any, head: Any) -> list[Any] | None:
    """Return each row's probabilities by class label; None without them or for several outputs."""
    try:
        found, classes = model.predict_proba(head), list(model.classes_)
    except (AttributeError, NotImplementedError):
        return None
    if (
        isinstance(found, list)
        or len(found[0]) != len(classes)
        or hasattr(classes[0], "__len__") != isinstance(classes[0], str)
    ):
        # For several outputs only the predictions are compared.
        return None
    labels = [_label(label) for label in classes]
    return [dict(zip(labels, row)) for row in _listed(found)]  # noqa: B905 - as above


def _label(label: Any) -> str:
    label = _plain(label)
    return str(label).lower() if isinstance(label, bool) else str(label)


def _upload(url: str, path: str, token: str, files: dict[str, Path], manifest: dict[str, Any]) -> dict[str, Any]:
    """Send the manifest and then the files as a form, and print the progress."""
    boundary = uuid.uuid4().hex
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="{{}}"'
    pieces: list[bytes | Path] = [f"{part.format('manifest')}\r\n\r\n{json.dumps(manifest)}\r\n".encode()]
    for field, file in files.items():
        head = f'{part.format(field)}; filename="{file.name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        pieces += [head.encode(), file, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    size = sum(piece.stat().st_size if isinstance(piece, Path) else len(piece) for piece in pieces)
    connection, root = _connect(url)
    try:
        connection.putrequest("POST", root + path)
        connection.putheader("Authorization", f"Bearer {token}")
        connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        try:
            sent = 0
            for block in _blocks(pieces):
                connection.send(block)
                sent += len(block)
                _show(f"Uploading {size / 1e6:.1f} MB: {100 * sent // size} %")
        except (BrokenPipeError, ConnectionResetError):
            # The service refused early; its response gives the reason.
            pass
        version: dict[str, Any] = _read(connection.getresponse())
        return version
    finally:
        connection.close()
        print()


def _blocks(pieces: list[bytes | Path]) -> Iterator[bytes]:
    """Yield the bytes of all pieces, files in blocks."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        with piece.open("rb") as file:
            while block := file.read(PIECE_BYTES):
                yield block


def _wait_for_verdict(url: str, address: str, token: str, version: dict[str, Any]) -> dict[str, Any]:
    path = f"{address}/versions/{version['number']}"
    while version["state"] in OPEN_STATES:
        _show("Waiting for validation" if version["state"] == "found" else "Validating: inspection, load test, sample")
        version = _call("GET", url, f"{path}?wait_seconds={WAIT_SECONDS}", _bearer(token))
    print()
    return version


def _activate(url: str, address: str, token: str, asked: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json", **_bearer(token)}
    rollout = _call("POST", url, f"{address}/activate", headers, json.dumps(asked).encode())
    while not rollout["is_complete"]:
        if rollout["failed"] or not rollout["live"]:
            problems = [replica["reason"] for replica in rollout["replicas"] if replica["reason"]]
            raise ServiceError(f"It is activated but not served: {'; '.join(problems) or 'no replica is live'}")
        _show(f"Rolling out: {rollout['serving']} of {rollout['live']} replicas serve it")
        rollout = _call("GET", url, f"{address}/rollout?wait_seconds={WAIT_SECONDS}", headers)
    print()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _call(method: str, url: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Any:
    """Return the JSON of a response; repeat the request as Retry-After asks, for at most MAX_RETRY_SECONDS."""
    deadline = time.monotonic() + MAX_RETRY_SECONDS
    while True:
        connection, root = _connect(url)
        try:
            connection.request(method, root + path, body, headers)
            response = connection.getresponse()
            wait = response.headers.get("Retry-After", "")
            is_retried = response.status in {429, 503} and wait.isdigit() and time.monotonic() < deadline
            if not is_retried:
                return _read(response)
            time.sleep(min(10, int(wait)))
        finally:
            connection.close()


def _connect(url: str) -> tuple[HTTPConnection, str]:
    """Return an open connection to the service, and the prefix of its paths."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"The url is {url!r}; expected one such as http://localhost:8000.")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.connect()
    except OSError as error:
        raise ServiceError(f"{url} cannot be reached: {error}. Check the url, and that the service runs.") from error
    return connection, parts.path.rstrip("/")


def _read(response: HTTPResponse) -> Any:
    raw = response.read()
    try:
        content = json.loads(raw)
    except ValueError:
        content = {}
    if response.status < 300:
        return content
    message = content.get("error") if isinstance(content, dict) else None
    text = message or f"The service answered {response.status} {response.reason}. Is the url that of the service?"
    raise ServiceError(text, response.status)


def _show(text: str) -> None:
    print(f"\r{text:<60}", end="", flush=True, file=sys.stdout)
