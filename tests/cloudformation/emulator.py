"""The emulator of AWS as the tests start it: ministack on loopback, with the resource types that it lacks.

Run by the interpreter of .venv-aws, with BIND_HOST and GATEWAY_PORT set. What is added here keeps what it was
given and does nothing more, which is enough for stacks to be made, changed and deleted.
"""

from ministack.app import main
from ministack.services import ec2, waf
from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS


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
    return f"{stack_name}-{logical_id}", {"ScalableTargetId": props.get("ResourceId", "")}


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

if __name__ == "__main__":
    main()
