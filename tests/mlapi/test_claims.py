"""What a provider's claims say of a person."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from mlapi import environment
from mlapi.sign_in.claims import SignInRefused, identity_of, merged_claims
from tests.mlapi.identities import ISSUER, identity


@pytest.mark.parametrize(
    ("claim", "claims", "expected"),
    [
        ("groups", {"groups": ["a", "b"]}, {"a", "b"}),
        ("groups", {"groups": "a, b"}, {"a", "b"}),
        ("groups", {"groups": '["a","b"]'}, {"a", "b"}),
        ("groups", {"groups": "a"}, {"a"}),
        ("groups", {"groups": None}, set()),
        ("groups", {"groups": {"a": 1}}, set()),
        ("groups", {"groups": [1, "a", None, " "]}, {"a"}),
        ("groups", {}, set()),
        ("cognito:groups", {"cognito:groups": ["a"]}, {"a"}),
        ("realm_access.roles", {"realm_access": {"roles": ["a"]}}, {"a"}),
        ("realm_access.roles", {"realm_access": "a"}, set()),
        ("https://x.example.com/groups", {"https://x.example.com/groups": ["a"]}, {"a"}),
    ],
)
def test_groups_are_read_as_providers_write_them(settings, claim, claims, expected):
    settings.MLAPI_SIGN_IN_GROUPS_CLAIM = claim
    read = identity_of({"sub": "1", "email": "a@example.com", **claims}, issuer=ISSUER)
    assert read.groups == expected


@pytest.mark.parametrize(
    "claims", [{}, {"sub": ""}, {"sub": 7}, {"sub": "s" * 256}, {"sub": "1"}, {"sub": "1", "email": None}]
)
def test_claims_without_subject_or_username_are_refused(claims):
    with pytest.raises(SignInRefused):
        identity_of(claims, issuer=ISSUER)


def test_username_keeps_to_what_accounts_allow():
    assert identity(email="Ann Lee <a\0nn>/" + "x" * 200).username == ("Ann-Lee--ann--" + "x" * 200)[:150]


def test_group_map_is_read_from_pairs(monkeypatch):
    monkeypatch.setenv("PAIRS", "ml-admins=superuser, cn=ops=Operators")
    assert environment.pairs("PAIRS") == {"ml-admins": "superuser", "cn=ops": "Operators"}
    monkeypatch.setenv("PAIRS", "ml-admins")
    with pytest.raises(ImproperlyConfigured, match="'ml-admins'; expected pairs"):
        environment.pairs("PAIRS")


def test_userinfo_adds_to_the_id_token(settings):
    settings.MLAPI_OIDC_ISSUER = ISSUER + "/"
    token = {"iss": ISSUER, "sub": "1", "groups": ["a"], "email": "old@example.com"}
    merged = merged_claims({"id_token": token, "userinfo": {"sub": "1", "email": "new@example.com"}})
    assert (merged["groups"], merged["email"]) == (["a"], "new@example.com")


@pytest.mark.parametrize(
    "received",
    [
        {},
        {"userinfo": {"sub": "1"}},
        {"id_token": {"sub": "1"}},
        {"id_token": {"sub": "1", "iss": "https://elsewhere.example.com"}},
        {"id_token": {"sub": "1", "iss": ISSUER}, "userinfo": {"sub": "2"}},
        {"id_token": {"sub": "1", "iss": ISSUER}, "userinfo": {"email": "a@example.com"}},
    ],
)
def test_answer_of_another_issuer_or_person_is_refused(settings, received):
    settings.MLAPI_OIDC_ISSUER = ISSUER
    with pytest.raises(SignInRefused):
        merged_claims(received)
