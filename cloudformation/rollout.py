"""Carries a plan out, and takes it back: every step can be repeated, so a rollout that was cut short continues."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from cloudformation import image as images
from cloudformation import preflight, promotion
from cloudformation.aws import Aws, AwsError, run
from cloudformation.changes import Preview, preview, require_data_kept
from cloudformation.config import ConfigurationError, Settings
from cloudformation.image import Image
from cloudformation.parameters import stack_name
from cloudformation.plan import Deployment, plan, shell_text
from cloudformation.resolution import NOTHING, Deployed
from cloudformation.stacks import STACKS, TEMPLATE_MAKERS

# After a first creation that failed, a stack can only be deleted. One whose deletion failed may hold data.
_MUST_GO = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What somebody agrees to by name: losing what is in these resources, deploying although an alarm is on."""

    data_loss: tuple[str, ...] = ()
    despite_alarms: bool = False


def deploy(settings: Settings, deployed: Deployed, base_image: str = "", consent: Consent | None = None) -> None:
    """Bring the stacks and the image to what the settings say, in the order of the plan.

    The image is built on `base_image` if one is named, e.g. a mirror's.
    """
    require_image_tag(settings)
    consent = consent or Consent()
    deployments = plan(settings, deployed)
    aws = Aws(settings.region)
    for deployment in deployments:
        _require_deployable(aws, deployment.stack)
    if not consent.despite_alarms:
        preflight.require_quiet_alarms(aws, stack_name(settings, "service"))
    preflight.require_traffic(aws, settings, stack_name(settings, "service"))
    previews = {deployment.stack: preview(aws, deployment) for deployment in deployments}
    require_data_kept(previews.values(), consent.data_loss)
    preflight.make_service_linked_roles(
        aws, with_database=settings.create_database, with_api=settings.door == "http-api"
    )
    for number, deployment in enumerate(deployments, start=1):
        step = f"{number}/{len(deployments)}"
        if deployment.kind == "service":
            _push_image(aws, settings, aws.outputs(stack_name(settings, "data")), base_image)
        _deploy_stack(aws, deployment, previews[deployment.stack], consent, step=step)
        if settings.is_prod:
            protect(aws, deployment.stack)
        if deployment.kind == "service":
            if previews[stack_name(settings, "data")].replaces("Database"):
                _restart_tasks(aws, aws.outputs(deployment.stack))
            _wait_for_tasks(aws, aws.outputs(deployment.stack))
            promotion.mark_deployed(aws, promotion.deployed_image(aws, settings), settings.environment_name)
    data, service = (aws.outputs(stack_name(settings, kind)) for kind in ("data", "service"))
    print("\n" + "\n".join(_how_to_reach(settings, data, service)))


def dry_run(settings: Settings, deployed: Deployed = NOTHING, base_image: str = "") -> Iterator[str]:
    """Yield the commands of a deployment as they would be typed."""
    require_image_tag(settings)
    for deployment in plan(settings, deployed):
        if deployment.kind == "service":
            yield "# the image, unless the repository has the tag already"
            yield from _image_commands(settings, base_image)
        yield f"# {deployment.stack}"
        yield shell_text(deployment.command())
        if settings.is_prod:
            yield shell_text(_protect_command(settings.region, deployment.stack))
        if deployment.kind == "service":
            yield "# wait until its tasks are stable"
            yield (
                "aws ecs wait services-stable --region "
                f"{settings.region} --cluster $({' '.join(_output_command(settings, 'service', 'Cluster'))}) "
                f"--services $({' '.join(_output_command(settings, 'service', 'Service'))})"
            )
    yield "# where it is"
    yield " ".join(_output_command(settings, "service", "Url"))


def _image_commands(settings: Settings, base_image: str) -> Iterator[str]:
    uri = _output_command(settings, "data", "RepositoryUri")
    print_password, log_in = images.login_commands(settings.region, "${REPOSITORY%%/*}", "docker")
    base = shlex.quote(base_image) if base_image else ""
    yield f"REPOSITORY=$({' '.join(uri)})"
    yield " ".join(images.build_command(settings, f'"$REPOSITORY:{settings.image_tag}"', "docker", base))
    yield f'{" ".join(print_password)} | {" ".join(log_in[:-1])} "{log_in[-1]}"'
    yield " ".join(images.push_command(f'"$REPOSITORY:{settings.image_tag}"', "docker"))


def protect(aws: Aws, stack: str) -> None:
    """Have CloudFormation refuse to delete a stack until somebody lifts it."""
    aws.call("cloudformation", "update_termination_protection", EnableTerminationProtection=True, StackName=stack)


def _protect_command(region: str, stack: str) -> list[str]:
    command = ["aws", "cloudformation", "update-termination-protection", "--region", region]
    return [*command, "--enable-termination-protection", "--stack-name", stack]


def destroy(settings: Settings) -> None:
    """Delete the service, the data and the network, and say what stays because it was meant to."""
    _refuse_protected(settings)
    aws = Aws(settings.region)
    kept = {what: name for stack in ("data", "service") for what, name in _kept(aws, settings, stack).items()}
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


def _require_deployable(aws: Aws, stack: str) -> None:
    """Wait until nothing is in progress; raise AwsError if a stack stands as nothing can be deployed onto."""
    status = aws.settled_status(stack)
    if status == "DELETE_FAILED":
        raise AwsError(
            f"{stack} is DELETE_FAILED: somebody began to delete it, and what is left may hold data. "
            "Nothing was changed. Read in docs/aws.md, under Restore, how it is taken back or finished.\n"
            + "\n".join(aws.failures(stack))
        )
    if status == "UPDATE_ROLLBACK_FAILED":
        raise AwsError(
            f"{stack} could not be rolled back. See what stands in the way below, then run\n"
            f"  aws cloudformation continue-update-rollback --region {aws.region} --stack-name {stack}\n"
            + "\n".join(aws.failures(stack))
        )


def _deploy_stack(aws: Aws, deployment: Deployment, seen: Preview, consent: Consent, *, step: str) -> None:
    print(f"[{step}] {deployment.stack}", flush=True)
    status = aws.settled_status(deployment.stack)
    if status in _MUST_GO:
        print(f"      its first creation had failed ({status}); it is deleted and created again", flush=True)
        _delete_stack(aws, deployment.stack)
    if seen.unknown:
        seen = preview(aws, deployment)
        require_data_kept([seen], consent.data_loss)
    print(seen, flush=True)
    if seen.is_unchanged:
        return
    try:
        run(deployment.command())
    except AwsError as error:
        if aws.stack(deployment.stack) is None:
            raise
        causes = "\n".join(f"  {line}" for line in aws.failures(deployment.stack))
        raise AwsError(f"{deployment.stack} was not deployed:\n{causes or error}") from error


def _push_image(aws: Aws, settings: Settings, outputs: dict[str, str], base_image: str) -> None:
    image = Image(outputs["Repository"], outputs["RepositoryUri"], settings.image_tag)
    print(f"image {image.reference}", flush=True)
    if images.is_pushed(aws, image):
        print("      is there already", flush=True)
    else:
        images.build_and_push(settings, image, base_image)


def _restart_tasks(aws: Aws, outputs: dict[str, str]) -> None:
    """Start new tasks in place of the running ones: the address of a database is read at a task's start."""
    print("      the database is another one now; the tasks are replaced", flush=True)
    aws.call("ecs", "update_service", cluster=outputs["Cluster"], service=outputs["Service"], forceNewDeployment=True)


def _wait_for_tasks(aws: Aws, outputs: dict[str, str]) -> None:
    aws.wait("ecs", "services_stable", cluster=outputs["Cluster"], services=[outputs["Service"]])


def _how_to_reach(settings: Settings, data: dict[str, str], service: dict[str, str]) -> Iterator[str]:
    yield f"API       {service['Url']}/docs"
    if "GrpcAddress" in service:
        yield f"gRPC      {service['GrpcAddress']}, over TLS"
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
            "under Tear down, how the balancer's and the database's protection are lifted by hand; then "
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


def _kept(aws: Aws, settings: Settings, stack: str) -> dict[str, str]:
    """Return the physical names of what the stack's deletion leaves, by logical name."""
    listed = aws.resources(stack_name(settings, stack))
    forms = [make for name, make in TEMPLATE_MAKERS.items() if name == stack or name.startswith(f"{stack}-")]
    resources = {name: part for make in forms for name, part in make().to_dict()["Resources"].items()}
    policies = {name: resource.get("DeletionPolicy") for name, resource in resources.items()}
    return {
        f"{resource['ResourceType']} {resource['LogicalResourceId']}": resource["PhysicalResourceId"]
        for resource in listed
        if policies.get(resource["LogicalResourceId"]) in {"Retain", "RetainExceptOnCreate", "Snapshot"}
        and resource["ResourceType"] != "AWS::S3::BucketPolicy"
    }


def _what_stays(settings: Settings, kept: dict[str, str]) -> Iterator[str]:
    if not kept:
        yield "Nothing stays of this deployment."
        return
    yield "What stays, and is billed until you delete it (docs/aws.md, Tear down, has the commands):"
    for what, name in kept.items():
        note = "  (as a snapshot)" if what.startswith("AWS::RDS::DBInstance") else ""
        yield f"  {what}: {name}{note}"
