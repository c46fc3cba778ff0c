"""Property 17, and the buckets' policies."""

import pytest

from tests.cloudformation.resolving import of_type, resources

DATA = resources("data")


@pytest.mark.parametrize("bucket", ["ModelBucket", "LogBucket"])
def test_bucket_is_versioned_encrypted_private_owned_and_kept(bucket: str) -> None:
    part = DATA[bucket]
    properties = part["Properties"]
    assert (part["DeletionPolicy"], part["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


@pytest.mark.parametrize("bucket", ["ModelBucket", "LogBucket"])
def test_bucket_refuses_plain_http_even_after_the_stack(bucket: str) -> None:
    policy = DATA[f"{bucket}Policy"]
    refusal = policy["Properties"]["PolicyDocument"]["Statement"][0]
    assert (refusal["Effect"], refusal["Principal"], refusal["Action"]) == ("Deny", "*", "s3:*")
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert policy["DeletionPolicy"] == "RetainExceptOnCreate"


def test_no_rule_expires_a_version_of_a_model() -> None:
    (rule,) = DATA["ModelBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert set(rule) == {"Id", "Status", "AbortIncompleteMultipartUpload"}


def test_logs_come_from_balancer_s3_and_network_only() -> None:
    statements = DATA["LogBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    allowed = [(s["Principal"]["Service"], s["Action"]) for s in statements if s["Effect"] == "Allow"]
    assert allowed == [
        ("logdelivery.elasticloadbalancing.amazonaws.com", "s3:PutObject"),
        ("logging.s3.amazonaws.com", "s3:PutObject"),
        ("delivery.logs.amazonaws.com", "s3:PutObject"),
        ("delivery.logs.amazonaws.com", "s3:GetBucketAcl"),
    ]


def test_there_are_two_buckets() -> None:
    assert len(of_type(DATA, "S3::Bucket")) == 2
