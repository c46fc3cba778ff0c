"""Property 6: S3's gateway always, four interface endpoints where tasks have no other way to AWS."""

import pytest

from tests.cloudformation.resolving import of_type, resources


@pytest.mark.parametrize("mode", ["public", "nat", "endpoints"])
def test_gateway_to_s3_serves_all_subnets_in_every_mode(mode: str) -> None:
    gateway = resources("network", network_mode=mode)["S3Gateway"]["Properties"]
    assert gateway["VpcEndpointType"] == "Gateway"
    assert gateway["RouteTableIds"] == [{"Ref": "PublicRoutes"}, {"Ref": "PrivateRoutes"}, {"Ref": "PrivateRoutes2"}]


@pytest.mark.parametrize("zones", [1, 2])
def test_endpoints_mode_adds_four_private_names_per_zone(zones: int) -> None:
    found = of_type(resources("network", network_mode="endpoints", endpoint_zones=zones), "EC2::VPCEndpoint")
    interfaces = [part for part in found.values() if part["VpcEndpointType"] == "Interface"]
    services = {part["ServiceName"]["Fn::Sub"].rpartition("${AWS::Region}.")[2] for part in interfaces}
    assert services == {"ecr.api", "ecr.dkr", "logs", "secretsmanager"}
    assert all(part["PrivateDnsEnabled"] is True and len(part["SubnetIds"]) == zones for part in interfaces)


@pytest.mark.parametrize("mode", ["public", "nat"])
def test_other_modes_pay_for_no_endpoint(mode: str) -> None:
    found = of_type(resources("network", network_mode=mode), "EC2::VPCEndpoint").values()
    assert [part["VpcEndpointType"] for part in found] == ["Gateway"]
