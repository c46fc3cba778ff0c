"""Files are there whole or not at all, and a lock has one holder."""

from __future__ import annotations

import fcntl
import stat
import time
from pathlib import Path

import pytest

from models_registry.files import acquire, whole_file


def test_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("old")
    with whole_file(path, mode=0o600) as target:
        target.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="broken"), whole_file(path) as target:
        target.write(b"ne")
        raise ValueError("broken")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("held", "asked", "is_had"),
    [
        (fcntl.LOCK_EX, fcntl.LOCK_EX, False),
        (fcntl.LOCK_EX, fcntl.LOCK_SH, False),
        (fcntl.LOCK_SH, fcntl.LOCK_EX, False),
        (fcntl.LOCK_SH, fcntl.LOCK_SH, True),
    ],
)
def test_lock_is_had_where_the_holder_allows(held: int, asked: int, is_had: bool, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("a") as first, (tmp_path / "lock").open("a") as second:
        assert acquire(first.fileno(), held, deadline=0)
        assert acquire(second.fileno(), asked, deadline=time.monotonic() + 0.01) is is_had


def test_closed_file_gives_its_lock_back(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("a") as first:
        assert acquire(first.fileno(), fcntl.LOCK_EX, deadline=0)
    with (tmp_path / "lock").open("a") as second:
        assert acquire(second.fileno(), fcntl.LOCK_EX, deadline=0)
