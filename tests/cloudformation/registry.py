"""Images in the emulator's registry, as a push leaves them: layers, a config with the processor, a manifest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import requests

from tests.cloudformation.conftest import Emulator

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def push(
    aws: Emulator, repository: str, tag: str, *, architecture: str = "arm64", scan: dict[str, Any] | None = None
) -> str:
    """Push an image for one processor, with what a scan of it says; return its digest."""
    config = json.dumps({"architecture": architecture, "os": "linux", "tag": tag}).encode()
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": _upload(aws, repository, config)},
        "layers": [],
    }
    return put(aws, repository, tag, manifest, scan)


def push_index(
    aws: Emulator, repository: str, tag: str, *, architectures: list[str], scan: dict[str, Any] | None = None
) -> str:
    """Push an index over images for several processors; return its digest."""
    parts = [{"digest": "sha256:" + name * 8, "platform": {"architecture": name}} for name in architectures]
    return put(aws, repository, tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": parts}, scan)


def put(aws: Emulator, repository: str, tag: str, manifest: dict[str, Any], scan: dict[str, Any] | None) -> str:
    """Put a manifest under a tag."""
    text = json.dumps(manifest | {"annotations": {} if scan is None else {"scan": json.dumps(scan)}})
    done = aws.client("ecr").put_image(
        repositoryName=repository, imageManifest=text, imageManifestMediaType=manifest["mediaType"], imageTag=tag
    )
    digest: str = done["image"]["imageId"]["imageDigest"]
    return digest


def _upload(aws: Emulator, repository: str, content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    done = requests.post(
        f"{aws.url}/v2/{repository}/blobs/uploads/", params={"digest": digest}, data=content, timeout=10
    )
    assert done.status_code == 201, done.text
    return digest
