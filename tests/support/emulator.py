"""The emulator of AWS as the tests start it: ministack on loopback, with the resource types that it lacks.

Run by the interpreter of .venv-aws, with BIND_HOST and GATEWAY_PORT set. What is added here keeps what it was
given and does nothing more, which is enough for stacks to be made, changed and deleted. A scan of an image finds what
the image's own annotation `scan` says, and a layer is downloaded from the emulator's registry.

ministack has no public way to add a resource type or a field: its handlers and records are private names. So this is
the one module that uses them; tests ask the emulator by boto3 and by the aws command.
"""

import json
import os

from ministack.app import main
from ministack.core.responses import error_response_json, json_response
from ministack.services import alb, ec2, ecr, ecs, waf
from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS, _ec2_sg_permissions


def create_address(logical_id, props, stack_name):
    del logical_id, stack_name
    before = set(ec2._addresses)
    ec2._allocate_address({"Domain": props["Domain"]})
    (allocation,) = set(ec2._addresses) - before
    return ec2._addresses[allocation]["PublicIp"], {"AllocationId": allocation}


def delete_address(physical_id, props):
    del props
    for allocation, address in list(ec2._addresses.items()):
        if address["PublicIp"] == physical_id:
            ec2._addresses.pop(allocation)


def create_nat_gateway(logical_id, props, stack_name):
    del logical_id, stack_name
    before = set(ec2._nat_gateways)
    ec2._create_nat_gateway({name: [props[name]] for name in ("SubnetId", "AllocationId")})
    (gateway,) = set(ec2._nat_gateways) - before
    return gateway, {}


def delete_nat_gateway(physical_id, props):
    del props
    ec2._nat_gateways.pop(physical_id, None)


def create_association(logical_id, props, stack_name):
    del logical_id, stack_name
    waf._associate_web_acl(props)
    return f"{props['WebACLArn']}|{props['ResourceArn']}", {}


def delete_association(physical_id, props):
    del physical_id
    waf._disassociate_web_acl(props)


def create_record(logical_id, props, stack_name):
    name = f"{stack_name}-{logical_id}"
    named = dict.fromkeys(("ModelName", "EndpointConfigName", "EndpointName"), name)
    return name, {"ScalableTargetId": props.get("ResourceId", ""), **named}


def keep(physical_id, old_props, new_props, stack_name, logical_id=None):
    del old_props, new_props, stack_name, logical_id
    return physical_id, {}


def delete_record(physical_id, props):
    del physical_id, props


_RECORD = {"create": create_record, "update": keep, "delete": delete_record}
_RESOURCE_HANDLERS.update(
    {
        "AWS::EC2::EIP": {"create": create_address, "update": keep, "delete": delete_address},
        "AWS::EC2::NatGateway": {"create": create_nat_gateway, "update": keep, "delete": delete_nat_gateway},
        "AWS::WAFv2::WebACLAssociation": {"create": create_association, "update": keep, "delete": delete_association},
        "AWS::ApplicationAutoScaling::ScalableTarget": _RECORD,
        "AWS::ApplicationAutoScaling::ScalingPolicy": _RECORD,
    }
)

_RESOURCE_HANDLERS.update(
    dict.fromkeys(
        (
            "AWS::ApiGatewayV2::VpcLink",
            "AWS::EC2::FlowLog",
            "AWS::IAM::OIDCProvider",
            "AWS::SageMaker::Endpoint",
            "AWS::SecretsManager::RotationSchedule",
            "AWS::SageMaker::EndpointConfig",
            "AWS::SageMaker::Model",
        ),
        _RECORD,
    )
)


def rule_handlers(side):
    """Return the handlers of a security group's rule that is a resource of its own."""

    def create(logical_id, props, stack_name):
        ec2._security_groups[props["GroupId"]][side] += _ec2_sg_permissions([props])
        return f"{stack_name}-{logical_id}", {}

    def delete(physical_id, props):
        del physical_id
        group = ec2._security_groups.get(props["GroupId"], {side: []})
        (rule,) = _ec2_sg_permissions([props])
        group[side] = [other for other in group[side] if other != rule]

    return {"create": create, "update": keep, "delete": delete}


_RESOURCE_HANDLERS["AWS::EC2::SecurityGroupEgress"] = rule_handlers("IpPermissionsEgress")
_RESOURCE_HANDLERS["AWS::EC2::SecurityGroupIngress"] = rule_handlers("IpPermissions")


make_target_group, target_group_xml = (
    _RESOURCE_HANDLERS["AWS::ElasticLoadBalancingV2::TargetGroup"]["create"],
    alb._tg_xml,
)


def create_target_group(logical_id, props, stack_name):
    """Keep the version of the protocol and the codes of gRPC, which the emulator's own handler drops."""
    arn, attributes = make_target_group(logical_id, props, stack_name)
    alb._tgs[arn] |= {"ProtocolVersion": props.get("ProtocolVersion", "HTTP1"), "Matcher": props["Matcher"]}
    return arn, attributes


def describe_target_group(group):
    codes = "".join(f"<{name}>{code}</{name}>" for name, code in group["Matcher"].items())
    version = f"<ProtocolVersion>{group.get('ProtocolVersion', 'HTTP1')}</ProtocolVersion>"
    head, _, rest = target_group_xml(group).partition("<Matcher>")
    return f"{head}<Matcher>{codes}</Matcher>{version}{rest.partition('</Matcher>')[2]}"


_RESOURCE_HANDLERS["AWS::ElasticLoadBalancingV2::TargetGroup"]["create"] = create_target_group
alb._tg_xml = describe_target_group


make_service = _RESOURCE_HANDLERS["AWS::ECS::Service"]["create"]


def create_service(logical_id, props, stack_name):
    """Keep where the tasks register, which the emulator's own handler drops."""
    arn, attributes = make_service(logical_id, props, stack_name)
    for service in ecs._services.values():
        if service["serviceArn"] == arn:
            service["serviceRegistries"] = [
                {name[0].lower() + name[1:]: value for name, value in registry.items()}
                for registry in props.get("ServiceRegistries", [])
            ]
    return arn, attributes


_RESOURCE_HANDLERS["AWS::ECS::Service"]["create"] = create_service


def scan_findings(data):
    image = ecr._find_image(data["repositoryName"], data["imageId"])
    scan = json.loads(image["imageManifest"]).get("annotations", {}).get("scan") if image else None
    if scan is None:
        return error_response_json("ScanNotFoundException", "Image scan does not exist for the image", 400)
    scan = json.loads(scan)
    return json_response(
        {
            "imageScanStatus": {"status": scan["status"]},
            "imageScanFindings": {"findingSeverityCounts": scan.get("counts", {})},
        }
    )


def download_url(data):
    port, layer = os.environ["GATEWAY_PORT"], data["layerDigest"]
    url = f"http://127.0.0.1:{port}/v2/{data['repositoryName']}/blobs/{layer}"
    return json_response({"downloadUrl": url, "layerDigest": layer})


handle_ecr = ecr.handle_request


async def ecr_request(method, path, headers, body, query_params):
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    added = {"DescribeImageScanFindings": scan_findings, "GetDownloadUrlForLayer": download_url}
    if action in added:
        return added[action](json.loads(body))
    return await handle_ecr(method, path, headers, body, query_params)


ecr.handle_request = ecr_request

if __name__ == "__main__":
    main()
