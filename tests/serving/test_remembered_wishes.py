"""What was wished for last survives on the machine."""

from __future__ import annotations

import pytest
from django.utils import timezone

from models_registry.services.wishes import Wish, Wishes
from models_registry.serving.remembered_wishes import RememberedWishes


def wishes() -> Wishes:
    found = Wishes()
    found["m"] = Wish(
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
        signature={"inputs": [{"name": "x0", "type": "float"}]},
        sample={"instances": [[1.5]], "predictions": [None]},
        report={},
        description="ÄÖ",
        activated_at=timezone.now(),
    )
    found.first = "m"
    return found


def test_what_is_kept_comes_back(tmp_path):
    path = tmp_path / "cache" / "wishes.json"
    RememberedWishes(path).keep(wishes())
    kept = RememberedWishes(path).recall()
    assert kept is not None
    assert kept["m"] == wishes()["m"].__class__(**{**_values(wishes()["m"]), "activated_at": kept["m"].activated_at})
    assert kept.first == "m"
    RememberedWishes(path).keep(Wishes())
    assert RememberedWishes(path).recall() == {}


def _values(wish: Wish) -> dict[str, object]:
    return {name: getattr(wish, name) for name in Wish.__slots__}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"wishes": [{"model": "m"}], "first": null}', '{"wishes": 3}'])
def test_what_cannot_be_read_is_nothing(tmp_path, content):
    path = tmp_path / "wishes.json"
    assert RememberedWishes(path).recall() is None
    path.write_text(content)
    assert RememberedWishes(path).recall() is None


def test_a_disk_that_takes_nothing_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    RememberedWishes(tmp_path / "file" / "wishes.json").keep(wishes())
