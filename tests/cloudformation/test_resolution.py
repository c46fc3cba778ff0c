"""Which value a parameter gets: the command line, then the file, then what is deployed, then a default."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudformation import environments
from cloudformation.config import ConfigurationError, Settings
from cloudformation.plan import order, plan
from cloudformation.resolution import NOTHING, Deployed, Request, requested

DEPLOYED = Deployed({
    "network": {"NetworkMode": "nat", "ProjectName": "other"},
    "data": {"CreateDatabase": "true", "AlarmEmail": "ops@example.com"},
    "service": {"NetworkMode": "nat", "MinTasks": "3", "TaskCpu": "512", "TaskMemory": "2048", "Forgotten": "x"},
})  # fmt: skip


def file(tmp_path: Path, text: str = "") -> environments.EnvironmentFile:
    (tmp_path / "prod.toml").write_text(text)
    return environments.read("prod", tmp_path)


@pytest.mark.parametrize(
    ("assignments", "text", "deployed", "expected"),
    [
        (("TaskCpu=1024",), "TaskCpu = 2048", DEPLOYED, 1024),
        ((), "TaskCpu = 2048", DEPLOYED, 2048),
        ((), "", DEPLOYED, 512),
        ((), "", NOTHING, 256),
    ],
)
def test_command_line_beats_file_beats_deployed_beats_default(
    tmp_path: Path, assignments: tuple[str, ...], text: str, deployed: Deployed, expected: int
) -> None:
    request = Request(environment="prod", assignments=assignments)
    assert requested(request, file(tmp_path, text), deployed).task_cpu == expected


def test_defaults_of_prod_are_under_what_is_deployed(tmp_path: Path) -> None:
    assert requested(Request(environment="prod"), file(tmp_path)).min_tasks == 2
    assert requested(Request(environment="prod"), file(tmp_path), DEPLOYED).min_tasks == 3
    assert requested(Request(environment="prod", unset=("MinTasks",)), file(tmp_path), DEPLOYED).min_tasks == 2


def test_profile_yields_to_file_lines_and_command_line(tmp_path: Path) -> None:
    read = file(tmp_path, 'profile = "production"\nregion = "eu-central-1"\nMaxTasks = 12\nUseSpot = true\n')
    settings = requested(Request(environment="prod"), read, DEPLOYED)
    assert (settings.task_cpu, settings.max_tasks, settings.use_spot) == (1024, 12, True)
    assert settings.region == "eu-central-1"
    assert requested(Request(environment="prod", region="us-west-2"), read).region == "us-west-2"


def test_region_of_the_file_beats_the_shells(tmp_path: Path) -> None:
    request = Request(environment="prod", region_of_shell="us-west-2")
    assert requested(request, file(tmp_path, 'region = "eu-central-1"')).region == "eu-central-1"
    assert requested(request, file(tmp_path)).region == "us-west-2"


def test_deployed_stack_does_not_rename_the_project(tmp_path: Path) -> None:
    assert requested(Request(environment="prod"), file(tmp_path), DEPLOYED).project_name == "mlapi"


def test_maximum_is_one_task_without_a_database_by_default(tmp_path: Path) -> None:
    desired = Request(assignments=("CreateDatabase=false",))
    assert requested(desired, file(tmp_path), DEPLOYED).max_tasks == 1
    desired = Request(assignments=("CreateDatabase=false", "MaxTasks=2"))
    assert requested(desired, file(tmp_path), DEPLOYED).max_tasks == 2


@pytest.mark.parametrize(
    ("request_", "text", "sentence"),
    [
        (Request(unset=("TaskCPU",)), "", "no template has a parameter TaskCPU"),
        (Request(unset=("ImageTag",)), "", "every deployment needs one"),
        (Request(unset=("TaskCpu",), assignments=("TaskCpu=512",)), "", "contradict each other"),
        (Request(unset=("TaskCpu",)), "TaskCpu = 512", "Remove the line there instead"),
        (Request(), "TaskCPU = 512", "Did you mean TaskCpu?"),
        (Request(), "TaskCpu = [512]", "expected a text, a whole number, true or false"),
        (Request(), "TaskCpu", "is not valid TOML"),
        (Request(), 'profile = "huge"', "expected one of cheapest, standard, production"),
        (Request(), "region = 1", "expected a text in quotes"),
    ],
)
def test_contradictions_and_mistakes_are_said(tmp_path: Path, request_: Request, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        requested(request_, file(tmp_path, text))
    assert sentence in str(raised.value)


def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert environments.read("dev", tmp_path).assignments == {}


def test_command_names_only_what_differs_from_the_deployed_stack() -> None:
    settings = Settings(image_tag="v2", network_mode="nat", min_tasks=3, task_cpu=512, task_memory=2048)
    (service,) = [part for part in plan(settings, DEPLOYED) if part.kind == "service"]
    assert "ImageTag=v2" in service.command()
    assert not {"TaskCpu=512", "MinTasks=3", "NetworkMode=nat"} & set(service.command())
    assert service.parameters["TaskCpu"] == "512"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(network_mode="nat"), ("network", "data", "service", "monitoring")),
        (Settings(network_mode="endpoints"), ("network", "data", "service", "monitoring")),
        (Settings(network_mode="public"), ("data", "service", "network", "monitoring")),
        (
            Settings(network_mode="nat", create_database=False, max_tasks=1),
            ("network", "service", "data", "monitoring"),
        ),
    ],
)
def test_what_the_service_uses_is_taken_away_after_it(settings: Settings, expected: tuple[str, ...]) -> None:
    assert order(settings, DEPLOYED) == expected
