"""Where the image is kept."""

from __future__ import annotations

import json

from troposphere import Template, ecr

from cloudformation.links import skipped_checks, tags

# A tag that begins with this was given where an environment deployed the image.
DEPLOYED_PREFIX = "deployed-"

_DAYS_WITHOUT_TAG, _IMAGES_KEPT, _DEPLOYED_KEPT = 7, 30, 100


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
            # An image that a rule selects is out of reach of the rules after it, whether it expires or not.
            "rulePriority": 1,
            "description": "What an environment runs or ran; the rules below do not touch it",
            "selection": {
                "tagStatus": "tagged",
                "tagPatternList": [f"{DEPLOYED_PREFIX}*"],
                "countType": "imageCountMoreThan",
                "countNumber": _DEPLOYED_KEPT,
            },
            "action": {"type": "expire"},
        },
        {
            "rulePriority": 2,
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
            "rulePriority": 3,
            "description": "All but the newest images; a rollback reaches as far back",
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": _IMAGES_KEPT},
            "action": {"type": "expire"},
        },
    ]
}
