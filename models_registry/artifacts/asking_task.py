"""Predicts rows with an artifact: the sandbox task of `asking.ask_in_sandbox`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# The load test loads a model with the same libraries.
from models_registry.artifacts.load_test_task import import_libraries

__all__ = ["import_libraries", "run"]


def open_version(question: Mapping[str, Any], answer: Any) -> tuple[Any, Any]:
    """Return the model and the schema that a request names."""
    from models_registry.artifacts.formats import open_artifact
    from models_registry.artifacts.schema import Schema

    answer.write(stage="while it was loaded")
    model = open_artifact(
        Path(question["path"]),
        question["format"],
        trusted=frozenset(question["trusted"]),
        allow_any_pickle=question["allow_any_pickle"],
    )
    return model, Schema.from_json(question["schema"])


def run(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Return the content of a response, or the reason why the rows are refused."""
    from models_registry.artifacts.prediction import call
    from models_registry.artifacts.prediction_json import content_of
    from models_registry.errors import InputError

    model, schema = open_version(question, answer)
    answer.write(stage="while it predicted")
    try:
        found = call(model, schema.parse(question["instances"]))
    except InputError as error:
        return _refusal(str(error), error.code, error.details)
    except Exception as error:  # noqa: BLE001 - the rows are the cause: the model passed its load test
        return _refusal(f"The model cannot predict for these inputs: {str(error)[:300]}", "model_refused_input", {})
    if not found.is_finite():
        return _refusal("The model returned a number that is not finite for these inputs.", "prediction_not_finite", {})
    content = content_of(
        found, schema, is_single=question["is_single"], with_probabilities=found.probabilities is not None
    )
    return {"content": content}


def _refusal(message: str, code: str, details: Mapping[str, Any]) -> dict[str, Any]:
    return {"refusal": {"message": message, "code": code, "details": dict(details)}}
