"""Artifacts of older scikit-learn give the answers that the older version gave."""

from __future__ import annotations

from typing import Any

import pytest

from models_registry.artifacts.formats.migrations.proven import PROVEN_PATH
from models_registry.artifacts.formats.migrations.table import CHANGES, changes_of
from tools import old_versions
from tools.old_versions import Outcome, Recorded, packed

Outcomes = list[tuple[Recorded, str, Outcome]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    folder = tmp_path_factory.mktemp("old")
    return [
        (recorded, format, old_versions.outcome_of(recorded, format, folder / f"model.{format}"))
        for recorded in packed()
        for format in recorded.files
    ]


def test_old_artifacts_answer_as_their_writers_did(outcomes: Outcomes) -> None:
    assert outcomes
    assert all(recorded.described["answers"] for recorded, _, _ in outcomes)
    troubles = {
        f"{recorded.version} {recorded.name}.{format}": f"{found.status}: {found.why}"
        for recorded, format, found in outcomes
        if found.status != "served"
    }
    assert troubles == {}


def test_table_of_proven_parts_is_what_the_artifacts_prove(outcomes: Outcomes) -> None:
    served = [(recorded, found.parts) for recorded, format, found in outcomes if format == "joblib"]
    table = old_versions.proven_table(served)
    assert old_versions.rendered(table) == PROVEN_PATH.read_text()
    page = old_versions.DOCS.read_text()
    assert old_versions.with_table(page, table) == page


def test_every_change_is_met_by_an_artifact(outcomes: Outcomes) -> None:
    met: set[Any] = set()
    for _, _, found in outcomes:
        for cls in found.classes:
            met.update(changes_of(cls))
    assert set(CHANGES) - met == set()
