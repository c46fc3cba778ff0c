"""A canary under load, in two workers: no request fails, and a caller keeps its version."""

from __future__ import annotations

import threading
from collections import Counter

import requests

from models_registry.inference.routing import TrafficSplit
from tests.support.estimators import constant, save
from tests.support.waiting import eventually

BODY = {"features": [0, 0]}
KEYS = [f"customer-{number}" for number in range(20)]


def test_canary_is_promoted_without_a_failed_request(new_service, tmp_path):
    service = new_service(WEB_WORKERS="2")
    paths = [save(constant(number), tmp_path / f"{number}.joblib", rows=[[0.0, 0.0]]) for number in (1, 2)]
    service.add_ready("m", *paths)
    service.start()
    url = f"{service.url}/models/m/predict"

    def version_of(key: str) -> int:
        answer = requests.post(url, json=BODY, headers={"X-Routing-Key": key}, timeout=30)
        assert answer.status_code == 200
        body = answer.json()
        # Version and prediction are of one model: each answers its number.
        assert int(answer.headers["X-Model-Version"]) == body["version"] == body["prediction"]
        return int(body["version"])

    seen: Counter[int] = Counter()
    failures: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                seen.update(map(version_of, KEYS))
                stop.wait(0.05)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        service.manage("activate_model", "m", "2", "--traffic-percent", "50", "--wait")
        split = TrafficSplit("m", 2, 50, "1:2")
        expected = {key: {2 if split.takes(f"key {key}") else 1} for key in KEYS}
        # Each question comes on a connection of its own, so both workers answer.
        eventually(lambda: {key: {version_of(key) for _ in range(4)} for key in KEYS} == expected)
        service.manage("promote_model", "m", "--wait")
        eventually(lambda: set(map(version_of, KEYS)) == {2})
    finally:
        stop.set()
        asking.join()
    assert not failures
    assert seen.keys() == {1, 2}
