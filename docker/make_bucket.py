"""Makes the bucket that MODELS_STORAGE names, with versions kept: for the S3 server of compose.yaml."""

import os
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError


def make_bucket(name: str) -> None:
    """Make the bucket unless it is there, and have it keep versions."""
    s3 = boto3.client("s3")
    try:
        s3.create_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
            raise
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    print(f"The bucket {name} is there and keeps versions.")


if __name__ == "__main__":
    make_bucket(urlsplit(os.environ["MODELS_STORAGE"]).netloc)
