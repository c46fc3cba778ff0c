"""VPC flow logs: of the whole network, to a folder of the log bucket that their service may write to."""

from __future__ import annotations

import json

import pytest

from cloudformation.config import ConfigurationError, Settings
from cloudformation.cost import bill, total
from cloudformation.problems import require_sound
from tests.cloudformation.conftest import ACCOUNT, Emulator
from tests.cloudformation.resolving import of_type, resources


@pytest.mark.parametrize(("traffic", "logged"), [("NONE", []), ("REJECT", ["REJECT"]), ("ALL", ["ALL"])])
def test_traffic_that_is_asked_for_is_logged(traffic: str, logged: list[str]) -> None:
    logs = of_type(resources("data", flow_logs=traffic), "EC2::FlowLog").values()
    assert [log["TrafficType"] for log in logs] == logged
    assert all(log["ResourceId"] == {"Fn::ImportValue": "mlapi-dev-network-Vpc"} for log in logs)
    assert all(log["ResourceType"] == "VPC" and log["LogDestinationType"] == "s3" for log in logs)


def test_other_traffic_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="FlowLogs is accept; expected one of NONE, REJECT, ALL"):
        require_sound(Settings(flow_logs="accept"))


def test_bill_counts_flow_logs_where_they_are_on() -> None:
    off, on = total(bill(Settings())), total(bill(Settings(flow_logs="ALL")))
    assert 0 < on - off < 1
    assert total(bill(Settings(flow_logs="ALL"), 10_000)) - total(bill(Settings(), 10_000)) > on - off


def test_flow_log_goes_where_its_service_may_write(emulator: Emulator) -> None:
    settings = Settings(project_name="flows", image_tag="v1", flow_logs="ALL")
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    parts = emulator.resources(data)
    assert parts["FlowLog"]
    policy = json.loads(emulator.client("s3").get_bucket_policy(Bucket=parts["LogBucket"])["Policy"])
    statements = [part for part in policy["Statement"] if part["Sid"].startswith("FlowLogs")]
    (writes,) = [part for part in statements if part["Action"] == "s3:PutObject"]
    assert writes["Resource"] == f"arn:aws:s3:::{parts['LogBucket']}/vpc/AWSLogs/{ACCOUNT}/*"
    for part in statements:
        assert part["Principal"] == {"Service": "delivery.logs.amazonaws.com"}
        assert part["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
