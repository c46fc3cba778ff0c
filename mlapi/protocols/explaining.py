"""Adds explanations to a response: contributions by input feature, one object for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlapi.protocols.base import CallStats, HttpError
from mlapi.protocols.predicting import ModelErrors, Rows
from models_registry.artifacts.prediction import Prediction
from models_registry.errors import InputError, NotExplainable
from models_registry.inference.explaining import explain_in_turn
from models_registry.inference.model_calls import under_way
from models_registry.inference.runtime import LoadedModel

if TYPE_CHECKING:
    from models_registry.explanations.base import Explanation


async def explain(loaded: LoadedModel, rows: Rows, result: Prediction, stats: CallStats) -> list[dict[str, Any]]:
    """Return one object for each row: the contributions of its features to its prediction in `result`.

    Raises HttpError 400 if the explanation is not exact or takes too long, Busy if too many explanations are queued,
    and the errors of loading the native model, such as StorageUnavailable.
    """

    def work() -> Explanation:
        explainer = loaded.explainer.get()
        explainer.require_affordable(len(rows))
        with ModelErrors(loaded, len(rows), stats), under_way(version_id=loaded.version_id):
            return explainer.explain(rows)

    try:
        explanation = await explain_in_turn(work)
    except NotExplainable as error:
        raise HttpError(
            400,
            "no_explanation",
            f"{loaded.name} version {loaded.number} has no exact explanation: {error}. Omit 'explain'.",
            model=loaded.name,
            version=loaded.number,
        ) from error
    except InputError as error:
        raise HttpError(400, error.code, str(error), **error.details) from error
    return _by_row(explanation, result, loaded)


def _by_row(explanation: Explanation, result: Prediction, loaded: LoadedModel) -> list[dict[str, Any]]:
    names, classes = loaded.schema.names, loaded.schema.classes
    values = explanation.values
    answers = []
    for row, label in enumerate(result.predictions()):
        output = explanation.output_of(label, loaded.schema.positions)
        answers.append(
            {
                "output": explanation.output,
                **({} if classes is None else {"class": label if values.shape[1] > 2 else classes[-1]}),
                "base_value": explanation.base[output].item(),
                "value": values[row, output].item(),
                "contributions": dict(zip(names, explanation.contributions[row, output].tolist(), strict=True)),
            }
        )
    return answers
