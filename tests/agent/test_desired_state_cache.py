"""The desired state that was read last survives on the machine."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from django.utils import timezone

from models_registry.agent.desired_state_cache import DesiredStateCache
from models_registry.inference.desired_version import DesiredVersion, VersionDetails
from models_registry.inference.routing import TrafficSplit
from models_registry.services.desired_state import DesiredModel, DesiredState

DETAILS = VersionDetails(
    schema={"inputs": [{"name": "x0", "type": "float"}]},
    sample={"instances": [[1.5]], "predictions": [None]},
    report={},
    description="ÄÖ",
)


def desired(name: str = "m", number: int = 3) -> DesiredVersion:
    return DesiredVersion(
        model=name,
        model_id=1,
        version_id=7,
        number=number,
        generation=5,
        acceleration=True,
        format="joblib",
        storage_key=f"{name}/a.joblib",
        storage_version="x",
        size_bytes=10,
        digest="0" * 64,
        checked_at=timezone.now(),
        activated_at=timezone.now(),
    )


def test_what_is_kept_comes_back(tmp_path):
    path = tmp_path / "cache" / "desired_state"
    kept = desired()
    DesiredStateCache(path).keep_all(DesiredState({"m": DesiredModel(kept)}, first="n"))
    recalled = DesiredStateCache(path).recall()
    assert recalled == {"m": kept}
    assert recalled["m"].activated_at == kept.activated_at
    assert recalled.first == "n"
    DesiredStateCache(path).keep_all(DesiredState())
    assert DesiredStateCache(path).recall() == {}


def test_a_change_writes_its_own_model(tmp_path):
    cache = DesiredStateCache(tmp_path / "desired_state")
    before, other, changed = desired(), desired("other"), desired(number=4)
    cache.keep_all(DesiredState({"m": DesiredModel(before), "other": DesiredModel(other)}, first="m"))
    cache.keep({"m": DesiredModel(changed)}, first="m")
    assert cache.recall() == {"m": changed, "other": other}
    cache.keep({"m": DesiredModel()}, first="other")
    assert cache.recall() == {"other": other}


def test_details_are_those_of_one_build(tmp_path):
    cache = DesiredStateCache(tmp_path / "desired_state")
    cache.keep_details(desired(), DETAILS)
    assert cache.recall_details(desired()) is None, "it was checked again"
    kept = desired()
    cache.keep_details(kept, DETAILS)
    assert cache.recall_details(kept) == DETAILS


@pytest.mark.parametrize("content", [b"", b"{", b"SQLite format 3\0" + bytes(100)])
def test_what_cannot_be_read_is_nothing_and_is_replaced(tmp_path, content):
    path = tmp_path / "desired_state"
    cache = DesiredStateCache(path)
    assert cache.recall() is None
    path.write_bytes(content)
    assert cache.recall() is None
    kept = desired()
    cache.keep_all(DesiredState({"m": DesiredModel(kept)}))
    assert cache.recall() == {"m": kept}


@pytest.mark.parametrize("content", ["{", "[]", '{"model": "m"}'])
def test_a_row_in_another_form_is_nothing(tmp_path, content):
    path = tmp_path / "desired_state"
    DesiredStateCache(path).keep_all(DesiredState({"m": DesiredModel(desired())}))
    with sqlite3.connect(path) as file:
        file.execute("UPDATE desired SET content = ?", (content,))
    assert DesiredStateCache(path).recall() is None


def test_a_disk_that_takes_nothing_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = DesiredStateCache(tmp_path / "file" / "desired_state")
    cache.keep_all(DesiredState({"m": DesiredModel(desired())}))
    assert cache.recall() is None


def test_a_candidate_and_its_share_come_back(tmp_path):
    cache = DesiredStateCache(tmp_path / "desired_state")
    candidate = replace(desired(number=4), is_active=False, parts={"parts": []})
    whole = DesiredModel(desired(), candidate, TrafficSplit("m", 4, 10.0, "5:4"))
    cache.keep_all(DesiredState({"m": whole}))
    kept = cache.recall()
    assert kept is not None
    assert kept.of("m") == DesiredModel(kept["m"], candidate, whole.split)
