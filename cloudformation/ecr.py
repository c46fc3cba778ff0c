"""Where the image is kept."""

from __future__ import annotations

import json

from troposphere import Template, ecr

from cloudformation.links import skipped_checks, tags

_DAYS_WITHOUT_TAG, _IMAGES_KEPT = 7, 30


def add_repository(template: Template) -> ecr.Repository:
    """Add a repository that scans what is pushed, never moves a tag, and forgets old images."""
    return template.add_resource(
        ecr.Repository(
            "Repository",
            DeletionPolicy="Retain",
            UpdateReplacePolicy="Retain",
            ImageScanningConfiguration=ecr.ImageScanningConfiguration(ScanOnPush=True),
            ImageTagMutability="IMMUTABLE",  # so that rolling back to a tag means the same bytes
            EncryptionConfiguration=ecr.EncryptionConfiguration(EncryptionType="AES256"),
            LifecyclePolicy=ecr.LifecyclePolicy(LifecyclePolicyText=json.dumps(_LIFECYCLE, sort_keys=True)),
            Metadata=skipped_checks(CKV_AWS_136="Images hold no secret; a key of its own would cost $1 a month"),
            Tags=tags("images"),
        )
    )


_LIFECYCLE = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "Layers that lost their tag",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": _DAYS_WITHOUT_TAG,
            },
            "action": {"type": "expire"},
        },
        {
            "rulePriority": 2,
            "description": "All but the newest images; a rollback reaches as far back",
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": _IMAGES_KEPT},
            "action": {"type": "expire"},
        },
    ]
}
