"""Several variables in one: what a template of fixed variables lets through."""

from __future__ import annotations

import pytest

from mlapi.extra_environment import ExtraEnvironmentError, expand


def test_extra_variables_and_secrets_yield_to_own_ones() -> None:
    environment = {
        "PORT": "1",
        "MLAPI_EXTRA_ENVIRONMENT": '{"PORT": "2", "A": "b"}',
        "MLAPI_EXTRA_SECRETS": '{"TOKEN": "t"}',
    }
    expand(environment)
    assert (environment["PORT"], environment["A"], environment["TOKEN"]) == ("1", "b", "t")


def test_without_either_nothing_is_set() -> None:
    environment = {"PORT": "1"}
    expand(environment)
    assert environment == {"PORT": "1"}


@pytest.mark.parametrize("text", ["hush", '["hush"]', '{"A": 1}'])
@pytest.mark.parametrize("source", ["MLAPI_EXTRA_ENVIRONMENT", "MLAPI_EXTRA_SECRETS"])
def test_invalid_extra_environment_is_reported_without_its_value(source: str, text: str) -> None:
    with pytest.raises(ExtraEnvironmentError) as raised:
        expand({source: text})
    assert source in str(raised.value)
    assert "hush" not in str(raised.value)
