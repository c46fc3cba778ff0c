"""Where the prediction log and ground truth go: a bucket that forgets, and the service's right to write and read it."""

from __future__ import annotations

from troposphere import Output, Sub, Template

from cloudformation.service_bucket import add_bucket, add_parameters, let_service
from cloudformation.standalone import new_template


def prediction_log_stack() -> Template:
    """Return the template of the bucket, whose files expire, and of the task role's policy."""
    template = new_template("mlapi: the bucket of the prediction log and of ground truth")
    add_parameters(
        template, expires="Days after which logged requests and labels are deleted. They may be personal data."
    )
    bucket = add_bucket(template, "PredictionLogBucket", tag="prediction-log", rule="ExpirePredictionLog")
    let_service(
        template, bucket, ["s3:GetObject", "s3:PutObject"],
        name="KeepPredictionLog", sids=("WriteAndReadPredictionLog", "ListPredictionLog"),
    )  # fmt: skip
    template.add_output(
        Output("LogStorage", Value=Sub(f"s3://${{{bucket.title}}}"), Description="The value of MODELS_LOG_STORAGE")
    )
    return template
