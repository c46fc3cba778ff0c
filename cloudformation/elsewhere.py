"""What the same requests cost elsewhere at AWS, each way with what it was counted with."""

from __future__ import annotations

from dataclasses import dataclass

from cloudformation.prices import HOURS, PRICES
from cloudformation.usage import MINUTES

# A small model's prediction with a framework around it; measured on one processor, rounded up.
_LAMBDA_SECONDS, _LAMBDA_GB = 0.010, 1.0
_SERVERLESS_SECONDS = 0.020
_REQUEST_GB = 1_600 / 1e9
_ENDPOINT_INSTANCES = 2


@dataclass(frozen=True, slots=True)
class Alternative:
    """One other way to answer the same requests."""

    name: str
    usd: float
    counted: str
    sources: tuple[str, ...]


def alternatives(per_minute: float) -> list[Alternative]:
    """Return the month of the other ways at `per_minute` requests each minute."""
    requests = per_minute * MINUTES
    function = requests / 1e6 * _usd("lambda-requests") + requests * _LAMBDA_SECONDS * _LAMBDA_GB * _usd(
        "lambda-gb-second"
    )
    serverless = requests * (
        _SERVERLESS_SECONDS * _usd("sagemaker-serverless-2gb") + _REQUEST_GB * _usd("sagemaker-data")
    )
    endpoint = _ENDPOINT_INSTANCES * HOURS * _usd("ml.m5.large") + requests * _REQUEST_GB * _usd("sagemaker-data")
    return [
        Alternative(
            "Lambda", function, "ARM, 1 GB, 10 ms a request, a function URL; without logs and cold starts",
            _sources("lambda-requests", "lambda-gb-second"),
        ),
        Alternative(
            "SageMaker serverless", serverless, "2 GB, 20 ms a request; without logs and cold starts",
            _sources("sagemaker-serverless-2gb", "sagemaker-data"),
        ),
        Alternative(
            "SageMaker endpoint", endpoint, "two ml.m5.large in two zones, all month; without logs",
            _sources("ml.m5.large", "sagemaker-data"),
        ),
    ]  # fmt: skip


def _usd(price: str) -> float:
    return PRICES[price].usd


def _sources(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(PRICES[name].source for name in names))
