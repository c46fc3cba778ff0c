"""Where batches of the API read and write: a bucket that forgets, and the service's right to use it."""

from __future__ import annotations

from troposphere import Output, Sub, Template

from cloudformation.service_bucket import add_bucket, add_parameters, let_service
from cloudformation.standalone import new_template

# A batch that runs anew deletes the parts of the one before, and gives up an upload that fails.
ACTIONS = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]


def batches_stack() -> Template:
    """Return the template of the bucket, whose files expire, and of the task role's policy."""
    template = new_template("mlapi: the bucket of batch scoring")
    add_parameters(template, expires="Days after which inputs and outputs are deleted. They may be personal data.")
    bucket = add_bucket(template, "BatchBucket", tag="batches", rule="ExpireBatches")
    let_service(template, bucket, ACTIONS, name="RunBatches", sids=("ReadAndWriteBatches", "ListBatches"))
    template.add_output(
        Output(
            "BatchLocations", Value=Sub(f"s3://${{{bucket.title}}}"), Description="The value of MODELS_BATCH_LOCATIONS"
        )
    )
    return template
