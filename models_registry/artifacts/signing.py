"""Checks OpenSSF model signatures; optional, by MODELS_SIGNATURES.

A signature is a sigstore bundle next to the artifact, made with `model_signing sign key`. It is checked against the
public key in MODELS_SIGNATURE_KEY, and needs the packages of requirements/signing.txt.
"""

import tempfile
from pathlib import Path
from typing import Any

from models_registry.errors import SignatureError

SIGNATURE_SUFFIX = ".sig"
POLICIES = ("off", "warn", "require")


def verify(path: Path, signature: bytes | None, *, policy: str, public_key: str) -> str:
    """Check a signature; return a warning, empty if it is valid or the policy is `off`.

    `signature` is the bundle's content, None without a bundle; `public_key` is the path of a PEM file. With the policy
    `require`, anything but a valid signature raises SignatureError.
    """
    if policy not in POLICIES:
        raise ValueError(f"{policy!r} is not a policy for signatures; expected one of {', '.join(POLICIES)}.")
    if policy == "off":
        return ""
    try:
        _require_valid(path, signature, public_key)
    except SignatureError as error:
        if policy == "require":
            raise
        return str(error)
    return ""


def _require_valid(path: Path, signature: bytes | None, public_key: str) -> None:
    if signature is None:
        raise SignatureError(
            f"The artifact has no signature; expected one beside it, with the ending {SIGNATURE_SUFFIX}. "
            "Sign it with 'model_signing sign key' and publish it again."
        )
    if not public_key or not Path(public_key).is_file():
        raise SignatureError(
            f"The public key {public_key or '(none)'} is not a file. Set MODELS_SIGNATURE_KEY to a PEM file."
        )
    try:
        from model_signing import verifying
    except ImportError as error:
        raise SignatureError(
            f"Signatures cannot be checked, since {error.name} is not installed. Install requirements/signing.txt, "
            "or set MODELS_SIGNATURES=off."
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "artifact.sig"
        bundle.write_bytes(signature)
        try:
            config: Any = verifying.Config
            config().use_elliptic_key_verifier(public_key=public_key).verify(path, bundle)
        except Exception as error:
            # The library raises ValueError, KeyError, and errors of cryptography and of its JSON parser.
            raise SignatureError(
                f"The artifact's signature is not valid for this file and key ({str(error)[:300]}). "
                "Sign the artifact as it is and publish it again."
            ) from error
