"""The notes of inspections."""

from __future__ import annotations

import pytest

from models_registry.artifacts.inspection_notes import versions_text


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        ((), ""),
        (("1.4.2",), "1.4.2"),
        ((">=3.4",), "3.4 or newer"),
        (("<2.0",), "older than 2.0"),
        (("1.4.2", "<1.2"), "1.4.2 and older than 1.2"),
    ],
)
def test_versions_read_as_words(versions: tuple[str, ...], text: str) -> None:
    assert versions_text(versions) == text
