"""Other people's clients, unmodified, against a live server; and every snippet of docs/clients.md."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import requests
import tritonclient.http as triton
from playwright.sync_api import Browser
from sklearn.linear_model import LogisticRegression
from tritonclient.utils import InferenceServerException

from mlapi.version import VERSION
from tests.support.estimators import save
from tests.support.service import ROOT, Service

pytestmark = pytest.mark.any_database
CLIENTS = ROOT / ".venv-clients" / "bin" / "python"
ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
PLAIN = LogisticRegression().fit(ROWS, [0, 1, 0, 1])
PENGUINS = {
    "island": ["Biscoe", "Dream"],
    "sex": ["female", "male"],
    "bill_length_mm": [47.5, 49.0],
    "bill_depth_mm": [14.2, 19.5],
    "flipper_length_mm": [215, 210],
    "body_mass_g": [5000.0, 3950.0],
}
# The third penguin of the clients' scripts has no known bill length.
LABELS = ["Gentoo", "Chinstrap", "Adelie"]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Service]:
    """Return a running service with the demo's models, and one whose features have no names."""
    directory = tmp_path_factory.mktemp("clients")
    service = Service(directory)
    plain = save(PLAIN, directory / "plain.joblib")
    try:
        service.manage_all(["publish_demo"], ["publish_model", "plain", plain, "--activate"])
        yield service.start()
    finally:
        service.kill()


@pytest.fixture
def client(served) -> Iterator[triton.InferenceServerClient]:
    """Return Triton's client, with nothing set but the address."""
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as connected:
        yield connected


def given(name, values, datatype="FP64", **options):
    array = np.array(values, dtype=object if datatype == "BYTES" else triton_dtype(datatype))
    tensor = triton.InferInput(name, array.shape, datatype)
    return tensor.set_data_from_numpy(array, **options)


def triton_dtype(datatype):
    return {"FP64": np.float64, "FP32": np.float32, "INT64": np.int64}[datatype]


def penguins(**options):
    kinds = {"island": "BYTES", "sex": "BYTES", "flipper_length_mm": "INT64", "body_mass_g": "FP32"}
    return [given(name, values, kinds.get(name, "FP64"), **options) for name, values in PENGUINS.items()]


def test_triton_asks_after_server_and_models(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["version"] == VERSION
    assert client.is_model_ready("plain")
    assert client.is_model_ready("plain", "1")
    assert not client.is_model_ready("plain", "2")
    assert not client.is_model_ready("nobody")
    assert client.get_model_metadata("plain", "1")["inputs"] == [
        {"name": "input", "datatype": "FP64", "shape": [-1, 2]}
    ]
    assert client.get_model_config("plain")["max_batch_size"] == 0
    index = {line["name"]: line for line in client.get_model_repository_index()}
    assert index.keys() == {"digits", "penguins", "plain"}
    assert {line["state"] for line in index.values()} == {"READY"}


def test_triton_infers_in_its_defaults(client):
    result = client.infer("plain", [given("input", ROWS)], request_id="r-9")
    assert result.as_numpy("predict").tolist() == [[label] for label in PLAIN.predict(ROWS)]
    assert "data" not in result.get_output("predict")
    assert (result.get_response()["id"], result.get_response()["model_version"]) == ("r-9", "1")
    assert client.infer("plain", [given("input", ROWS)], model_version="1").as_numpy("predict").shape == (4, 1)


def test_triton_infers_as_json_and_chooses_outputs(client):
    asked = [
        triton.InferRequestedOutput("predict", binary_data=False),
        triton.InferRequestedOutput("predict_proba"),
        triton.InferRequestedOutput("decision_function", binary_data=False),
    ]
    result = client.infer("plain", [given("input", ROWS, binary_data=False)], outputs=asked)
    assert result.get_output("predict")["data"] == PLAIN.predict(ROWS).tolist()
    assert result.as_numpy("predict_proba") == pytest.approx(PLAIN.predict_proba(ROWS))
    assert result.as_numpy("decision_function").ravel() == pytest.approx(PLAIN.decision_function(ROWS))


@pytest.mark.parametrize("is_binary", [True, False])
def test_triton_sends_columns_and_strings(client, is_binary):
    asked = [triton.InferRequestedOutput("predict", binary_data=is_binary)]
    result = client.infer("penguins", penguins(binary_data=is_binary), outputs=asked)
    labels = [item.decode() if is_binary else item for item in result.as_numpy("predict").ravel()]
    assert labels == ["Gentoo", "Chinstrap"]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_triton_compresses_both_ways(client, algorithm):
    rows = np.tile(ROWS, (500, 1))
    result = client.infer(
        "plain",
        [given("input", rows)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert result.as_numpy("predict").ravel().tolist() == PLAIN.predict(rows).tolist()


def test_triton_asks_many_at_once(served):
    address = f"127.0.0.1:{served.port}"
    with triton.InferenceServerClient(address, concurrency=4) as many:
        waiting = [many.async_infer("plain", [given("input", [row])]) for row in ROWS.tolist() * 5]
        labels = [item.get_result().as_numpy("predict").item() for item in waiting]
    assert labels == PLAIN.predict(ROWS).tolist() * 5


def test_triton_reads_statistics(client):
    before = client.get_inference_statistics("plain", "1")["model_stats"][0]
    client.infer("plain", [given("input", ROWS)])
    after = client.get_inference_statistics("plain")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 4
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 1
    assert {line["name"] for line in client.get_inference_statistics()["model_stats"]} == {
        "digits",
        "penguins",
        "plain",
    }


def test_triton_shows_our_errors_to_its_user(client):
    cases = {
        "Expected numbers of shape [rows, 2]": lambda: client.infer("plain", [given("input", [[1.0]])]),
        "Row 0, feature 'x1'": lambda: client.infer("plain", [given("input", [[1.0, np.nan]])]),
        "are missing": lambda: client.infer("penguins", penguins()[:2]),
        "No model called 'nobody'": lambda: client.infer("nobody", [given("input", ROWS)]),
        "Version 5": lambda: client.infer("plain", [given("input", ROWS)], model_version="5"),
        "has no output 'fit'": lambda: client.infer(
            "plain", [given("input", ROWS)], outputs=[triton.InferRequestedOutput("fit")]
        ),
        "activate_model": lambda: client.load_model("plain"),
        "There is nothing at /v2/trace/setting": client.get_trace_settings,
    }
    for sentence, ask in cases.items():
        with pytest.raises(InferenceServerException, match=re.escape(sentence)):
            ask()
    with pytest.raises(InferenceServerException, match="activate_model"):
        client.unload_model("plain")


def run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_as_client(name: str, *arguments: str):
    assert CLIENTS.exists(), "The other clients' environment is missing; 'make test' makes it."
    return json.loads(run(str(CLIENTS), "-W", "ignore", f"tests/e2e/clients/{name}.py", *arguments))


def test_mlserver_s_own_codecs_encode_and_decode(served):
    found = run_as_client("mlserver_codecs", served.url)
    labels = LABELS
    assert found["pandas"] == found["pandas as text"] == labels
    assert found["pandas' own decoding"] == {"predict": labels}
    predicted = [[label] for label in PLAIN.predict(ROWS).tolist()]
    assert found["numpy"] == found["numpy request"] == found["numpy input"] == predicted
    assert np.array(found["probabilities"]) == pytest.approx(PLAIN.predict_proba(ROWS))
    assert found["server"] == "mlapi"
    assert found["inputs"] == list(PENGUINS)
    assert found["content type"] == "pd"
    assert "'inputs' must be a list of tensors" in found["error"]


def test_mlflow_s_own_client_pings_and_invokes(served):
    found = run_as_client("mlflow_client", "127.0.0.1", str(served.port))
    assert found["version"] == VERSION
    assert np.shape(found["array"]) == (2,)
    assert found["frame without names"] == [2, 1]
    assert found["frame"] == LABELS
    assert found["records"] == found["params"] == {"predictions": ["Gentoo"]}
    assert "error code 400" in found["error"]
    assert "Feature 'sex' is missing" in found["error"]


def in_chromium(chromium: Browser, url: str, code: str) -> str:
    """Return what a script of a page of `url` writes to the console."""
    lines: list[str] = []
    with contextlib.closing(chromium.new_page()) as page:
        page.on("console", lambda message: lines.append(message.text) if message.type == "log" else None)
        page.goto(f"{url}/version")
        page.evaluate(f"(async () => {{ {code} }})()")
    return "\n".join(lines)


SNIPPET = re.compile(r"^```(\w+)\n(.*?)^```\n\n```text\n(.*?)^```", re.M | re.S)
SNIPPETS = SNIPPET.findall((ROOT / "docs" / "clients.md").read_text())


def test_every_snippet_of_the_page_says_what_it_prints():
    page = (ROOT / "docs" / "clients.md").read_text()
    opened = re.findall(r"^```(\w+)$", page, re.M)
    assert len(SNIPPETS) * 2 == len(opened)
    assert {language for language, _, _ in SNIPPETS} == {"sh", "python", "js"}


@pytest.mark.parametrize(
    ("language", "code", "printed"), SNIPPETS, ids=[f"{index}-{item[0]}" for index, item in enumerate(SNIPPETS)]
)
def test_page_snippet_prints_what_the_page_says(served, request, language, code, printed):
    code = code.replace("localhost:8000", f"127.0.0.1:{served.port}").replace(
        '"localhost", 8000', f'"127.0.0.1", {served.port}'
    )
    if language == "js":
        outputs = [in_chromium(request.getfixturevalue("chromium"), served.url, code)]
        if shutil.which("node"):
            outputs.append(run("node", "--input-type=module", "-e", code))
    elif language == "sh":
        outputs = [run("bash", "-c", code)]
    else:
        own = "mlserver" in code or "mlflow" in code
        outputs = [run(str(CLIENTS) if own else sys.executable, "-W", "ignore", "-c", code)]
    for output in outputs:
        assert output.strip() == printed.strip()


def test_each_request_names_its_protocol_in_the_metrics(served):
    requests.post(f"{served.url}/models/plain/invocations", json={"inputs": ROWS.tolist()}, timeout=30)
    requests.post(
        f"{served.url}/v2/models/plain/infer",
        json={"inputs": [{"name": "input", "shape": [4, 2], "datatype": "FP64", "data": ROWS.tolist()}]},
        timeout=30,
    )
    text = requests.get(f"{served.url}/metrics", timeout=30).text
    for protocol in ("mlflow", "v2"):
        assert re.search(rf'mlapi_requests_total{{.*model="plain".*protocol="{protocol}".*}} [1-9]', text), text
