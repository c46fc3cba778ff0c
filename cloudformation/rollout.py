"""Carries a plan out, and takes it back: every step can be repeated, so a rollout that was cut short goes on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from cloudformation import image as images
from cloudformation.aws import Aws, AwsError, run
from cloudformation.config import ConfigurationError, Settings
from cloudformation.image import Image
from cloudformation.parameters import stack_name
from cloudformation.plan import Deployment, plan, shell_text
from cloudformation.stacks import STACKS, data_stack

# After a first creation that failed, a stack can only be deleted.
_MUST_GO = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS", "DELETE_FAILED"}


def deploy(settings: Settings, base_image: str = "") -> None:
    """Bring the network, the data, the image and the service to what the settings say, in this order.

    The image is built on `base_image` where one is named, e.g. a mirror's.
    """
    require_image_tag(settings)
    network, data, service = plan(settings)
    aws = Aws(settings.region)
    _deploy_stack(aws, network, step="1/4")
    _deploy_stack(aws, data, step="2/4")
    of_data = aws.outputs(data.stack)
    _push_image(aws, settings, of_data, base_image, step="3/4")
    _deploy_stack(aws, service, step="4/4")
    of_service = aws.outputs(service.stack)
    _wait_for_tasks(aws, of_service)
    print("\n" + "\n".join(_how_to_reach(settings, of_data, of_service)))


def dry_run(settings: Settings, base_image: str = "") -> Iterator[str]:
    """Yield the commands of a deployment as they would be typed."""
    require_image_tag(settings)
    network, data, service = plan(settings)
    uri = _output_command(settings, "data", "RepositoryUri")
    print_password, log_in = images.login_commands(settings.region, "${REPOSITORY%%/*}", "docker")
    yield "# 1. the network, and 2. the data"
    yield shell_text(network.command())
    yield shell_text(data.command())
    yield "# 3. the image, unless the repository has the tag already"
    yield f"REPOSITORY=$({' '.join(uri)})"
    yield " ".join(
        images.build_command(
            settings, f'"$REPOSITORY:{settings.image_tag}"', "docker", shlex.quote(base_image) if base_image else ""
        )
    )
    yield f'{" ".join(print_password)} | {" ".join(log_in[:-1])} "{log_in[-1]}"'
    yield " ".join(images.push_command(f'"$REPOSITORY:{settings.image_tag}"', "docker"))
    yield "# 4. the service; wait until its tasks are stable; where it is"
    yield shell_text(service.command())
    yield (
        "aws ecs wait services-stable --region "
        f"{settings.region} --cluster $({' '.join(_output_command(settings, 'service', 'Cluster'))}) "
        f"--services $({' '.join(_output_command(settings, 'service', 'Service'))})"
    )
    yield " ".join(_output_command(settings, "service", "Url"))


def destroy(settings: Settings) -> None:
    """Delete the service, the data and the network, and say what stays because it was meant to."""
    _refuse_protected(settings)
    aws = Aws(settings.region)
    kept = _kept(aws, stack_name(settings, "data"))
    for stack in reversed(STACKS):
        _delete_stack(aws, stack_name(settings, stack))
    print("\n" + "\n".join(_what_stays(settings, kept)))


def destroy_dry_run(settings: Settings) -> Iterator[str]:
    """Yield the commands of a teardown as they would be typed."""
    for stack in reversed(STACKS):
        yield from (shell_text(command) for command in _delete_commands(settings.region, stack_name(settings, stack)))


def require_image_tag(settings: Settings) -> None:
    if not settings.image_tag:
        raise ConfigurationError(
            "No image tag. Give one that the repository does not have yet, for example "
            "--image-tag $(git rev-parse --short HEAD), or the tag of an image pushed before, to go back to it."
        )


def _deploy_stack(aws: Aws, deployment: Deployment, *, step: str) -> None:
    print(f"[{step}] {deployment.stack}", flush=True)
    status = aws.settled_status(deployment.stack)
    if status in _MUST_GO:
        print(f"      its first creation had failed ({status}); it is deleted and made anew", flush=True)
        _delete_stack(aws, deployment.stack)
    if status == "UPDATE_ROLLBACK_FAILED":
        raise AwsError(
            f"{deployment.stack} could not be rolled back. See what stands in the way below, then run\n"
            f"  aws cloudformation continue-update-rollback --region {aws.region} --stack-name {deployment.stack}\n"
            + "\n".join(aws.failures(deployment.stack))
        )
    try:
        run(deployment.command())
    except AwsError as error:
        if aws.stack(deployment.stack) is None:
            raise
        causes = "\n".join(f"  {line}" for line in aws.failures(deployment.stack))
        raise AwsError(f"{deployment.stack} was not deployed:\n{causes or error}") from error


def _push_image(aws: Aws, settings: Settings, outputs: dict[str, str], base_image: str, *, step: str) -> None:
    image = Image(outputs["Repository"], outputs["RepositoryUri"], settings.image_tag)
    print(f"[{step}] {image.reference}", flush=True)
    if images.is_pushed(aws, image):
        print("      is there already", flush=True)
    else:
        images.build_and_push(settings, image, base_image)


def _wait_for_tasks(aws: Aws, outputs: dict[str, str]) -> None:
    aws.call("ecs", "wait", "services-stable", "--cluster", outputs["Cluster"], "--services", outputs["Service"])


def _how_to_reach(settings: Settings, data: dict[str, str], service: dict[str, str]) -> Iterator[str]:
    yield f"API       {service['Url']}/docs"
    if settings.admin_cidr:
        yield f"Admin     {service['AdminUrl']}  (from {settings.admin_cidr})"
        yield "          user admin, password:"
        yield (
            f"          aws secretsmanager get-secret-value --region {settings.region} "
            f"--secret-id {data['AdminPasswordArn']} --query SecretString --output text"
        )
    else:
        yield "Admin     closed to the internet; open it to yourself with --set AdminCidr=$YOUR_ADDRESS/32"
    yield f"Upload    aws s3 cp model.joblib s3://{data['ModelBucket']}/{data['ModelPrefix']}/NAME/model.joblib"
    yield f"Logs      aws logs tail {service['LogGroup']} --region {settings.region} --follow"


def _output_command(settings: Settings, stack: str, output: str) -> list[str]:
    query = f"Stacks[0].Outputs[?OutputKey=='{output}'].OutputValue"
    name = stack_name(settings, stack)
    command = ["aws", "cloudformation", "describe-stacks", "--region", settings.region, "--stack-name", name]
    return [*command, "--query", f'"{query}"', "--output", "text"]


def _refuse_protected(settings: Settings) -> None:
    if settings.is_prod:
        raise ConfigurationError(
            "prod is protected from deletion, and this command does not lift that. Read in docs/aws.md, "
            "under Teardown, how the balancer's and the database's protection are lifted by hand; then "
            "delete the stacks with the commands of --dry-run."
        )


def _delete_commands(region: str, stack: str) -> Iterator[list[str]]:
    yield ["aws", "cloudformation", "delete-stack", "--region", region, "--stack-name", stack]
    yield ["aws", "cloudformation", "wait", "stack-delete-complete", "--region", region, "--stack-name", stack]


def _delete_stack(aws: Aws, stack: str) -> None:
    if aws.stack(stack) is None:
        print(f"{stack} is not there", flush=True)
        return
    print(f"{stack} is being deleted", flush=True)
    try:
        for command in _delete_commands(aws.region, stack):
            run(command)
    except AwsError as error:
        causes = "\n".join(f"  {line}" for line in aws.failures(stack))
        raise AwsError(f"{stack} was not deleted:\n{causes or error}") from error


def _kept(aws: Aws, stack: str) -> dict[str, str]:
    """Return the physical names of what the stack's deletion leaves, by logical name."""
    if aws.stack(stack) is None:
        return {}
    listed = aws.call("cloudformation", "describe-stack-resources", "--stack-name", stack)["StackResources"]
    resources = data_stack().to_dict()["Resources"]
    policies = {name: resource.get("DeletionPolicy") for name, resource in resources.items()}
    return {
        f"{resource['ResourceType']} {resource['LogicalResourceId']}": resource["PhysicalResourceId"]
        for resource in listed
        if policies.get(resource["LogicalResourceId"]) in {"Retain", "Snapshot"}
        and resource["ResourceType"] != "AWS::S3::BucketPolicy"
    }


def _what_stays(settings: Settings, kept: dict[str, str]) -> Iterator[str]:
    if not kept:
        yield "Nothing stays of this deployment."
        return
    yield "What stays, and is billed until you delete it (docs/aws.md, Teardown, has the commands):"
    for what, name in kept.items():
        note = "  (as a snapshot)" if what.startswith("AWS::RDS::DBInstance") else ""
        yield f"  {what}: {name}{note}"
