"""What carries every model in one answer carries a bounded number of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from openapi_spec_validator import validate

from mlapi import replica
from mlapi.openapi.document import MAX_DESCRIBED
from tests.support.estimators import constant


@pytest.fixture
def many(load) -> list[str]:
    """Serve one model under more names than a document describes, and lack one; return the names in order."""
    loaded = load(constant(1), "m000")
    names = [f"m{number:03}" for number in range(MAX_DESCRIBED + 70)]
    models = {name: replace(loaded, name=name) for name in reversed(names)}
    desired = dict.fromkeys([*names, "late"], 1)
    replica.runtime.post(models=models, desired=desired, default="m099")
    return ["late", *names]


def names_of(page: dict) -> list[str]:
    return sorted([*page["missing"], *(model["name"] for model in page["models"])])


def test_pages_follow_one_another_to_the_end(host, many):
    seen, after = [], ""
    for _ in range(4):
        page = host.get(f"/models?limit=40&after={after}").json
        seen.append(names_of(page))
        after = page["next"]
    assert [name for page in seen for name in page] == many
    assert [len(page) for page in seen] == [40, 40, 40, 1]
    assert after is None


@pytest.mark.parametrize(("query", "count"), [("", 100), ("?limit=1000", 121), ("?after=m118", 1), ("?after=z", 0)])
def test_a_page_has_as_many_as_are_asked_for(host, many, query, count):
    page = host.get(f"/models{query}").json
    assert len(names_of(page)) == count
    assert page["default"] == "m099"


@pytest.mark.parametrize("limit", ["", "0", "-1", "1001", "ten", "1e2", "+5", "%D9%A3", "99999"])
def test_a_limit_that_is_none_is_refused(host, many, limit):
    answer = host.get(f"/models?limit={limit}")
    assert (answer.status, answer.json["code"]) == (400, "bad_limit")
    assert "1 to 1000" in answer.json["error"]


def test_document_describes_one_model_and_links_the_others(host, many):
    document = host.get("/openapi.json").json
    validate(document)
    described = [path for path in document["paths"] if path.endswith("/predict") and "/versions/" not in path]
    assert "/models/m099/predict" in described, "the default comes first"
    assert len([path for path in described if path != "/predict"]) == MAX_DESCRIBED
    assert "/models/{model}/openapi.json" in document["info"]["description"]
    (by_name,) = [item for item in document["paths"]["/models/{model}"]["get"]["parameters"] if item["in"] == "path"]
    assert "enum" not in by_name["schema"]


def test_each_model_has_a_document_of_its_own(host, many):
    document = host.get("/models/m118/openapi.json").json
    validate(document)
    assert "/models/m118/predict" in document["paths"]
    assert "/models/m000/predict" not in document["paths"]
    assert host.get("/models/nobody/openapi.json").status == 404
    assert host.get("/models/late/openapi.json").status == 503
