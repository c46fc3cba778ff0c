"""A signature is verified with the key; the policy decides about a missing or invalid one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import signing as signer

from models_registry.artifacts import signing
from models_registry.errors import SignatureError


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """Return a folder with an artifact, its signature and the public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(private)
    (tmp_path / "key.pub").write_bytes(public)
    artifact = tmp_path / "model.joblib"
    artifact.write_bytes(b"content")
    config = signer.Config().use_elliptic_key_signer(private_key=tmp_path / "key.pem")
    config.sign(artifact, tmp_path / "model.joblib.sig")
    # The cache names files by their digest, not as they were signed.
    (tmp_path / "cache").mkdir()
    shutil.copy(artifact, tmp_path / "cache" / "ed70.joblib")
    return tmp_path


def verify(folder: Path, *, policy: str = "require", bundle: bytes | None = None, key: str = "key.pub") -> str:
    content = (folder / "model.joblib.sig").read_bytes() if bundle is None else bundle
    path = folder / "cache" / "ed70.joblib"
    return signing.verify(path, content or None, policy=policy, public_key=str(folder / key))


def test_valid_signature_passes_under_another_file_name(signed: Path) -> None:
    assert verify(signed) == ""


def test_changed_artifact_is_refused(signed: Path) -> None:
    (signed / "cache" / "ed70.joblib").write_bytes(b"Content")
    with pytest.raises(SignatureError, match="not valid"):
        verify(signed)


def test_signature_of_another_key_is_refused(signed: Path, tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "other.pub").write_bytes(pem)
    with pytest.raises(SignatureError, match="not valid"):
        verify(signed, key="other.pub")


@pytest.mark.parametrize("bundle", [b"", b"{}", b"\x00", b"[]"])
def test_missing_and_broken_signatures_are_refused(bundle: bytes, signed: Path) -> None:
    with pytest.raises(SignatureError):
        verify(signed, bundle=bundle)


def test_missing_key_is_refused(signed: Path) -> None:
    with pytest.raises(SignatureError, match="MODELS_SIGNATURE_KEY"):
        verify(signed, key="absent.pub")


def test_policy_warn_reports_and_policy_off_is_silent(signed: Path) -> None:
    assert "no signature" in verify(signed, bundle=b"", policy="warn")
    assert verify(signed, bundle=b"", policy="off") == ""
    with pytest.raises(ValueError, match="not a policy"):
        verify(signed, policy="perhaps")
