"""The OpenAPI document: valid, true of every model in service, and never out of date."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from rest_framework.authtoken.models import Token
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from mlapi.openapi import registry, service
from models_registry import services
from models_registry.artifacts.features import Feature
from tests.support.estimators import constant
from tests.support.live import live_service
from tests.support.waiting import eventually

ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
PEOPLE = pd.DataFrame({"age": [20.0, 30, 40, np.nan], "city": ["Oslo", "Bonn", "Oslo", "Rome"]})


def people(handle_unknown="error"):
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer()), ["age"]), (OneHotEncoder(handle_unknown=handle_unknown), ["city"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(PEOPLE, ["low", "high", "high", "low"])


def text():
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good day", "bad night"], ["+", "-"])


def records():
    return make_pipeline(DictVectorizer(), LogisticRegression()).fit([{"a": 1, "c": "x"}, {"a": 5, "c": "y"}], [0, 1])


def house():
    frame = pd.DataFrame({"rooms": [1, 2, 3], "garden": [True, False, True], "area": [30.5, 50, 80]})
    return make_pipeline(FunctionTransformer(), LinearRegression()).fit(frame, [1.0, 2, 3])


HOUSE = [Feature("rooms", "integer"), Feature("garden", "boolean"), Feature("area", "float")]


@pytest.fixture(scope="module")
def fitted():
    """Return one model of each kind, fitted once."""
    several = MultiOutputClassifier(RandomForestClassifier(5, random_state=0))
    return {
        "people": people(),
        "open-people": people("ignore"),
        "text": text(),
        "records": records(),
        "house": house(),
        "booleans": LogisticRegression().fit(ROWS, [True, False, True, False]),
        "outliers.v2": IsolationForest(n_estimators=5, random_state=0).fit(ROWS),
        "missing": HistGradientBoostingClassifier(max_iter=2).fit(np.repeat(ROWS, 20, axis=0), [0, 1, 0, 1] * 20),
        "several": several.fit(ROWS, [[0, 1], [1, 0], [0, 1], [1, 0]]),
    }


EXAMPLES = {
    "people": {"age": 30.0, "city": "Oslo"},
    "open-people": {"age": None, "city": "Paris"},
    "text": "a good one",
    "records": {"a": 2, "c": "x"},
    "house": {"rooms": 2, "garden": True, "area": 40.0},
}


@pytest.fixture
def every_kind(load, fitted):
    """Serve one model of each kind."""
    for number, (name, model) in enumerate(fitted.items(), start=1):
        load(model, name, number=number, example=EXAMPLES.get(name), declared=HOUSE if name == "house" else None)


def schema_of(document, reference):
    """Return a validator of one of the document's schemas."""
    return Draft202012Validator({**reference, "components": document["components"]})


def predictions_of(document):
    """Give each operation that predicts: its path as it can be called, and itself."""
    for path, item in document["paths"].items():
        if path.endswith("/predict") and not path.startswith("/api/"):
            numbers = [value for given in item.get("parameters", ()) for value in given["schema"]["enum"]]
            yield path.replace("{version}", str(*numbers)), item["post"]


def test_document_is_valid_with_models_and_without(host, every_kind, load):
    validate(host.get("/openapi.json").json)
    from mlapi import replica

    replica.runtime.post(models={}, desired={}, default=None)
    empty = host.get("/openapi.json").json
    validate(empty)
    assert "/predict" not in empty["paths"]


def test_every_example_works_and_every_answer_fits_its_schema(host, every_kind):
    document = host.get("/openapi.json").json
    called = 0
    for path, operation in predictions_of(document):
        content = operation["requestBody"]["content"]["application/json"]
        reply = schema_of(document, operation["responses"]["200"]["content"]["application/json"]["schema"])
        for example in content["examples"].values():
            schema_of(document, content["schema"]).validate(example["value"])
            answer = host.post(path, example["value"])
            assert answer.status == 200, (path, example, answer.body)
            reply.validate(answer.json)
            called += 1
    assert called > 50
    schema_of(document, {"$ref": "#/components/schemas/Models"}).validate(host.get("/models").json)
    schema_of(document, {"$ref": "#/components/schemas/Ready"}).validate(host.get("/health").json)


def test_document_tells_each_feature(host, every_kind):
    schemas = host.get("/openapi.json").json["components"]["schemas"]
    named = schemas["people.NamedRow"]
    assert named["required"] == ["age", "city"]
    assert named["properties"]["city"] == {"enum": ["Bonn", "Oslo", "Rome"]}
    assert named["properties"]["age"] == {"$ref": "#/components/schemas/NumberOrMissing"}
    assert schemas["Number"]["maximum"] == -schemas["Number"]["minimum"] == pytest.approx(3.4028e38, rel=1e-4)
    trained = schemas["open-people.NamedRow"]["properties"]["city"]
    assert trained["type"] == ["string", "null"]
    assert trained["examples"] == ["Bonn", "Oslo", "Rome"]
    assert schemas["people.Prediction"] == {"enum": ["high", "low"]}
    assert schemas["booleans.Prediction"] == {"enum": [False, True]}
    assert schemas["house.Prediction"] == {"type": "number"}


BODIES = {
    "people": [
        {"features": {"age": 30, "city": "Oslo"}},
        {"features": [None, "Bonn"], "probabilities": True},
        {"instances": [[30, "Oslo"], [3.4e38, "Rome"]]},
        {"features": {"age": 30, "city": "Paris"}},
        {"features": {"age": "30", "city": "Oslo"}},
        {"features": {"age": True, "city": "Oslo"}},
        {"features": {"age": 3.5e38, "city": "Oslo"}},
        {"features": {"age": 30}},
        {"features": {"age": 30, "city": "Oslo", "x": 1}},
        {"features": [30]},
        {"features": [30, "Oslo", 1]},
        {"features": 30},
        {"instances": []},
        {"instances": [[30, "Oslo"], {"age": 30, "city": "Oslo"}]},
        {"instances": [[30, "Oslo"]], "features": [30, "Oslo"]},
        {"features": [30, "Oslo"], "probabilities": 1},
        {"rows": []},
        {},
        [],
    ],
    "text": [{"features": "bare"}, {"features": ["x"]}, {"instances": ["a", "b"]}, {"features": None}],
    "records": [{"features": {}}, {"features": {"z": True}}, {"features": {"a": None}}, {"features": ["x"]}],
    "house": [
        {"features": [2, True, 1.5]},
        {"features": [2.0, False, -1]},
        {"features": [2.5, True, 1.5]},
        {"features": [2**63 - 1, True, 1.5]},
        {"features": [2**63, True, 1.5]},
        {"features": [1e30, True, 1.5]},
        {"features": [2, 1, 1.5]},
        {"features": [2, True, 1.5], "probabilities": False},
        {"features": [2, True, 1.5], "probabilities": True},
    ],
}


@pytest.mark.parametrize("name", BODIES)
def test_schema_takes_what_the_service_takes_and_nothing_else(host, every_kind, name):
    document = host.get("/openapi.json").json
    schema = schema_of(document, {"$ref": f"#/components/schemas/{name}.Request"})
    statuses = []
    for body in BODIES[name]:
        answer = host.post(f"/models/{name}/predict", body)
        assert answer.status in {200, 400}, answer.body
        assert schema.is_valid(body) is (answer.status == 200), (body, answer.body)
        statuses.append(answer.status)
    assert {200, 400} == set(statuses)


def test_document_is_cached_until_an_activation(host, load):
    load(constant(1), "m", number=1)
    first = host.get("/openapi.json")
    assert host.get("/openapi.json").body == first.body
    kept = host.get("/openapi.json", **{"If-None-Match": first.headers["etag"]})
    assert (kept.status, kept.body) == (304, b"")
    load(constant(2, features=3), "m", number=2)
    second = host.get("/openapi.json", **{"If-None-Match": first.headers["etag"]})
    assert second.status == 200
    assert second.headers["etag"] != first.headers["etag"]
    rows = [answer.json["components"]["schemas"]["m.PositionalRow"]["maxItems"] for answer in (first, second)]
    assert rows == [2, 3]
    assert "version 2 is active" in second.json["paths"]["/predict"]["post"]["description"]


def test_document_is_made_once_for_each_set_of_models(load):
    from mlapi import openapi, replica
    from mlapi.http.routes import ENDPOINTS

    load(constant(1))
    made = openapi.cached_document(replica.runtime.snapshot, ENDPOINTS)
    assert openapi.cached_document(replica.runtime.snapshot, ENDPOINTS) is made
    replica.runtime.post(problems={"m": "a note that changes nothing here"})
    assert openapi.cached_document(replica.runtime.snapshot, ENDPOINTS) is made
    load(constant(1), "another")
    assert openapi.cached_document(replica.runtime.snapshot, ENDPOINTS) is not made


def test_keys_stand_in_the_document_where_they_are_required(host, load, settings):
    load(constant(1))
    assert "401" not in host.get("/openapi.json").json["paths"]["/predict"]["post"]["responses"]
    settings.MLAPI_REQUIRE_API_KEY = True
    document = host.get("/openapi.json").json
    validate(document)
    operation = document["paths"]["/predict"]["post"]
    assert operation["security"] == [{"ApiKey": []}, {"ApiKeyAsBearer": []}]
    assert {"401", "403"} <= set(operation["responses"])


def test_every_route_is_documented_with_a_summary(host, every_kind):
    from mlapi.http.routes import ENDPOINTS, match

    found = set()
    for path, item in host.get("/openapi.json").json["paths"].items():
        at = match(path.replace("{model}", "people").replace("{version}", "1"))
        assert at is not None or path.startswith("/api/"), path
        found |= {at[0].name} if at else set()
        for operation in (item[method] for method in item if method != "parameters"):
            assert len(operation["summary"].split()) > 1, (path, operation["summary"])
    # What is left answers 404 for whatever is nowhere else.
    assert {endpoint.name for endpoint in ENDPOINTS} - found == {"v2-nowhere"}
    assert not (service.SUMMARIES.keys() | service.KNOWN.keys()) - found


def test_other_protocols_examples_work_too(host, every_kind):
    document = host.get("/openapi.json").json
    tried = 0
    for path, item in document["paths"].items():
        content = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        if not path.endswith(("invocations", "infer", ":predict")):
            continue
        for number, name in enumerate(EXAMPLES, start=1):
            if name not in content["examples"]:
                continue
            called = path.replace("{model}", name).replace("{version}", str(number))
            answer = host.post(called, content["examples"][name]["value"])
            assert answer.status == 200, (called, answer.body)
            tried += 1
    assert tried == 1 + 6 * 4


def test_docs_page_loads_nothing_from_elsewhere(host, load):
    page = host.get("/docs")
    assert page.status == 200
    assert "unsafe-eval" not in page.headers["content-security-policy"]
    assert "script-src 'self';" in page.headers["content-security-policy"]
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    files = {address.removeprefix("/static/") for address in addresses if address.startswith("/static/")}
    assert len(files) == 5
    assert set(addresses) - {f"/static/{name}" for name in files} == {"/openapi.json", "/", "/models", "/admin/"}
    assert all(finders.find(name) for name in files)
    assert not re.search(r"<script(?![^>]*src)|\son\w+=|style=", page.body.decode())


def test_the_registry_s_part_is_made_by_one_thread(monkeypatch):
    real, asking, under_way, seen = registry.make_document, [], [], []

    def make():
        under_way.append(1)
        seen.append(len(under_way))
        eventually(lambda: len(asking) == 4)
        under_way.pop()
        return real()

    def ask(number: int):
        asking.append(number)
        return registry.document()

    monkeypatch.setattr(registry, "make_document", make)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(ask, range(4)))
    assert seen == [1] * 4
    assert all(part is parts[0] for part in parts)


# What is said of other people's protocols is where they are, not all that they ask of a body.
OTHERS = """
[[operations]]
include-path-regex = "^/v[12]|invocations$"
checks.positive_data_acceptance.enabled = false

# An upload of any bytes under any manifest is well formed, and refused.
[[operations]]
include-path-regex = "^/api/.*/versions$"
checks.positive_data_acceptance.enabled = false

# A batch outside of the places that the operator names is well formed, and refused.
[[operations]]
include-path-regex = "^/api/.*/batches$"
checks.positive_data_acceptance.enabled = false
"""


def schemathesis(url, directory, *options):
    """Let the tool try the whole service, and fail with what it prints where it finds anything."""
    (directory / "schemathesis.toml").write_text(OTHERS)
    tool = Path(sys.executable).with_name("schemathesis")
    command = [tool, "run", f"{url}/openapi.json", "--seed", "1", "--no-color", *options]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"(\d\d+) generated, \1 passed", done.stdout), done.stdout[-2000:]


def test_schemathesis_finds_nothing(load, fitted, tmp_path):
    for name in ("people", "text", "house"):
        load(fitted[name], name, declared=HOUSE if name == "house" else None, example=EXAMPLES[name])
    with live_service() as url:
        schemathesis(url, tmp_path, "--exclude-path-regex", "^/api", "--max-examples", "6")


# The registry's routes in two halves, so that neither comes near the tool's time on a busy machine.
VERSIONS = "^/api/(sync|models|models/[^/]+|models/[^/]+/versions.*)$"


@pytest.mark.any_database
@pytest.mark.parametrize(
    "part",
    [("--include-path-regex", VERSIONS), ("--include-path-regex", "^/api", "--exclude-path-regex", VERSIONS)],
    ids=["versions", "the others"],
)
def test_schemathesis_finds_nothing_in_the_registry_api(transactional_db, load, storage_directory, tmp_path, part):
    user = User.objects.create_superuser("pipeline")
    services.register_model("digits")
    token = f"Authorization:Token {Token.objects.create(user=user).key}"
    with live_service() as url:
        schemathesis(url, tmp_path, *part, "--max-examples", "6", "--header", token)
