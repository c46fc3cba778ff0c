"""Validations at once: as many as there is memory for."""

from __future__ import annotations

import pytest

from models_registry.agent import check_slots
from models_registry.agent.check_slots import check_slot


@pytest.mark.parametrize(("free_bytes", "is_taken"), [(check_slots.NEEDED_BYTES, True), (1_000_000, False)])
def test_a_second_validation_needs_free_memory(tmp_path, monkeypatch, free_bytes, is_taken):
    with check_slot(tmp_path / "cache" / "lock") as first:
        monkeypatch.setattr("models_registry.inference.memory.available_bytes", lambda: free_bytes)
        with check_slot(tmp_path / "cache" / "lock") as second:
            assert (first, second) == (True, is_taken)
    with check_slot(tmp_path / "cache" / "lock") as third:
        assert third
