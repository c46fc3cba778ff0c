"""The image on a serverless SageMaker endpoint: nothing runs, and nothing is paid for, between requests."""

from __future__ import annotations

from troposphere import GetAtt, Output, Parameter, Ref, Sub, Template, iam, sagemaker

from cloudformation.links import imported, tags
from cloudformation.parameters import DATA_STACK
from cloudformation.standalone import add_parameter, new_template

_MEMORY_SIZES = (1024, 2048, 3072, 4096, 5120, 6144)


def sagemaker_stack() -> Template:
    """Return the template of a serverless endpoint with one model of the data stack's bucket."""
    template = new_template("mlapi: one model on a serverless SageMaker endpoint")
    _add_parameters(template)
    role = template.add_resource(_role())
    model = template.add_resource(_model(role))
    config = template.add_resource(_config(model))
    endpoint = template.add_resource(
        sagemaker.Endpoint("Endpoint", EndpointConfigName=GetAtt(config, "EndpointConfigName"), Tags=tags("endpoint"))
    )
    template.add_output(
        Output("EndpointName", Value=GetAtt(endpoint, "EndpointName"), Description="Invoke it by this name")
    )
    return template


def _add_parameters(template: Template) -> None:
    add_parameter(
        template,
        Parameter(DATA_STACK, Type="String", Default="mlapi-dev-data", Description="Name of the data stack."),
    )
    add_parameter(
        template,
        Parameter(
            "ImageTag",
            Type="String",
            AllowedPattern="[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}",
            Description="Tag of an image for X86_64: SageMaker's serverless endpoints have no ARM.",
        ),
    )
    add_parameter(
        template,
        Parameter(
            "ModelKey",
            Type="String",
            AllowedPattern=r"[A-Za-z0-9/_.-]+\.tar\.gz",
            ConstraintDescription="expected the key of a .tar.gz",
            Description="Key of a .tar.gz in the model bucket, with the model's file inside.",
        ),
    )
    add_parameter(
        template,
        Parameter(
            "MemorySize",
            Type="Number",
            Default="2048",
            AllowedValues=[str(size) for size in _MEMORY_SIZES],
            Description="Memory in MiB; a vCPU comes with each 1,769 MiB.",
        ),
    )
    add_parameter(
        template,
        Parameter(
            "MaxConcurrency",
            Type="Number",
            Default="5",
            MinValue=1,
            MaxValue=200,
            Description="Maximum number of concurrent requests; more are refused.",
        ),
    )


def _role() -> iam.Role:
    return iam.Role(
        "Role",
        AssumeRolePolicyDocument={
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sagemaker.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}},
                }
            ],
        },
        Policies=[
            iam.Policy(
                PolicyName="ServeOneModel",
                PolicyDocument={
                    "Version": "2012-10-17",
                    "Statement": [_log_in(), _pull_image(), _read_model(), _write_logs(), _write_metrics()],
                },
            )
        ],
        Tags=tags("sagemaker"),
    )


def _log_in() -> dict[str, object]:
    # the one call that knows no resource
    return {"Sid": "LogInToEcr", "Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}


def _pull_image() -> dict[str, object]:
    return {
        "Sid": "PullImage",
        "Effect": "Allow",
        "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Resource": imported(DATA_STACK, "RepositoryArn"),
    }


def _read_model() -> dict[str, object]:
    key = Sub("${Bucket}/${ModelKey}", {"Bucket": imported(DATA_STACK, "ModelBucketArn")})
    return {"Sid": "ReadModel", "Effect": "Allow", "Action": "s3:GetObject", "Resource": key}


def _write_logs() -> dict[str, object]:
    group = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws/sagemaker/Endpoints/*"
    return {
        "Sid": "WriteLogs",
        "Effect": "Allow",
        "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": Sub(group),
    }


def _write_metrics() -> dict[str, object]:
    return {
        "Sid": "WriteMetrics",
        "Effect": "Allow",
        "Action": "cloudwatch:PutMetricData",
        "Resource": "*",
        "Condition": {"StringEquals": {"cloudwatch:namespace": "/aws/sagemaker/Endpoints"}},
    }


def _model(role: iam.Role) -> sagemaker.Model:
    return sagemaker.Model(
        "Model",
        ExecutionRoleArn=GetAtt(role, "Arn"),
        EnableNetworkIsolation=True,  # under SageMaker the service calls no other service
        PrimaryContainer=sagemaker.ContainerDefinition(
            Image=Sub("${Repository}:${ImageTag}", {"Repository": imported(DATA_STACK, "RepositoryUri")}),
            ModelDataUrl=Sub("s3://${Bucket}/${ModelKey}", {"Bucket": imported(DATA_STACK, "ModelBucket")}),
        ),
        Tags=tags("model"),
    )


def _config(model: sagemaker.Model) -> sagemaker.EndpointConfig:
    return sagemaker.EndpointConfig(
        "EndpointConfig",
        ProductionVariants=[
            sagemaker.ProductionVariant(
                VariantName="main",
                ModelName=GetAtt(model, "ModelName"),
                InitialVariantWeight=1.0,
                ServerlessConfig=sagemaker.ServerlessConfig(
                    MemorySizeInMB=Ref("MemorySize"), MaxConcurrency=Ref("MaxConcurrency")
                ),
            )
        ],
        Tags=tags("endpoint-config"),
    )
