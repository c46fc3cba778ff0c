"""Properties 1 to 5: the addresses, and which way leads out."""

import pytest

from cloudformation.config import AddressPlan, ConfigurationError
from cloudformation.stacks import network_stack
from tests.cloudformation.resolving import of_type, resources

MODES = ("public", "nat", "endpoints")


def test_network_is_the_documented_one_and_resolves_names() -> None:
    (vpc,) = of_type(resources("network"), "EC2::VPC").values()
    assert (vpc["CidrBlock"], vpc["EnableDnsSupport"], vpc["EnableDnsHostnames"]) == ("10.0.0.0/16", True, True)


def test_four_subnets_stand_in_two_zones() -> None:
    subnets = of_type(resources("network"), "EC2::Subnet")
    found = {name: (part["CidrBlock"], part["AvailabilityZone"]["Fn::Select"][0]) for name, part in subnets.items()}
    assert found == {
        "PublicSubnet1": ("10.0.0.0/24", 0),
        "PublicSubnet2": ("10.0.1.0/24", 1),
        "PrivateSubnet1": ("10.0.10.0/24", 0),
        "PrivateSubnet2": ("10.0.11.0/24", 1),
    }
    assert all(part["MapPublicIpOnLaunch"] is False for part in subnets.values())


@pytest.mark.parametrize("mode", MODES)
def test_only_public_routes_lead_to_the_internet_gateway(mode: str) -> None:
    routes = of_type(resources("network", network_mode=mode), "EC2::Route").values()
    to_internet = [route for route in routes if "GatewayId" in route]
    assert [route["RouteTableId"] for route in to_internet] == [{"Ref": "PublicRoutes"}]


@pytest.mark.parametrize("mode", MODES)
def test_each_subnet_uses_the_routes_of_its_kind(mode: str) -> None:
    associations = of_type(resources("network", network_mode=mode), "EC2::SubnetRouteTableAssociation").values()
    pairs = {part["SubnetId"]["Ref"]: part["RouteTableId"]["Ref"] for part in associations}
    assert pairs == {
        "PublicSubnet1": "PublicRoutes",
        "PublicSubnet2": "PublicRoutes",
        "PrivateSubnet1": "PrivateRoutes",
        "PrivateSubnet2": "PrivateRoutes2",
    }


@pytest.mark.parametrize("mode", MODES)
def test_nat_gateway_and_route_exist_in_nat_mode_only(mode: str) -> None:
    made = resources("network", network_mode=mode)
    assert ("NatGateway" in made, "NatAddress" in made, "PrivateDefaultRoute" in made) == (mode == "nat",) * 3


@pytest.mark.parametrize(("environment", "gateways"), [("dev", {"1": "", "2": ""}), ("prod", {"1": "", "2": "2"})])
def test_prod_has_a_nat_gateway_in_each_zone(environment: str, gateways: dict[str, str]) -> None:
    made = resources("network", network_mode="nat", environment_name=environment)
    routes = {"1": made["PrivateDefaultRoute"], "2": made["PrivateDefaultRoute2"]}
    for zone, number in gateways.items():
        assert routes[zone]["Properties"]["NatGatewayId"] == {"Ref": f"NatGateway{number}"}
    for name, gateway in of_type(made, "EC2::NatGateway").items():
        assert gateway["SubnetId"] == {"Ref": f"PublicSubnet{name.removeprefix('NatGateway') or 1}"}
    assert len(of_type(made, "EC2::NatGateway")) == len(set(gateways.values()))


def test_zones_are_the_named_ones_or_the_accounts_first() -> None:
    named = of_type(resources("network", first_zone="us-east-1c", second_zone="us-east-1d"), "EC2::Subnet")
    zones = {name: subnet["AvailabilityZone"] for name, subnet in named.items()}
    assert zones == {
        "PublicSubnet1": "us-east-1c",
        "PublicSubnet2": "us-east-1d",
        "PrivateSubnet1": "us-east-1c",
        "PrivateSubnet2": "us-east-1d",
    }
    assert "Fn::Select" in resources("network")["PublicSubnet1"]["Properties"]["AvailabilityZone"]


def test_overlapping_subnets_make_no_template() -> None:
    with pytest.raises(ConfigurationError, match=r"10\.0\.0\.0/24 and 10\.0\.0\.0/25 overlap"):
        network_stack(AddressPlan(public=("10.0.0.0/24", "10.0.0.0/25")))


def test_subnet_outside_the_network_makes_no_template() -> None:
    with pytest.raises(ConfigurationError, match=r"10\.1\.0\.0/24 is not inside"):
        network_stack(AddressPlan(private=("10.0.10.0/24", "10.1.0.0/24")))
