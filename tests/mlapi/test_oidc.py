"""A failed sign-in blames the provider for its answers only, not for faults of this service."""

from __future__ import annotations

import json

import pytest

from tests.support.identity_provider import settings_for
from tests.support.provider_answers import MALFORMED
from tests.support.service import Service, free_port

BLAME = "Example ID cannot be reached, or does not answer as an OpenID Connect provider"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """The status and the text of each sign-in, all in one process."""
    issuer = f"http://127.0.0.1:{free_port()}"
    service = Service(tmp_path_factory.mktemp("oidc"), **settings_for(issuer))
    command = "from tests.support.provider_answers import main; main()"
    return json.loads(service.manage("shell", "--verbosity", "0", "--command", command).stdout.splitlines()[-1])


def test_ordinary_answers_sign_in(results):
    assert results["ordinary"][0] == 302


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_answer_is_the_providers_fault(results, name):
    status, text = results[name]
    assert status == 503
    assert BLAME in text


@pytest.mark.parametrize("name", ["KeyError", "ValueError", "setting without address"])
def test_fault_of_the_service_does_not_blame_the_provider(results, name):
    status, text = results[name]
    assert status == 500
    assert "Example ID" not in text
