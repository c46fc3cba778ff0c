"""A model's pages for drift and quality: each figure beside numpy's, SciPy's and scikit-learn's."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from django.contrib.auth.models import User
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance
from sklearn import metrics
from sklearn.linear_model import LinearRegression, LogisticRegression

from models_registry import services
from models_registry.artifacts.inference import infer_schema
from models_registry.models import ModelVersion
from tests.mlapi.test_drift_api import ROWS as REFERENCE
from tests.mlapi.test_drift_api import served  # noqa: F401
from tests.mlapi.test_ground_truth import NUMBERS, ROWS, TARGETS, URL, client, labels_of, serve  # noqa: F401
from tests.mlapi.test_logged_rows import log  # noqa: F401
from tests.monitoring.test_replay import classifier
from tests.support.registry import version

pytestmark = pytest.mark.django_db

SHIFTED = [[first, second + 10] for first, second in REFERENCE]


def row_text(answer, attribute: str) -> str:
    """Return the words of the table's row that has this attribute."""
    (row,) = re.findall(rf"<tr {re.escape(attribute)}.*?</tr>", answer.content.decode(), re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", row).split())


def chart_data(chart) -> dict[str, list[float]]:
    """Return the series that Chart.js draws, by name."""
    return {item["label"]: item["data"] for item in json.loads(chart.data)["datasets"]}


# Drift


def test_drift_page_agrees_with_scipy(served, look):  # noqa: F811
    served(SHIFTED)
    answer = look("drift")
    before, after = np.array(REFERENCE)[:, 1], np.array(SHIFTED)[:, 1]
    size = wasserstein_distance(before, after) / np.std(before)
    words = row_text(answer, 'data-column="x1"')
    assert words.startswith(f"x1 changed The effect size {size:.3f} is above 0.1."), words
    assert f"{size:.3f} Wasserstein distance 300 reference 300 0 % reference 0 %" in words
    assert row_text(answer, 'data-column="x0"').startswith("x0 fine The effect size 0.000 is at most 0.1.")
    labels = [classifier(0).predict(rows) for rows in (REFERENCE, SHIFTED)]
    shares = [[np.mean(side == name) for name in ("no", "yes")] for side in labels]
    assert f"{jensenshannon(*shares):.3f} Jensen-Shannon distance" in row_text(answer, 'data-column="Predictions"')


def test_plot_agrees_with_numpy(served, look):  # noqa: F811
    served(SHIFTED)
    answer = look("drift")
    plots = {plot.name: plot for plot in answer.context["plots"]}
    assert set(plots) == {"Predictions", "x0", "x1"}
    plot = plots["x1"]
    inner = [float(name.split(" to ")[0]) for name, _, _ in plot.rows[1:-1]]
    edges = [-np.inf, *inner, float(plot.rows[-1][0].split()[0]), np.inf]
    expected = [100 * np.histogram(np.array(rows)[:, 1], edges)[0] / 300 for rows in (REFERENCE, SHIFTED)]
    drawn = chart_data(plot.chart)
    assert drawn["reference, %"] == pytest.approx(expected[0], abs=0.005)
    assert drawn["window, %"] == pytest.approx(expected[1], abs=0.005)
    told = [(f"{row[1]:.4g} %", f"{row[2]:.4g} %") for row in plot.rows]
    (table,) = re.findall(r'data-plot="x1".*?<tbody>(.*?)</tbody>', answer.content.decode(), re.S)
    assert re.findall(r"<td>([^<]*)</td><td>([^<]*)</td>", table) == told


def test_drift_page_names_its_reference(served, look):  # noqa: F811
    served(SHIFTED)
    assert b"The reference is the version&#x27;s sample: 300 rows." in look("drift").content.replace(
        b"version's", b"version&#x27;s"
    )


@pytest.mark.parametrize(
    ("query", "rows"),
    [("?version=2", 0), ("?version=1", 300), ("?window=1h", 300), ("?version=99", 300), ("?window=2h", 300)],
)
def test_drift_page_shows_the_version_and_time_chosen(query, rows, served, look):  # noqa: F811
    version("m", 2, sample={"instances": REFERENCE})
    served(SHIFTED)
    answer = look("drift", query)
    assert (answer.status_code, answer.context["version"]["rows"]) == (200, rows)


@pytest.mark.parametrize(
    ("rows", "sample", "told"),
    [
        (0, REFERENCE, "A verdict needs 200 rows on both sides. 0 logged rows are compared."),
        (50, REFERENCE, "Choose a longer time, wait for more requests, or log a larger share of them."),
        (50, REFERENCE[:20], "--reference train.csv"),
        (300, [], "There is no reference."),
    ],
)
def test_drift_page_says_what_is_missing(rows, sample, told, served, look):  # noqa: F811
    ModelVersion.objects.update(sample={"instances": sample, "predictions": ["yes"] * len(sample)})
    if rows:
        served(SHIFTED[:rows])
    answer = look("drift")
    assert told in " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())
    assert answer.context["plots"] == []


def test_rows_that_fail_to_be_read_are_told(served, log, look):  # noqa: F811
    served(SHIFTED)
    (path,) = log.directory.rglob("*.parquet")
    path.write_bytes(b"PAR1")
    for name in ("drift", "quality"):
        User.objects.all().delete()
        assert b"The log cannot be read." in look(name).content


def test_model_without_an_active_version_asks_for_one(look):
    version("m", 1)
    assert b"No version is active. Choose a version above." in look("drift").content


# Quality


def test_classifier_page_agrees_with_scikit_learn(client, load, log, look):  # noqa: F811
    truth = TARGETS["strings"]
    model = LogisticRegression().fit(ROWS[:30], truth[:30])
    serve(load, model)
    client.post("/predict", {"instances": ROWS.tolist()}, **{"X-Request-ID": "r"})
    client.post(URL, labels_of(truth[:50].tolist()))
    log.writer.finish()
    answer = look("quality")
    predicted, scores = model.predict(ROWS[:50]), model.predict_proba(ROWS[:50])
    figures = {
        "Accuracy": metrics.accuracy_score(truth[:50], predicted),
        "Balanced accuracy": metrics.balanced_accuracy_score(truth[:50], predicted),
        "F1, macro": metrics.f1_score(truth[:50], predicted, average="macro"),
        "Log loss": metrics.log_loss(truth[:50], scores),
        "ROC AUC": metrics.roc_auc_score(truth[:50], scores[:, 1]),
    }
    told = " ".join(f"{value:.4g}" for value in figures.values())
    assert row_text(answer, 'data-version="1"') == f"version 1 60 50 ({100 * 50 / 60:.3g} %) {told}"
    charts = {chart.title: chart_data(chart)["version 1"] for chart in answer.context["charts"]}
    assert charts.pop("Rows with a label, %") == [pytest.approx(100 * 50 / 60, abs=1e-6)]
    assert charts == {name: [pytest.approx(value, abs=1e-6)] for name, value in figures.items()}
    (by_label,) = re.findall(r'data-labels="1".*?<tbody>(.*?)</tbody>', answer.content.decode(), re.S)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth[:50], predicted)
    expected = sorted(zip(model.classes_, support, precision, recall, f1, strict=True), key=lambda row: -row[1])
    found = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in by_label.split("</tr>")[:-1]]
    assert found == [[name, str(rows), *(f"{value:.4g}" for value in rest)] for name, rows, *rest in expected]


def test_regressor_page_agrees_with_scikit_learn(client, load, log, look):  # noqa: F811
    model = LinearRegression().fit(ROWS[:30], NUMBERS[:30])
    serve(load, model)
    client.post("/predict", {"instances": ROWS.tolist()}, **{"X-Request-ID": "r"})
    client.post(URL, labels_of(NUMBERS.tolist()))
    log.writer.finish()
    predicted = model.predict(ROWS)
    figures = [
        metrics.mean_absolute_error(NUMBERS, predicted),
        metrics.root_mean_squared_error(NUMBERS, predicted),
        metrics.r2_score(NUMBERS, predicted),
    ]
    told = " ".join(f"{value:.4g}" for value in figures)
    assert row_text(look("quality"), 'data-version="1"') == f"version 1 60 60 (100 %) {told}"


def test_page_without_labels_says_how_to_send_them(client, load, log, look):  # noqa: F811
    serve(load, LogisticRegression().fit(ROWS, TARGETS["strings"]))
    services.activate(
        version("m", 2, schema=infer_schema(LogisticRegression().fit(ROWS, NUMBERS > 0)).to_json()), by="x"
    )
    client.post("/predict", {"instances": ROWS.tolist()})
    log.writer.finish()
    answer = look("quality")
    assert row_text(answer, 'data-version="1"') == "version 1 60 0 (0 %)"
    assert answer.context["charts"] == []
    assert b"No labels yet: send some" in answer.content
    body = re.search(r"-d '(.*)'", answer.context["curl"])[1]
    assert client.post(URL, json.loads(body)).status == 202


def test_page_without_predictions_says_what_to_turn_on(log, look):  # noqa: F811
    version("m", 1)
    answer = look("quality")
    assert b"No prediction was logged in this time." in answer.content
    assert b"The prediction log is off" in answer.content


@pytest.mark.parametrize("name", ["drift", "quality"])
def test_pages_need_permission_to_view(name, log, look):  # noqa: F811
    version("m", 1)
    assert look(name, permissions=("activate_modelversion",)).status_code == 403
