"""The stacks, composed of the parts: the network, the data that outlives every deployment, the service, its watch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from troposphere import Equals, GetAtt, Join, Output, Ref, Sub, Template
from troposphere.logs import LogGroup

from cloudformation import (
    alarms,
    alb,
    autoscaling,
    backup,
    canary,
    dashboard,
    database,
    ecr,
    ecs,
    flow_logs,
    grpc,
    http_api,
    iam,
    key,
    rotation,
    s3,
    sign_in,
    topic,
    waf,
)
from cloudformation.batches import batches_stack
from cloudformation.config import AddressPlan, ConfigurationError
from cloudformation.door import Door
from cloudformation.endpoints import add_endpoints
from cloudformation.github import github_stack
from cloudformation.links import export
from cloudformation.logs import add_log_group
from cloudformation.network import add_modes, add_network
from cloudformation.notifications import notifications_stack
from cloudformation.parameters import add_parameters
from cloudformation.prediction_log import prediction_log_stack
from cloudformation.problems import address_problems
from cloudformation.rendering import render
from cloudformation.rules import add_rules
from cloudformation.sagemaker import sagemaker_stack
from cloudformation.secrets import HAS_DATABASE, add_secrets
from cloudformation.security_groups import HTTPS, add_security_groups
from cloudformation.sizes import add_mappings

TEMPLATES = Path(__file__).parent / "templates"
# Over this size CloudFormation takes a template from a bucket only.
MAX_TEMPLATE_BYTES = 51_200


def network_stack(addresses: AddressPlan | None = None) -> Template:
    """Return the template of the network: VPC, subnets, routes, endpoints, all security groups."""
    addresses = addresses or AddressPlan()
    problems = address_problems(addresses)
    if problems:
        raise ConfigurationError("\n".join(problems))
    template = _template("mlapi: network, subnets, routes and security groups", "network")
    add_modes(template)
    network = add_network(template, addresses)
    groups = add_security_groups(template, network)
    add_endpoints(template, network, groups)

    export(template, "Vpc", Ref(network.vpc), "The network")
    # The same in every mode: CloudFormation refuses to change an export that another stack uses.
    export(template, "PublicSubnets", Join(",", [Ref(s) for s in network.public_subnets]), "Of the balancer")
    export(template, "PrivateSubnets", Join(",", [Ref(s) for s in network.private_subnets]), "Of the database")
    export(template, "BalancerSecurityGroup", GetAtt(groups.balancer, "GroupId"), "Group of the balancer")
    export(template, "TasksSecurityGroup", GetAtt(groups.tasks, "GroupId"), "Group of the tasks")
    export(template, "DatabaseSecurityGroup", GetAtt(groups.database, "GroupId"), "Group of the database")
    return template


def data_stack() -> Template:
    """Return the template of what must survive: models, logs, images, secrets, the registry database."""
    template = _template("mlapi: models, images, secrets and the registry database", "data")
    for part in (database, topic, s3, ecr, backup, flow_logs, key):
        part.add_conditions(template)
    mail = topic.add_topic(template)
    buckets = s3.add_buckets(template)
    images = ecr.add_repository(template)
    secrets = add_secrets(template)
    registry = database.add_database(template, secrets)
    arn = Sub(f"arn:${{AWS::Partition}}:rds:${{AWS::Region}}:${{AWS::AccountId}}:db:${{{registry.instance.title}}}")
    backup.add_backup(template, buckets, arn)
    flow_logs.add_flow_log(template, buckets)
    alarms.add_database_alarms(template, Ref(registry.instance), Ref(mail), condition=HAS_DATABASE)

    export(template, "ModelBucket", buckets.name, "Upload models here, under the prefix")
    export(template, "ModelBucketArn", buckets.arn, "ARN of the model bucket")
    export(template, "ModelPrefix", Ref("ModelPrefix"), "Folder of the models in the bucket")
    export(template, "LogBucket", Ref(buckets.logs), "Access logs of the balancer and of the model bucket")
    export(template, "Repository", images.name, "Name of the image repository")
    export(template, "RepositoryArn", images.arn, "ARN of the image repository")
    export(template, "RepositoryUri", images.uri, "Push images here")
    export(template, "DjangoSecretKeyArn", Ref(secrets.django_key), "Secret with Django's key")
    export(template, "AdminPasswordArn", Ref(secrets.admin_password), "Secret with the admin's password")
    export(template, "DatabaseCredentialsArn", Ref(secrets.database), "Secret with the database's address and password")
    export(template, "RegistryCredentialsArn", Ref(secrets.registry), "Secret with the service's password")
    export(template, "AlarmTopicArn", Ref(mail), "Topic of every alarm")
    return template


def service_stack(form: str = "service") -> Template:
    """Return a template of what is redeployed with each image: roles, balancer, tasks, alarms.

    Its form `service-sign-in` signs people in at an identity provider. With `service-shift` a new image is beside the
    old one and ECS moves the traffic to it. Both need a certificate. `service-http-api` has an HTTP API in place of the
    balancer.
    """
    if form == http_api.FORM:
        return _service_behind_api()
    template = _template("mlapi: the service behind its load balancer", form)
    for part in (iam, ecs, key):
        part.add_conditions(template)
    alb.add_conditions(template, form)
    autoscaling.add_conditions(template)
    if form in {"service-shift", "service-sign-in"}:
        (canary if form == "service-shift" else sign_in).add_conditions(template)
    add_mappings(template)
    add_rules(template)
    log_group = add_log_group(template)
    roles = iam.add_roles(template, log_group, signs_in=form == "service-sign-in")
    balancer = alb.add_balancer(template, form)
    watched = alarms.add_deployment_alarms(template)
    service = ecs.add_service(template, balancer, roles, log_group, deployment_alarms=[Ref(alarm) for alarm in watched])
    autoscaling.add_autoscaling(template, service, balancer)

    _add_outputs(template, balancer, service, roles, log_group)
    if balancer.calls:
        _add_grpc_watch(template, balancer, balancer.calls)
    export(template, "BalancerDnsName", GetAtt(balancer.load_balancer, "DNSName"), "Point the domain name here")
    for name in ("LoadBalancerFullName", "TargetGroupFullName"):
        part = balancer.load_balancer if name.startswith("Load") else balancer.target_group
        export(template, name, GetAtt(part, name), "As CloudWatch names it")
    return template


def _add_grpc_watch(template: Template, balancer: alb.Balancer, calls: grpc.Grpc) -> None:
    """Add the alarm on the tasks' port for gRPC, and where callers reach it."""
    targets = GetAtt(calls.target_group, "TargetGroupFullName")
    alarms.add_grpc_alarm(
        template, GetAtt(balancer.load_balancer, "LoadBalancerFullName"), targets, condition=grpc.HAS_GRPC
    )
    address = Join("", [balancer.public_host, f":{HTTPS}"])
    template.add_output(Output("GrpcAddress", Condition=grpc.HAS_GRPC, Value=address, Description="gRPC, over TLS"))


def _service_behind_api() -> Template:
    template = _template("mlapi: the service behind an HTTP API", http_api.FORM)
    for part in (iam, ecs, http_api, autoscaling, key):
        part.add_conditions(template)
    add_mappings(template)
    add_rules(template, needs_certificate=False)  # the API's own address has one
    log_group = add_log_group(template)
    roles = iam.add_roles(template, log_group)
    door = http_api.add_http_api(template)
    watched = alarms.add_deployment_alarms(template)
    service = ecs.add_service(template, door, roles, log_group, deployment_alarms=[Ref(alarm) for alarm in watched])
    autoscaling.add_autoscaling(template, service, door)
    _add_outputs(template, door, service, roles, log_group)
    export(template, "ApiId", Ref(door.api), "As CloudWatch names it")
    return template


def _add_outputs(template: Template, door: Door, service: ecs.Service, roles: iam.Roles, log_group: LogGroup) -> None:
    """Add the outputs that every form of the service's template has."""
    template.add_output(Output("Url", Value=door.url, Description="The API"))
    template.add_output(
        Output("AdminUrl", Value=Join("", [door.url, "/admin/"]), Description="The registry for people, from AdminCidr")
    )
    export(template, "Cluster", Ref(service.cluster), "The ECS cluster")
    export(template, "Service", GetAtt(service.service, "Name"), "The ECS service")
    export(template, "ServiceArn", Ref(service.service), "ARN of the ECS service")
    export(template, "LogGroup", Ref(log_group), "The service's log lines")
    export(template, "TaskRoleArn", GetAtt(roles.task, "Arn"), "The role that the service acts under")


def monitoring_stack(form: str = "monitoring") -> Template:
    """Return a template of what watches the service: alarms on what callers see, the dashboard, the web ACL."""
    has_api = form == "monitoring-http-api"
    template = _template(f"mlapi: alarms, dashboard{'' if has_api else ' and web ACL'} of the service", form)
    template.add_condition(HAS_DATABASE, Equals(Ref("CreateDatabase"), "true"))
    if has_api:
        alarms.add_api_alarms(template)
    else:
        template.add_condition(alarms.ROLLS, Equals(Ref("DeploymentStrategy"), "ROLLING"))
        alarms.add_service_alarms(template)
        waf.add_conditions(template)
        waf.add_web_acl(template)
    alarms.add_failed_deployment_event(template)
    page = dashboard.add_dashboard(template, has_api=has_api)
    console = (
        "https://${AWS::Region}.console.aws.amazon.com/cloudwatch/home?region=${AWS::Region}#dashboards:name=${Name}"
    )
    url = Sub(console, {"Name": Ref(page)})
    template.add_output(Output("DashboardUrl", Value=url, Description="Requests, errors, times, tasks, models"))
    return template


MAKERS: dict[str, Callable[[], Template]] = {
    "network": network_stack,
    "data": data_stack,
    "service": service_stack,
    "monitoring": monitoring_stack,
}


STACKS = tuple(MAKERS)

# No part of a deployment: each is deployed separately, if it is needed.
STANDALONE: dict[str, Callable[[], Template]] = {
    "batches": batches_stack,
    "github": github_stack,
    "key": key.key_stack,
    "notifications": notifications_stack,
    "prediction-log": prediction_log_stack,
    "rotation": rotation.rotation_stack,
    "sagemaker": sagemaker_stack,
    "shift": canary.shift_stack,
}
# Other forms of a stack of MAKERS.
VARIANTS: dict[str, Callable[[], Template]] = {
    form: functools.partial(service_stack, form) for form in ("service-sign-in", "service-shift", http_api.FORM)
} | {"monitoring-http-api": functools.partial(monitoring_stack, "monitoring-http-api")}
TEMPLATE_MAKERS = MAKERS | VARIANTS | STANDALONE


def all_templates() -> dict[str, str]:
    """Return the templates' texts by stack: a deployment's in the order in which they are made, then the others."""
    return {stack: render(make()) for stack, make in TEMPLATE_MAKERS.items()}


def write_templates(folder: Path = TEMPLATES) -> list[Path]:
    """Write the templates and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for stack, text in all_templates().items():
        path = folder / f"{stack}.yaml"
        path.write_text(text)
        paths.append(path)
    return paths


def stale_templates(folder: Path = TEMPLATES) -> list[Path]:
    """Return the paths whose committed text is not what the parts make today."""
    paths = {folder / f"{stack}.yaml": text for stack, text in all_templates().items()}
    return [path for path, text in paths.items() if not path.exists() or path.read_text() != text]


def _template(description: str, stack: str) -> Template:
    template = Template()
    template.set_version("2010-09-09")
    template.set_description(description)
    add_parameters(template, stack)
    return template
