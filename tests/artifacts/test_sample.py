"""The sample decides whether a model's answers and probabilities are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.sample import check_probabilities, compare_probabilities
from models_registry.errors import ManifestError, NoPrediction, SampleMismatch

LABELS = np.array(["no", "yes"])


@pytest.mark.parametrize(
    "probabilities",
    [
        [[596.56, 3.0], [0.5, 0.5]],
        [[0.5, 0.5], [1.2, -0.2]],
        [[0.5, 0.5], [0.5, 0.4]],
        [[30.0, 0.0], [0.0, 1.0]],
        [[float("nan"), 0.5], [0.5, 0.5]],
    ],
)
def test_what_is_no_probability_is_refused(probabilities: Any) -> None:
    with pytest.raises(NoPrediction, match="expected numbers from 0 to 1 that sum to 1"):
        check_probabilities(Prediction(LABELS, np.array(probabilities)))


@pytest.mark.parametrize(
    "answer",
    [
        Prediction(LABELS, np.array([[0.25, 0.75], [1.0, 0.0]])),
        Prediction(LABELS, np.array([[0.1, 0.9], [0.3, 0.7]], dtype=np.float32)),
        Prediction(LABELS, np.zeros((2, 2))),
        Prediction(np.array([[1, 1], [0, 1]]), np.array([[0.9, 0.8], [0.1, 0.7]])),
        Prediction(np.array([[1, 1]]), (np.array([[0.9, 0.1]]), np.array([[0.2, 0.8]]))),
        Prediction(np.array([1.5, 2.5])),
    ],
    ids=["shares", "float32", "no neighbours", "labels", "outputs", "none"],
)
def test_probabilities_pass(answer: Prediction) -> None:
    check_probabilities(answer)


def test_one_output_of_several_is_named_by_its_row() -> None:
    answer = Prediction(
        np.array([[1, 1], [0, 1]]), (np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([[0.2, 0.8], [7, 3]]))
    )
    with pytest.raises(NoPrediction, match="row 1: 7, 3"):
        check_probabilities(answer)


FOUND = Prediction(LABELS, np.array([[0.25, 0.75], [0.9, 0.1]]))


@pytest.mark.parametrize(
    ("classes", "labels"), [(("no", "yes"), ("no", "yes")), ((0, 1), ("0", "1")), ((False, True), ("false", "true"))]
)
def test_probabilities_are_compared_by_label(classes: tuple[Any, ...], labels: tuple[str, str]) -> None:
    first, second = labels
    compare_probabilities(FOUND, classes, [{second: 0.75, first: 0.2500001}, {first: 0.9}])
    with pytest.raises(SampleMismatch, match=f"Row 1 of the sample.*probability of '{second}', expected 0.2"):
        compare_probabilities(FOUND, classes, [{}, {second: 0.2}])


def test_probabilities_of_several_outputs_are_compared() -> None:
    answer = Prediction(np.array([[1, 0]]), (np.array([[0.1, 0.9]]), np.array([[0.8, 0.2]])))
    classes = ((0, 1), ("a", "b"))
    compare_probabilities(answer, classes, [[{"1": 0.9}, {"a": 0.8}]])
    with pytest.raises(SampleMismatch, match="'a', expected 0.7"):
        compare_probabilities(answer, classes, [[{"1": 0.9}, {"a": 0.7}]])


def test_unknown_class_is_named() -> None:
    with pytest.raises(SampleMismatch, match="the class 'maybe'; the model's classes are 'no', 'yes'"):
        compare_probabilities(FOUND, ("no", "yes"), [{"maybe": 0.5}])


def test_model_without_probabilities_is_named() -> None:
    with pytest.raises(SampleMismatch, match="the model returns none"):
        compare_probabilities(Prediction(LABELS), ("no", "yes"), [{"no": 1.0}])


def test_probabilities_survive_json() -> None:
    body = {"instances": [[1], [2]], "predictions": [0, 1], "probabilities": [{"0": 1.0}, {"0": 0.25, "1": 0.75}]}
    assert Sample.from_json(body).to_json() == body


@pytest.mark.parametrize("wrong", [[{"0": 1.0}], {"0": 1.0}, [{"0": 2.0}, {}], [0.5, 0.5], [{"0": True}, {}]])
def test_wrong_probabilities_are_refused(wrong: Any) -> None:
    with pytest.raises(ManifestError, match="'probabilities'"):
        Sample.from_json({"instances": [[1], [2]], "probabilities": wrong})
