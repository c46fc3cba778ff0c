"""Where the image is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass

from troposphere import Equals, GetAtt, If, Ref, Sub, Template, ecr

from cloudformation.key import HAS_KEY
from cloudformation.links import KEPT, skipped_checks, tags

# A tag that begins with this was given where an environment deployed the image.
DEPLOYED_PREFIX = "deployed-"

MAKES_REPOSITORY = "MakesRepository"
_DAYS_WITHOUT_TAG, _IMAGES_KEPT, _DEPLOYED_KEPT = 7, 30, 100


@dataclass(frozen=True, slots=True)
class Images:
    """The repository of the images, whether it is made here or was there before."""

    name: If
    arn: If
    uri: If


def add_conditions(template: Template) -> None:
    template.add_condition(MAKES_REPOSITORY, Equals(Ref("ExistingRepository"), ""))


def add_repository(template: Template) -> Images:
    """Add a repository that scans what is pushed, never moves a tag, and forgets old images."""
    repository = template.add_resource(
        ecr.Repository(
            "Repository",
            Condition=MAKES_REPOSITORY,
            DeletionPolicy=KEPT,
            UpdateReplacePolicy="Retain",
            ImageScanningConfiguration=ecr.ImageScanningConfiguration(ScanOnPush=True),
            ImageTagMutability="IMMUTABLE",  # so that rolling back to a tag means the same bytes
            EncryptionConfiguration=If(
                HAS_KEY,
                ecr.EncryptionConfiguration(EncryptionType="KMS", KmsKey=Ref("KeyArn")),
                ecr.EncryptionConfiguration(EncryptionType="AES256"),
            ),
            LifecyclePolicy=ecr.LifecyclePolicy(LifecyclePolicyText=json.dumps(_LIFECYCLE, sort_keys=True)),
            Metadata=skipped_checks(CKV_AWS_136="Images hold no secret; KeyArn chooses a customer key"),
            Tags=tags("images"),
        )
    )
    account = "${AWS::AccountId}"
    arn = Sub(f"arn:${{AWS::Partition}}:ecr:${{AWS::Region}}:{account}:repository/${{ExistingRepository}}")
    uri = Sub(f"{account}.dkr.ecr.${{AWS::Region}}.${{AWS::URLSuffix}}/${{ExistingRepository}}")
    return Images(
        name=If(MAKES_REPOSITORY, Ref(repository), Ref("ExistingRepository")),
        arn=If(MAKES_REPOSITORY, GetAtt(repository, "Arn"), arn),
        uri=If(MAKES_REPOSITORY, GetAtt(repository, "RepositoryUri"), uri),
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
