"""The plan: the stacks in order, their parameters, and the commands as they are typed."""

from __future__ import annotations

import json
import shlex

import pytest

from cloudformation.__main__ import main
from cloudformation.config import Settings
from cloudformation.plan import plan, shell_text


def test_plan_is_network_data_service_monitoring_linked_by_names() -> None:
    network, data, service, monitoring = plan(Settings(image_tag="v1"))
    assert [network.stack, data.stack, service.stack] == ["mlapi-dev-network", "mlapi-dev-data", "mlapi-dev-service"]
    assert monitoring.stack == "mlapi-dev-monitoring"
    assert monitoring.parameters["ServiceStack"] == service.stack
    assert data.parameters["NetworkStack"] == network.stack
    assert (service.parameters["NetworkStack"], service.parameters["DataStack"]) == (network.stack, data.stack)
    assert [network.capabilities, data.capabilities, service.capabilities] == [(), (), ("CAPABILITY_IAM",)]


def test_plan_json_has_four_keys_for_each_stack(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--env", "dev", "--image-tag", "v7", "--network-mode", "nat", "--json"]) == 0
    stacks = json.loads(capsys.readouterr().out)
    assert [sorted(stack) for stack in stacks] == [["capabilities", "parameters", "stack", "template"]] * 4
    assert stacks[0]["parameters"]["NetworkMode"] == "nat"
    assert stacks[2]["parameters"]["ImageTag"] == "v7"
    assert all(isinstance(value, str) for stack in stacks for value in stack["parameters"].values())


def test_set_reaches_every_stack_that_has_the_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--image-tag", "v1", "--json", "--set", "CreateDatabase=false"]
    assert main(words) == 0
    _, data, service, _ = json.loads(capsys.readouterr().out)
    assert data["parameters"]["CreateDatabase"] == service["parameters"]["CreateDatabase"] == "false"


def test_cheapest_profile_is_one_spot_task_without_database(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--image-tag", "v1", "--json", "--profile", "cheapest"]) == 0
    parameters = json.loads(capsys.readouterr().out)[2]["parameters"]
    wanted = {"CreateDatabase": "false", "UseSpot": "true", "ModelsPolicy": "latest", "MinTasks": "1", "MaxTasks": "1"}
    assert wanted.items() <= parameters.items()


def test_shown_command_is_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    deployments = plan(Settings(image_tag="v1"))
    main(["plan", "--image-tag", "v1", "--region", "us-east-1"])
    shown = capsys.readouterr().out
    for deployment in deployments:
        text = shell_text(deployment.command())
        assert text in shown
        assert shlex.split(text.replace("\\\n", "")) == deployment.command()


def test_plan_without_image_tag_says_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan"]) == 2
    assert "--image-tag $(git rev-parse --short HEAD)" in capsys.readouterr().err


def test_wrong_parameters_make_no_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--image-tag", "v1", "--set", "TaskMemory=9999"]) == 2
    assert "TaskMemory is 9999 MiB" in capsys.readouterr().err


def test_dry_run_prints_the_stacks_commands_and_the_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--image-tag", "v1", "--dry-run", "--region", "us-east-1"]) == 0
    shown = capsys.readouterr().out
    for deployment in plan(Settings(image_tag="v1")):
        assert shell_text(deployment.command()) in shown
    assert "docker build --platform linux/arm64 --file docker/Dockerfile" in shown
    assert 'docker push "$REPOSITORY:v1"' in shown


def test_teardowns_dry_run_goes_the_way_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["destroy", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    order = [shown.index(f"--stack-name mlapi-dev-{stack}") for stack in ("service", "data", "network")]
    assert order == sorted(order)
