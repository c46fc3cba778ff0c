"""The sentences about acceleration."""

from __future__ import annotations

import json
from dataclasses import replace

from models_registry.compilation import AccelerationReport

COMPILED = AccelerationReport(
    "onnx64",
    rows_verified=512,
    tolerance=1e-7,
    largest_difference=4.2e-13,
    native_microseconds=490.0,
    compiled_microseconds=12.0,
)


def test_compiled_report_is_one_sentence() -> None:
    assert COMPILED.describe() == (
        "ONNX, float64: 41 × faster than scikit-learn (12 µs against 490 µs a row), labels equal on 512 rows, "
        "scores within 1e-12"
    )


def test_report_says_where_the_native_form_takes_over() -> None:
    report = replace(COMPILED, batch_timings=((1, 490.0, 12.0), (64, 500.0, 500.0), (1_024, 1_000.0, 8_000.0)))
    assert report.native_from_rows == 64
    assert report.describe().endswith("; from 64 rows on, scikit-learn itself is faster and answers")
    assert AccelerationReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert replace(report, kind="native").native_from_rows is None


def test_native_report_gives_the_reason() -> None:
    report = AccelerationReport("native", "KNNImputer has no compiled form here")
    assert report.describe() == "scikit-learn itself: KNNImputer has no compiled form here"


def test_report_survives_json() -> None:
    body = json.loads(json.dumps(COMPILED.to_json()))
    assert AccelerationReport.from_json(body) == COMPILED
    assert body["speedup"] == COMPILED.speedup
    assert body["description"] == COMPILED.describe()
