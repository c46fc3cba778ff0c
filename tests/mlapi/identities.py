"""A person as a provider's claims tell of them."""

from __future__ import annotations

from mlapi.sign_in.claims import Identity, identity_of

ISSUER, CLIENT, KEY_ID = "https://login.example.com", "registry", "12345678-1234-1234-1234-123456789012"
ANN = {"sub": "00u1", "email": "ann@example.com", "given_name": "Ann", "family_name": "Lee", "groups": ["ml-team"]}


def identity(**changes) -> Identity:
    return identity_of({**ANN, **changes}, issuer=ISSUER)
