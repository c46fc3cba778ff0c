"""The desired state that was read last survives on the machine."""

from __future__ import annotations

import pytest
from django.utils import timezone

from models_registry.agent.desired_state_cache import DesiredStateCache
from models_registry.services.desired_state import DesiredState, DesiredVersion


def desired_state() -> DesiredState:
    found = DesiredState()
    found["m"] = DesiredVersion(
        model="m",
        model_id=1,
        version_id=7,
        number=3,
        generation=5,
        acceleration=True,
        format="joblib",
        storage_key="m/a.joblib",
        storage_version="x",
        size_bytes=10,
        digest="0" * 64,
        schema={"inputs": [{"name": "x0", "type": "float"}]},
        sample={"instances": [[1.5]], "predictions": [None]},
        report={},
        description="ÄÖ",
        activated_at=timezone.now(),
    )
    found.first = "m"
    return found


def test_what_is_kept_comes_back(tmp_path):
    path = tmp_path / "cache" / "desired_state.json"
    DesiredStateCache(path).keep(desired_state())
    kept = DesiredStateCache(path).recall()
    assert kept is not None
    assert kept["m"] == desired_state()["m"].__class__(
        **{**_values(desired_state()["m"]), "activated_at": kept["m"].activated_at}
    )
    assert kept.first == "m"
    DesiredStateCache(path).keep(DesiredState())
    assert DesiredStateCache(path).recall() == {}


def _values(desired: DesiredVersion) -> dict[str, object]:
    return {name: getattr(desired, name) for name in DesiredVersion.__slots__}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"desired_state": [{"model": "m"}], "first": null}', '{"desired_state": 3}']
)
def test_what_cannot_be_read_is_nothing(tmp_path, content):
    path = tmp_path / "desired_state.json"
    assert DesiredStateCache(path).recall() is None
    path.write_text(content)
    assert DesiredStateCache(path).recall() is None


def test_a_disk_that_takes_nothing_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    DesiredStateCache(tmp_path / "file" / "desired_state.json").keep(desired_state())
